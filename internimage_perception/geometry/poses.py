"""Rigid poses as 4x4 matrices, after REP-103: `base_from_camera` takes camera points to the base frame.

Rotations are quaternions (x, y, z, w), as in ROS messages, or roll, pitch, yaw in radians about the fixed
axes x, y, z in this order: R = Rz(yaw) Ry(pitch) Rx(roll).
"""

import math

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError

Floats = npt.NDArray[np.float64]


class PoseError(CalibrationError):
    """Numbers that are no rotation or no rigid pose."""


BODY_FROM_OPTICAL: Floats = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""REP-103: an optical frame (x right, y down, z forward) in its body frame (x forward, y left, z up)."""
BODY_FROM_OPTICAL.flags.writeable = False

# Calibration files print few digits; larger deviations are mistakes.
_QUATERNION_TOLERANCE = 1e-2
_MATRIX_TOLERANCE = 1e-3


def quaternion_to_matrix(quaternion: npt.ArrayLike) -> Floats:
    """Return the 3x3 rotation of a quaternion (x, y, z, w), normalised before use.

    Raises PoseError when its length is not 1 to within 1 %.
    """
    values = _finite(quaternion, (4,), "a quaternion")
    norm = float(np.linalg.norm(values))
    if abs(norm - 1.0) > _QUATERNION_TOLERANCE:
        message = f"the quaternion (x, y, z, w) = {values.tolist()} has length {norm:.6g}; it must be 1"
        raise PoseError(message)
    x, y, z, w = (values / norm).tolist()
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
            [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
            [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
        ]
    )


def matrix_to_quaternion(rotation: npt.ArrayLike) -> Floats:
    """Return the unit quaternion (x, y, z, w), w >= 0, of a 3x3 rotation. Raises PoseError for others."""
    r = nearest_rotation(rotation)
    # 4 q q^T has each component in each row; the row of the largest is divided by no small number.
    outer = np.array(
        [
            [1.0 + r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
            [r[0, 1] + r[1, 0], 1.0 - r[0, 0] + r[1, 1] - r[2, 2], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], 1.0 - r[0, 0] - r[1, 1] + r[2, 2], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1.0 + r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    row: Floats = outer[int(np.argmax(np.diag(outer)))]
    return row / (math.copysign(1.0, row[3]) * float(np.linalg.norm(row)))


def rpy_to_matrix(roll: float, pitch: float, yaw: float) -> Floats:
    """Return the 3x3 rotation Rz(yaw) Ry(pitch) Rx(roll), angles in radians."""
    _finite((roll, pitch, yaw), (3,), "roll, pitch, yaw")
    (sr, sp, sy), (cr, cp, cy) = np.sin((roll, pitch, yaw)).tolist(), np.cos((roll, pitch, yaw)).tolist()
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def matrix_to_rpy(rotation: npt.ArrayLike) -> tuple[float, float, float]:
    """Return roll, pitch, yaw in radians of a 3x3 rotation; roll is 0 where pitch is +-90 degrees.

    Raises PoseError when `rotation` is none.
    """
    r = nearest_rotation(rotation)
    horizontal = math.hypot(r[0, 0], r[1, 0])
    pitch = math.atan2(-r[2, 0], horizontal)
    if horizontal < 1e-9:
        return 0.0, pitch, math.atan2(-r[0, 1], r[1, 1])
    return math.atan2(r[2, 1], r[2, 2]), pitch, math.atan2(r[1, 0], r[0, 0])


def nearest_rotation(matrix: npt.ArrayLike) -> Floats:
    """Return the 3x3 rotation nearest to `matrix`, which may be rounded to a few digits.

    Raises PoseError when the rows of `matrix` are not perpendicular unit vectors to within 1e-3, or
    when it mirrors.
    """
    values = _finite(matrix, (3, 3), "a rotation matrix")
    deviation = float(np.abs(values @ values.T - np.eye(3)).max())
    if deviation > _MATRIX_TOLERANCE:
        message = f"{values.tolist()} is not a rotation: R R^T differs from the identity by {deviation:.3g}"
        raise PoseError(message)
    if np.linalg.det(values) < 0.0:
        message = f"{values.tolist()} mirrors (determinant -1): an axis is swapped or reversed"
        raise PoseError(message)
    u, _, vt = np.linalg.svd(values)
    nearest: Floats = u @ vt
    return nearest


def pose(translation: npt.ArrayLike = (0.0, 0.0, 0.0), rotation: npt.ArrayLike | None = None) -> Floats:
    """Return the 4x4 pose of a translation in metres and a 3x3 rotation (none: the identity)."""
    result = np.eye(4)
    result[:3, 3] = _finite(translation, (3,), "a translation")
    if rotation is not None:
        result[:3, :3] = nearest_rotation(rotation)
    return result


def check_pose(matrix: npt.ArrayLike) -> Floats:
    """Return a 4x4 pose with its rotation made exact. Raises PoseError when it is not rigid."""
    values = _finite(matrix, (4, 4), "a pose")
    if np.abs(values[3] - (0.0, 0.0, 0.0, 1.0)).max() > 1e-9:
        message = f"the last row of a pose must be 0, 0, 0, 1, not {values[3].tolist()}"
        raise PoseError(message)
    return pose(values[:3, 3], values[:3, :3])


def invert(matrix: npt.ArrayLike) -> Floats:
    """Return the inverse of a rigid 4x4 pose (of (..., 4, 4): of each)."""
    values = np.asarray(matrix, np.float64)
    result = np.zeros_like(values)
    rotation = np.swapaxes(values[..., :3, :3], -1, -2)
    result[..., :3, :3] = rotation
    result[..., :3, 3] = -(rotation @ values[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def transform(matrix: npt.ArrayLike, points: npt.ArrayLike) -> Floats:
    """Return the points (..., 3) moved by a 4x4 pose: R p + t, float64."""
    values = np.asarray(matrix, np.float64)
    moved: Floats = np.asarray(points, np.float64) @ values[:3, :3].T + values[:3, 3]
    return moved


def _finite(values: npt.ArrayLike, shape: tuple[int, ...], name: str) -> Floats:
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        message = (
            f"{name} needs {' x '.join(map(str, shape))} numbers, got {' x '.join(map(str, array.shape))}"
        )
        raise PoseError(message)
    if not np.isfinite(array).all():
        message = f"{name} has a number that is not finite: {array.tolist()}"
        raise PoseError(message)
    return array
