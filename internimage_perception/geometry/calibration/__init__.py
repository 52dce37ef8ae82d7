"""Calibration files of other tools: OpenCV, ROS, Kalibr, KITTI-360, WoodScape."""

from internimage_perception.geometry.calibration.as_rig import calibration_as_rig
from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Calibration
from internimage_perception.geometry.calibration.load import load_calibration

__all__ = ["CalibratedCamera", "Calibration", "calibration_as_rig", "load_calibration"]
