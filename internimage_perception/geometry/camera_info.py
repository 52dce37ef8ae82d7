"""`camera_from_info`: the camera that a sensor_msgs/CameraInfo describes."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.camera import CameraModel
from internimage_perception.geometry.fisheye import KannalaBrandtCamera
from internimage_perception.geometry.pinhole import PinholeCamera

# Literal strings: older distortion_models.hpp lack EQUIDISTANT; calibrators of ROS 1 Melodic wrote "fisheye".
_FISHEYE_MODELS = ("equidistant", "fisheye")
_COUNTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,), "equidistant": (4,), "fisheye": (4,)}


def camera_from_info(message: object, *, theta_max: float | None = None) -> CameraModel:
    """Build the camera of the raw image that belongs to a CameraInfo message.

    Takes whatever has CameraInfo's fields: messages of rclpy and of rosbags, with `d`, `k` (ROS 2) or `D`,
    `K` (ROS 1). The region of interest is cut out first, then binning merges pixels, as the message's
    definition says: u' = (u + 0.5) / binning - 0.5. An empty model without coefficients is an ideal pinhole.

    Args:
        message: the CameraInfo.
        theta_max: half of the lens's field of view in radians, which CameraInfo cannot tell.

    Raises:
        CalibrationError: uncalibrated, contradictory, or of a model this package does not know.
    """
    frame_id = getattr(getattr(message, "header", None), "frame_id", "")
    where = f"CameraInfo of frame {frame_id!r}"
    try:
        width, height = _integer(message, "width"), _integer(message, "height")
        intrinsics, coefficients = _numbers(message, "k", "K"), _numbers(message, "d", "D")
        model = str(_field(message, "distortion_model"))
        _check(width, height, intrinsics)
        fx, fy, cx, cy = intrinsics[[0, 4, 2, 5]].tolist()
        d = _coefficients(model, coefficients)
        limit = math.inf if theta_max is None else theta_max
        cls = KannalaBrandtCamera if model in _FISHEYE_MODELS else PinholeCamera
        camera = cls(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy, d=d, theta_max=limit)
        return _binned(_cut(camera, message), message)
    except CalibrationError as error:
        text = f"{where}: {error}"
        raise CalibrationError(text) from error


def _check(width: int, height: int, intrinsics: npt.NDArray[np.float64]) -> None:
    if width == 0 or height == 0:
        message = f"the image size is {width} x {height}; the driver must fill in width and height"
        raise CalibrationError(message)
    if intrinsics.size != 9:
        message = f"k has {intrinsics.size} numbers instead of 9"
        raise CalibrationError(message)
    if not intrinsics.any():
        raise CalibrationError(
            "k is all zero, which means uncalibrated: calibrate the camera, or give its model in the rig file"
        )
    if intrinsics[1] != 0.0 or intrinsics[3] != 0.0:
        message = f"k has skew ({intrinsics[1]:g}, {intrinsics[3]:g}), which is not supported"
        raise CalibrationError(message)


def _coefficients(model: str, coefficients: npt.NDArray[np.float64]) -> tuple[float, ...]:
    count = coefficients.size
    if not model:
        if coefficients.any():
            message = f"distortion_model is empty although d has {count} coefficients; name the model"
            raise CalibrationError(message)
        return ()
    if model not in _COUNTS:
        message = (
            f"unknown distortion_model {model!r}; known: {', '.join(sorted(_COUNTS))}, or empty without d"
        )
        raise CalibrationError(message)
    if model == "rational_polynomial" and count in {12, 14} and not coefficients[8:].any():
        # OpenCV's longer vectors, with thin prism and tilt unused.
        coefficients = coefficients[:8]
    elif count not in _COUNTS[model]:
        wanted = " or ".join(map(str, _COUNTS[model]))
        message = f"distortion_model {model!r} takes {wanted} coefficients, but d has {count}"
        raise CalibrationError(message)
    return tuple(coefficients.tolist())


def _cut(camera: CameraModel, message: object) -> CameraModel:
    """Cut out the region of interest, which is given in pixels of the full, unbinned sensor."""
    roi = getattr(message, "roi", None)
    if roi is None:
        return camera
    x, y = _integer(roi, "x_offset"), _integer(roi, "y_offset")
    width, height = _integer(roi, "width"), _integer(roi, "height")
    if not (x or y or width or height):
        return camera
    if width == 0 or height == 0 or x + width > camera.width or y + height > camera.height:
        text = (
            f"the region of interest, {width} x {height} at ({x}, {y}), does not lie in the image of "
            f"{camera.width} x {camera.height}"
        )
        raise CalibrationError(text)
    return camera.cropped(x, y, width, height)


def _binned(camera: CameraModel, message: object) -> CameraModel:
    """Merge pixels; 0 means 1. An incomplete last row or column is dropped."""
    x, y = _integer(message, "binning_x", 0) or 1, _integer(message, "binning_y", 0) or 1
    if x == 1 and y == 1:
        return camera
    if x > camera.width or y > camera.height:
        text = f"binning {x} x {y} leaves nothing of an image of {camera.width} x {camera.height}"
        raise CalibrationError(text)
    return dataclasses.replace(
        camera,
        width=camera.width // x,
        height=camera.height // y,
        fx=camera.fx / x,
        fy=camera.fy / y,
        cx=(camera.cx + 0.5) / x - 0.5,
        cy=(camera.cy + 0.5) / y - 0.5,
    )


def _field(message: object, *names: str) -> object:
    for name in names:
        if (value := getattr(message, name, None)) is not None:
            return value
    text = f"not a CameraInfo: {type(message).__name__} lacks the field {names[0]!r}"
    raise CalibrationError(text)


def _integer(message: object, name: str, default: int | None = None) -> int:
    value = getattr(message, name, default)
    if not isinstance(value, (int, np.integer)) or value < 0:
        text = f"{name} is {value!r}; it must be a whole number, at least 0"
        raise CalibrationError(text)
    return int(value)


def _numbers(message: object, *names: str) -> npt.NDArray[np.float64]:
    value = _field(message, *names)
    try:
        array = np.array(value, np.float64).ravel()
    except (TypeError, ValueError) as error:
        text = f"{names[0]} is {value!r}; it must be a list of numbers"
        raise CalibrationError(text) from error
    if not np.isfinite(array).all():
        text = f"{names[0]} has a number that is not finite: {array.tolist()}"
        raise CalibrationError(text)
    return array
