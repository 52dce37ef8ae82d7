"""Fisheyes whose radius is a polynomial of the angle: Kannala and Brandt's (PAMI 2006), and WoodScape's."""

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


@dataclass(frozen=True, kw_only=True)
class PolynomialFisheye(CameraModel):
    """Base of lenses with u = fx f(theta) x / rho + cx, likewise v; theta = atan2(rho, z), rho = hypot(x, y).

    Valid beyond 90 degrees, unlike cv2.fisheye, which mirrors there. Models name the coefficients of f
    after the first, which is 1, and say whether its powers are the odd ones.
    """

    _names: ClassVar[tuple[str, ...]]
    _odd: ClassVar[bool]

    d: tuple[float, ...]

    def _checked(self, key: str, value: object) -> object:
        checked = super()._checked(key, value)
        if key == "d" and not (isinstance(checked, tuple) and len(checked) == len(self._names)):
            wanted = f"the {len(self._names)} numbers {', '.join(self._names)}"
            raise CameraParameterError(
                "d", f"d of this {self.model} camera is {value!r}; it must be {wanted}"
            )
        return checked

    def _theta_limit(self) -> float:
        return fold_limit((1.0, *self.d), (1.0,), math.pi, odd=self._odd)

    @cached_property
    def _curve(self) -> RadialCurve:
        return radial_curve((1.0, *self.d), (1.0,), self.theta_max, odd=self._odd)

    @cached_property
    def _end_radius(self) -> float:
        """Radius, in focal lengths, of `theta_max`, with tolerance for it and for a pixel's rounding."""
        end, curve = self.theta_max, self._curve
        slope = float(curve.slope(np.array([end * end if self._odd else end]))[0])
        return curve.end_value + _TOLERANCE * (1.0 + curve.end_value + slope)

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
        valid: Bools = radius <= self._end_radius
        theta = self._curve.inverse(radius)
        scale = np.sin(theta)
        scale /= np.maximum(radius, _TINY, out=radius)
        m_x *= scale
        m_y *= scale
        return m_x, m_y, np.cos(theta, out=theta), valid

    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        mask: Bools = np.hypot(m_x, m_y) <= self._end_radius
        return mask


@register_camera_model("fisheye", "kannala_brandt")
@dataclass(frozen=True, kw_only=True)
class KannalaBrandtCamera(PolynomialFisheye):
    """Fisheye lens of OpenCV's fisheye module and of ROS: the radius is an odd polynomial of the angle.

    f(theta) = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8), see `PolynomialFisheye`.
    All-zero coefficients are an ideal f-theta lens (radius = f theta), not a pinhole.

    Attributes:
        d: k1 to k4.
        theta_max: smaller of the given half field of view, the first zero of df/d(theta), and pi.
    """

    model: ClassVar[str] = "equidistant"

    _names: ClassVar[tuple[str, ...]] = ("k1", "k2", "k3", "k4")
    _odd: ClassVar[bool] = True

    d: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)


@register_camera_model("radial_poly")
@dataclass(frozen=True, kw_only=True)
class WoodScapeCamera(PolynomialFisheye):
    """Fisheye lens of the WoodScape data set (ICCV 2019): a polynomial of the angle with even powers too.

    f(theta) = theta (1 + a2 theta + a3 theta^2 + a4 theta^3), see `PolynomialFisheye`. WoodScape's own
    coefficients k1 to k4 give the radius in pixels: fx = k1, fy = k1 aspect_ratio, a_i = k_i / k1.

    Attributes:
        d: a2 to a4.
        theta_max: smaller of the given half field of view, the first zero of df/d(theta), and pi.
    """

    model: ClassVar[str] = "woodscape"

    _names: ClassVar[tuple[str, ...]] = ("a2", "a3", "a4")
    _odd: ClassVar[bool] = False

    d: tuple[float, ...] = (0.0, 0.0, 0.0)
