"""CameraInfo both ways: the camera that a sensor_msgs/CameraInfo describes, and the fields for a camera."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.camera import CameraModel, CameraParameterError
from internimage_perception.geometry.double_sphere import DoubleSphereCamera
from internimage_perception.geometry.extended_unified import EucmCamera
from internimage_perception.geometry.fisheye import KannalaBrandtCamera, WoodScapeCamera
from internimage_perception.geometry.pinhole import PinholeCamera
from internimage_perception.geometry.unified import MeiCamera
from internimage_perception.geometry.views import CylindricalCamera

# Literal strings: older distortion_models.hpp lack EQUIDISTANT; calibrators of ROS 1 Melodic wrote "fisheye".
# ROS has no names for the last five.
_COUNTS = {
    "plumb_bob": (0, 4, 5), "rational_polynomial": (8,), "equidistant": (4,), "fisheye": (4,),
    "mei": (5, 6), "eucm": (2,), "double_sphere": (2,), "woodscape": (3,), "cylindrical": (0,),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CameraInfoFields:
    """The fields of a CameraInfo that a lens determines, under the message's names.

    Attributes:
        width: columns of the image.
        height: rows of the image.
        distortion_model: name of the model, see `camera_to_info`.
        d: its coefficients.
        k: the matrix (fx, 0, cx; 0, fy, cy; 0, 0, 1) of the raw image, by rows.
        r: the identity, by rows: no rectification.
        p: k with a fourth column of zeros, by rows.
    """

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]


def camera_to_info(camera: CameraModel) -> CameraInfoFields:
    """Return the CameraInfo fields of a camera; `camera_from_info` reverses it exactly.

    ROS's own names are `plumb_bob`, `rational_polynomial` and `equidistant`. Models it has no name for get
    one of this package, which other software will not know: `mei` with d = (xi, k1, k2, p1, p2, k3), `eucm`
    (alpha, beta), `double_sphere` (xi, alpha), `woodscape` (a2, a3, a4), `cylindrical` ().
    CameraInfo cannot hold `theta_max`: hand it to `camera_from_info`.

    Raises:
        CalibrationError: a model that was registered from outside and has no such name.
    """
    model, d = _model_and_coefficients(camera)
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    return CameraInfoFields(
        width=camera.width,
        height=camera.height,
        distortion_model=model,
        d=d,
        k=(fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0),
        r=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        p=(fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0),
    )


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
        camera = camera_from_coefficients(
            model, coefficients.tolist(), width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy,
            theta_max=math.inf if theta_max is None else theta_max,
        )  # fmt: skip
        return _binned(_cut(camera, message), message)
    except CalibrationError as error:
        text = f"{where}: {error}"
        raise CalibrationError(text) from error


def camera_from_coefficients(distortion_model: str, d: Sequence[float], **intrinsics: float) -> CameraModel:
    """Build the camera of a CameraInfo's `distortion_model` and `d`.

    Args:
        distortion_model: a name that `camera_to_info` gives, `fisheye`, or empty for none.
        d: its coefficients.
        **intrinsics: width, height, fx, fy, cx, cy and, where known, theta_max.

    Raises:
        CameraParameterError: naming `distortion_model`, `d` or one of `intrinsics`.
    """
    d = _coefficients(distortion_model, d)
    build: Callable[..., CameraModel] = PinholeCamera
    lens: dict[str, object] = {"d": d}
    if distortion_model in {"equidistant", "fisheye"}:
        build = KannalaBrandtCamera
    elif distortion_model == "woodscape":
        build = WoodScapeCamera
    elif distortion_model == "mei":
        build, lens = MeiCamera, {"xi": d[0], "d": d[1:]}
    elif distortion_model == "eucm":
        build, lens = EucmCamera, {"alpha": d[0], "beta": d[1]}
    elif distortion_model == "double_sphere":
        build, lens = DoubleSphereCamera, {"xi": d[0], "alpha": d[1]}
    elif distortion_model == "cylindrical":
        build, lens = CylindricalCamera, {}
    return build(**intrinsics, **lens)


def _model_and_coefficients(camera: CameraModel) -> tuple[str, tuple[float, ...]]:
    if isinstance(camera, PinholeCamera):
        return ("plumb_bob" if len(camera.d) == 5 else "rational_polynomial"), camera.d
    if isinstance(camera, (KannalaBrandtCamera, WoodScapeCamera)):
        return camera.model, camera.d
    if isinstance(camera, MeiCamera):
        return camera.model, (camera.xi, *camera.d)
    if isinstance(camera, EucmCamera):
        return camera.model, (camera.alpha, camera.beta)
    if isinstance(camera, DoubleSphereCamera):
        return camera.model, (camera.xi, camera.alpha)
    if isinstance(camera, CylindricalCamera):
        return camera.model, ()
    message = (
        f"no distortion_model of CameraInfo is known for {camera.model!r} cameras; publish another model"
    )
    raise CalibrationError(message)


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


def _coefficients(model: str, d: Sequence[float]) -> tuple[float, ...]:
    count = len(d)
    if not model:
        if any(d):
            message = f"distortion_model is empty although d has {count} coefficients; name the model"
            raise CameraParameterError("distortion_model", message)
        return ()
    if model not in _COUNTS:
        message = (
            f"unknown distortion_model {model!r}; known: {', '.join(sorted(_COUNTS))}, or empty without d"
        )
        raise CameraParameterError("distortion_model", message)
    if model == "rational_polynomial" and count in {12, 14} and not any(d[8:]):
        # OpenCV's longer vectors, with thin prism and tilt unused.
        return tuple(d[:8])
    if count not in _COUNTS[model]:
        wanted = " or ".join(map(str, _COUNTS[model]))
        message = f"distortion_model {model!r} takes {wanted} coefficients, but d has {count}"
        raise CameraParameterError("d", message)
    return tuple(d)


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
