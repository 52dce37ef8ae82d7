"""The pinhole camera with the lens distortion of OpenCV and ROS: `plumb_bob` and `rational_polynomial`."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from internimage_perception.geometry.brown_conrady import (
    FARTHEST,
    BrownConrady,
    brown_conrady,
    monotone_limit,
    padded_coefficients,
)
from internimage_perception.geometry.camera import (
    CENTRE_RADIUS,
    Bools,
    CameraModel,
    CameraParameterError,
    Floats,
)
from internimage_perception.geometry.camera_registry import register_camera_model

_TOLERANCE = 1e-12


@register_camera_model("plumb_bob", "rational_polynomial")
@dataclass(frozen=True, kw_only=True)
class PinholeCamera(CameraModel):
    """Perspective camera: a = x/z, b = y/z, then radial and tangential distortion (Brown-Conrady).

    With r^2 = a^2 + b^2 and R = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6):
    u = fx (a R + 2 p1 a b + p2 (r^2 + 2 a^2)) + cx, v = fy (b R + p1 (r^2 + 2 b^2) + 2 p2 a b) + cy.

    Attributes:
        d: in ROS order (k1, k2, p1, p2, k3) or (k1, k2, p1, p2, k3, k4, k5, k6); given with 0, 4, 5 or 8
            numbers, kept with 5 or 8.
        theta_max: smaller of the given half field of view, 90 degrees, and the largest angle within which
            the Jacobian of the distortion is positive definite in all directions. That Jacobian is
            symmetric, so inside this disc the distortion is one-to-one.
    """

    model: ClassVar[str] = "pinhole"

    d: tuple[float, ...] = ()

    def _checked(self, key: str, value: object) -> object:
        checked = super()._checked(key, value)
        if key != "d":
            return checked
        if not (isinstance(checked, tuple) and len(checked) in {0, 4, 5, 8}):
            raise CameraParameterError(
                "d",
                f"d of this {self.model} camera is {value!r}; it must be empty, (k1, k2, p1, p2[, k3]) or "
                "(k1, k2, p1, p2, k3, k4, k5, k6)",
            )
        return padded_coefficients(checked)

    def _theta_limit(self) -> float:
        limit = monotone_limit(self.d)
        return math.atan(limit) if limit < FARTHEST else math.pi / 2

    @cached_property
    def _lens(self) -> BrownConrady:
        given = math.tan(self.theta_max) if self.theta_max < math.pi / 2 else FARTHEST
        return brown_conrady(self.d, given)

    def _project(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Bools]:
        valid: Bools = z > 0.0
        valid &= z < np.inf
        x /= z
        y /= z
        radius = np.hypot(x, y)
        valid &= radius <= self._lens.limit * (1.0 + _TOLERANCE)
        radius += 1.0
        valid &= radius * z >= CENTRE_RADIUS
        m_x, m_y = self._lens.distort(x, y)
        return m_x, m_y, valid

    def _unproject(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        a, b, valid = self._lens.undistort(m_x, m_y)
        z = 1.0 / np.sqrt(a * a + b * b + 1.0)
        a *= z
        b *= z
        return a, b, z, valid

    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        return self._lens.reaches(m_x, m_y)
