"""The YAML files that ROS's camera_calibration writes and camera_info_manager reads."""

import yaml

from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Wanted
from internimage_perception.geometry.calibration.document import Document
from internimage_perception.geometry.calibration.values import (
    build,
    camera_matrix,
    matrix,
    numbers,
    pixel_count,
)
from internimage_perception.geometry.camera_info import camera_from_coefficients

NAME = "ROS camera calibration"
SIGNS = "camera_matrix and projection_matrix, rectification_matrix or camera_name"


def matches(outline: dict[str, yaml.Node]) -> bool:
    """Return whether the top-level keys are those of this format."""
    node = outline.get("camera_matrix")
    return (
        isinstance(node, yaml.MappingNode)
        and not node.tag.endswith("opencv-matrix")
        and bool({"projection_matrix", "rectification_matrix", "camera_name"} & outline.keys())
    )


def read(document: Document, wanted: Wanted) -> list[CalibratedCamera]:
    """Return the camera of the raw image; the rectified view (R, P) is checked and left aside."""
    top = document.section(NAME)
    width, height = pixel_count(top, "image_width"), pixel_count(top, "image_height")
    parameters = {
        "width": width, "height": height, **camera_matrix(top, "camera_matrix"),
        "distortion_model": top.text("distortion_model"), "d": numbers(top, "distortion_coefficients"),
    }  # fmt: skip
    for key, columns in (("rectification_matrix", 3), ("projection_matrix", 4)):
        if key in top:
            matrix(top, key, 3, columns)
    places = {"distortion_model": "distortion_model", "fx": "camera_matrix", "fy": "camera_matrix"}
    camera = build(top, camera_from_coefficients, parameters, {**places, "": "distortion_coefficients"})
    return [CalibratedCamera(name=top.text("camera_name", wanted.stem), camera=camera)]
