"""Calibration files of other tools: OpenCV, ROS, Kalibr, KITTI-360, WoodScape."""

from internimage_perception.geometry.calibration.as_rig import calibration_as_rig
from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Calibration
from internimage_perception.geometry.calibration.document import Document
from internimage_perception.geometry.calibration.load import is_rig, load_calibration

__all__ = [
    "CalibratedCamera",
    "Calibration",
    "Document",
    "calibration_as_rig",
    "is_rig",
    "load_calibration",
]
