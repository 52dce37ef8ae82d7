"""Camera models, poses and rigs: where a pixel looks, and where a point lands."""

from internimage_perception.geometry.calibration import CalibratedCamera, Calibration, load_calibration
from internimage_perception.geometry.camera import CameraModel, CameraParameterError
from internimage_perception.geometry.camera_info import CameraInfoFields, camera_from_info, camera_to_info
from internimage_perception.geometry.camera_registry import camera_from_dict, register_camera_model
from internimage_perception.geometry.double_sphere import DoubleSphereCamera
from internimage_perception.geometry.extended_unified import EucmCamera
from internimage_perception.geometry.fisheye import KannalaBrandtCamera, WoodScapeCamera
from internimage_perception.geometry.pinhole import PinholeCamera
from internimage_perception.geometry.rig import Rig
from internimage_perception.geometry.rig_camera import RigCamera
from internimage_perception.geometry.unified import MeiCamera
from internimage_perception.geometry.views import CylindricalCamera

__all__ = [
    "CalibratedCamera",
    "Calibration",
    "CameraInfoFields",
    "CameraModel",
    "CameraParameterError",
    "CylindricalCamera",
    "DoubleSphereCamera",
    "EucmCamera",
    "KannalaBrandtCamera",
    "MeiCamera",
    "PinholeCamera",
    "Rig",
    "RigCamera",
    "WoodScapeCamera",
    "camera_from_dict",
    "camera_from_info",
    "camera_to_info",
    "load_calibration",
    "register_camera_model",
]
