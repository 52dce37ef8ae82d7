"""The fisheye model of Kannala and Brandt (PAMI 2006) in the form of OpenCV's fisheye module and of ROS."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from internimage_perception.geometry.camera import (
    CENTRE_RADIUS,
    Bools,
    CameraModel,
    CameraParameterError,
    Floats,
)
from internimage_perception.geometry.camera_registry import register_camera_model
from internimage_perception.geometry.radial import RadialCurve, fold_limit, radial_curve

# Straight behind the camera every direction maps to a whole circle: that one point stays invalid.
_BEHIND = math.nextafter(math.pi, 0.0)
_TOLERANCE = 1e-12
_TINY = float(np.finfo(np.float64).tiny)


@register_camera_model("fisheye", "kannala_brandt")
@dataclass(frozen=True, kw_only=True)
class KannalaBrandtCamera(CameraModel):
    """Fisheye lens: the radius in the image is an odd polynomial of the angle off the axis.

    theta = atan2(hypot(x, y), z), theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8),
    u = fx theta_d x / hypot(x, y) + cx, likewise v: valid beyond 90 degrees, unlike cv2.fisheye, which
    mirrors there. All-zero coefficients are an ideal f-theta lens (radius = f theta), not a pinhole.

    Attributes:
        d: k1 to k4.
        theta_max: smaller of the given half field of view, the first zero of d(theta_d)/d(theta), and pi.
    """

    model: ClassVar[str] = "equidistant"

    d: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def _checked(self, key: str, value: object) -> object:
        checked = super()._checked(key, value)
        if key == "d" and not (isinstance(checked, tuple) and len(checked) == 4):
            raise CameraParameterError(
                "d", f"d of this {self.model} camera is {value!r}; it must be the 4 numbers k1, k2, k3, k4"
            )
        return checked

    def _theta_limit(self) -> float:
        return fold_limit((1.0, *self.d), (1.0,), math.pi)

    @cached_property
    def _curve(self) -> RadialCurve:
        return radial_curve((1.0, *self.d), (1.0,), self.theta_max)

    def _project(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Bools]:
        rho = np.hypot(x, y)
        theta = np.arctan2(rho, z)
        valid: Bools = theta <= min(self.theta_max + _TOLERANCE, _BEHIND)
        extent = np.abs(z)
        extent += rho
        valid &= extent >= CENTRE_RADIUS
        valid &= extent < np.inf
        scale = self._curve.value(theta)
        # On the axis x and y are 0, so any finite divisor gives the principal point.
        scale /= np.maximum(rho, _TINY, out=rho)
        x *= scale
        y *= scale
        return x, y, valid

    def _unproject(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        radius = np.hypot(m_x, m_y)
        valid: Bools = radius <= self._curve.end_value * (1.0 + _TOLERANCE)
        theta = self._curve.inverse(radius)
        scale = np.sin(theta)
        scale /= np.maximum(radius, _TINY, out=radius)
        m_x *= scale
        m_y *= scale
        return m_x, m_y, np.cos(theta, out=theta), valid

    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        mask: Bools = np.hypot(m_x, m_y) <= self._curve.end_value * (1.0 + _TOLERANCE)
        return mask
