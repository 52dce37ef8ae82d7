"""The OpenCV YAML files of camodocal's cameras, which KITTI-360 and VINS use."""

import yaml

from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Wanted
from internimage_perception.geometry.calibration.document import Document
from internimage_perception.geometry.calibration.values import build, pixel_count
from internimage_perception.geometry.fisheye import KannalaBrandtCamera
from internimage_perception.geometry.pinhole import PinholeCamera
from internimage_perception.geometry.unified import MeiCamera

NAME = "KITTI-360"
SIGNS = "projection_parameters with mirror_parameters or distortion_parameters"

_DISTORTION = ("k1", "k2", "p1", "p2")


def matches(outline: dict[str, yaml.Node]) -> bool:
    """Return whether the top-level keys are those of this format."""
    return bool({"projection_parameters", "mirror_parameters"} & outline.keys())


def read(document: Document, wanted: Wanted) -> list[CalibratedCamera]:
    """Return the camera; these files have no pose. Models: MEI, KANNALA_BRANDT, PINHOLE."""
    top = document.section(NAME)
    default = "MEI" if "mirror_parameters" in top else "PINHOLE"
    model = top.text("model_type", default).upper()
    if model not in {"MEI", "KANNALA_BRANDT", "PINHOLE"}:
        raise top.error("model_type", f"is {model!r}; known are MEI, KANNALA_BRANDT and PINHOLE")
    width, height = pixel_count(top, "image_width"), pixel_count(top, "image_height")
    projection = top.section("projection_parameters")
    parameters: dict[str, object] = {"width": width, "height": height}
    if model == "KANNALA_BRANDT":
        # The radius is theta + k2 theta^3 + k3 theta^5 + k4 theta^7 + k5 theta^9: numbered from k2.
        names = {"fx": "mu", "fy": "mv", "cx": "u0", "cy": "v0"}
        parameters["d"] = tuple(projection.number(key) for key in ("k2", "k3", "k4", "k5"))
    else:
        distortion = top.section("distortion_parameters")
        parameters["d"] = tuple(distortion.number(key) for key in _DISTORTION)
        names = {"fx": "fx", "fy": "fy", "cx": "cx", "cy": "cy"}
    if model == "MEI":
        names = {"fx": "gamma1", "fy": "gamma2", "cx": "u0", "cy": "v0"}
        mirror = top.section("mirror_parameters")
        parameters["xi"] = xi = mirror.number("xi")
        if xi < 0.0:
            raise mirror.error("xi", f"must be at least 0, not {xi:g}")
    parameters.update({name: projection.number(key) for name, key in names.items()})
    cls = {"MEI": MeiCamera, "KANNALA_BRANDT": KannalaBrandtCamera, "PINHOLE": PinholeCamera}[model]
    camera = build(projection, cls, parameters, {**names, "": ""})
    return [CalibratedCamera(name=top.text("camera_name", wanted.stem), camera=camera)]
