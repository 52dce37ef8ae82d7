"""Printed CameraInfo messages, as `ros2 topic echo --once` and `rostopic echo -n 1` write them."""

from types import SimpleNamespace

import yaml

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Wanted
from internimage_perception.geometry.calibration.document import Document
from internimage_perception.geometry.camera_info import camera_from_info
from internimage_perception.geometry.yaml_section import Section

NAME = "CameraInfo message"
SIGNS = "width, height, distortion_model, d, k, p or D, K, P"

_INTEGERS = ("width", "height", "binning_x", "binning_y")
_WINDOW = ("x_offset", "y_offset", "width", "height")


def matches(outline: dict[str, yaml.Node]) -> bool:
    """Return whether the top-level keys are those of this format."""
    names = ({"distortion_model", "d", "k", "p"}, {"distortion_model", "D", "K", "P"})
    return any(keys <= outline.keys() for keys in names)


def read(document: Document, wanted: Wanted) -> list[CalibratedCamera]:
    """Return the camera of the raw image, with its region of interest and binning, named by its frame."""
    top = document.section(NAME)
    fields: dict[str, object] = {key: _integer(top, key) for key in _INTEGERS if key in top}
    fields["distortion_model"] = top.value("distortion_model") or ""
    for key in ("d", "k"):
        fields[key] = top.numbers(key if key in top else key.upper())
    if "roi" in top:
        window = top.section("roi")
        fields["roi"] = SimpleNamespace(**{key: _integer(window, key) for key in _WINDOW})
    header = top.section("header") if "header" in top else None
    frame_id = header.value("frame_id") if header is not None and "frame_id" in header else ""
    try:
        camera = camera_from_info(SimpleNamespace(**fields))
    except CalibrationError as error:
        raise top.error("", str(error.__cause__ or error)) from error
    return [CalibratedCamera(name=str(frame_id or wanted.stem), camera=camera)]


def _integer(section: Section, key: str) -> int:
    value = section.number(key)
    if value < 0.0 or value != int(value):
        raise section.error(key, f"must be a whole number, at least 0, not {value:g}")
    return int(value)
