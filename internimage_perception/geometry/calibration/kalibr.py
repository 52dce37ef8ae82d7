"""Kalibr's camera chains (camchain.yaml), as OpenVINS writes them too, and EuRoC's sensor.yaml."""

import re

import numpy as np
import yaml

from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Wanted
from internimage_perception.geometry.calibration.document import Document, keys_of
from internimage_perception.geometry.calibration.values import Floats, build, image_size, numbers, pose
from internimage_perception.geometry.camera import CameraModel
from internimage_perception.geometry.double_sphere import DoubleSphereCamera
from internimage_perception.geometry.extended_unified import EucmCamera
from internimage_perception.geometry.fisheye import KannalaBrandtCamera
from internimage_perception.geometry.pinhole import PinholeCamera
from internimage_perception.geometry.poses import invert
from internimage_perception.geometry.unified import MeiCamera
from internimage_perception.geometry.yaml_section import Section

NAME = "Kalibr camera chain"
SIGNS = "cam0, cam1, ... with camera_model and intrinsics"

_CAMERA = re.compile(r"cam(\d+)")
_FOCAL = ("fx", "fy", "cx", "cy")
# What stands before the focal lengths, per camera_model.
_LEADING = {
    "pinhole": (), "omni": ("xi",), "eucm": ("alpha", "beta"), "ds": ("xi", "alpha"),
}  # fmt: skip
_CLASSES: dict[tuple[str, str], type[CameraModel]] = {
    ("pinhole", "radtan"): PinholeCamera, ("pinhole", "none"): PinholeCamera,
    ("pinhole", "equidistant"): KannalaBrandtCamera,
    ("omni", "radtan"): MeiCamera, ("omni", "none"): MeiCamera,
    ("eucm", "none"): EucmCamera, ("ds", "none"): DoubleSphereCamera,
}  # fmt: skip
_ALIASES = {"radial-tangential": "radtan", "equi": "equidistant"}


def matches(outline: dict[str, yaml.Node]) -> bool:
    """Return whether the top-level keys are those of this format."""
    cameras = [node for key, node in outline.items() if _CAMERA.fullmatch(key)]
    one = isinstance(outline.get("camera_model"), yaml.ScalarNode)
    return any({"camera_model", "intrinsics"} & keys_of(node).keys() for node in cameras) or (
        one and isinstance(outline.get("intrinsics"), yaml.SequenceNode)
    )


def read(document: Document, wanted: Wanted) -> list[CalibratedCamera]:
    """Return the cameras, with poses in the first camera's frame, and in `imu` or `body` where given.

    Kalibr's T_cn_cnm1 takes points of the previous camera to this one, T_cam_imu those of the IMU.
    """
    top = document.section(NAME)
    if "camera_model" in top:
        body = {"body": pose(top, "T_BS")} if "T_BS" in top else {}
        return [CalibratedCamera(name=wanted.stem, camera=_lens(top), image_topic=_topic(top), poses=body)]
    names = sorted((key for key in top if _CAMERA.fullmatch(key)), key=lambda name: int(name[3:]))
    sections = {name: top.section(name, f"{NAME}, camera {name!r}") for name in names}
    previous = dict(zip(names[1:], names, strict=False))
    from_imu = {name: found for name in names if (found := _from_imu(sections[name])) is not None}
    in_first: dict[str, Floats] = {names[0]: np.eye(4)}
    if "T_cn_cnm1" in sections[names[0]]:
        raise sections[names[0]].error("T_cn_cnm1", "refers to the camera before, which the file lacks")
    for name in names[1:]:
        before = previous[name]
        if "T_cn_cnm1" in sections[name]:
            if int(before[3:]) != int(name[3:]) - 1:
                raise sections[name].error("T_cn_cnm1", f"refers to cam{int(name[3:]) - 1}, which is missing")
            if before in in_first:
                in_first[name] = in_first[before] @ invert(pose(sections[name], "T_cn_cnm1"))
        elif name in from_imu and names[0] in from_imu:
            in_first[name] = from_imu[names[0]] @ invert(from_imu[name])
    cameras = []
    for name, section in sections.items():
        frames = {names[0]: in_first[name]} if name in in_first else {}
        if name in from_imu:
            frames["imu"] = invert(from_imu[name])
        camera = _lens(section)
        cameras.append(CalibratedCamera(name=name, camera=camera, image_topic=_topic(section), poses=frames))
    return cameras


def _topic(section: Section) -> str:
    return section.text("rostopic", "")


def _from_imu(section: Section) -> Floats | None:
    if "T_cam_imu" in section:
        return pose(section, "T_cam_imu")
    return invert(pose(section, "T_imu_cam")) if "T_imu_cam" in section else None


def _lens(section: Section) -> CameraModel:
    model = section.text("camera_model")
    if model not in _LEADING:
        raise section.error("camera_model", f"{model!r} is unknown; known: {', '.join(_LEADING)}")
    names = (*_LEADING[model], *_FOCAL)
    intrinsics = numbers(section, "intrinsics")
    if len(intrinsics) != len(names):
        listed = ", ".join(names)
        message = f"of {model!r} must be the {len(names)} numbers {listed}, not {len(intrinsics)} numbers"
        raise section.error("intrinsics", message)
    distortion = section.text("distortion_model", "none")
    distortion = _ALIASES.get(distortion, distortion)
    cls = _CLASSES.get((model, distortion))
    if cls is None:
        known = ", ".join(sorted(second for first, second in _CLASSES if first == model))
        reason = (
            "the FOV model of Devernay and Faugeras is not supported" if distortion == "fov" else "unknown"
        )
        message = f"{distortion!r} on {model!r}: {reason}; with {model!r} these are: {known}"
        raise section.error("distortion_model", message)
    parameters: dict[str, object] = dict(zip(names, intrinsics, strict=True))
    parameters["width"], parameters["height"] = image_size(section, "resolution")
    key = "distortion_coefficients" if "distortion_coefficients" in section else "distortion_coeffs"
    d = numbers(section, key) if distortion != "none" or key in section else []
    if distortion == "none" and any(d):
        raise section.error(key, "has coefficients although distortion_model is none")
    if distortion != "none":
        if len(d) != 4:
            raise section.error(key, f"of {distortion!r} must be 4 numbers, not {len(d)}")
        parameters["d"] = tuple(d)
    return build(section, cls, parameters, {"d": key, "": "intrinsics"})
