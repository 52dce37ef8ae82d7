"""What cameras share whose radius in the image is a closed-form function of the angle off the axis alone."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from internimage_perception.geometry.camera import CENTRE_RADIUS, Bools, CameraModel, Floats

_TOLERANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class AxialCamera(CameraModel):
    """Base of camera models with (u, v) = (fx, fy) (x, y) / D(rho, z) + (cx, cy), rho = hypot(x, y).

    Models give the divisor D, of the first degree in the point, and the third coordinate of the ray
    (m_x, m_y, h) of a pixel.
    """

    @abstractmethod
    def _divisor(self, rho_squared: Floats, z: Floats) -> Floats:
        """Return D of points; not above 0 where the point is not seen."""

    @abstractmethod
    def _height(self, squared: Floats) -> Floats:
        """Return h of the squared radius m_x^2 + m_y^2."""

    @cached_property
    def _end_radius(self) -> float:
        """Radius, in focal lengths, of `theta_max`; infinite where the model runs to infinity."""
        sine, cosine = math.sin(self.theta_max), math.cos(self.theta_max)
        divisor = float(self._divisor(np.array([sine * sine]), np.array([cosine]))[0])
        # Next to 0, rounding alone decides how far the model's own limit lies out.
        return sine / divisor if divisor > 1e-12 else math.inf

    def _project(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Bools]:
        rho_squared = x * x
        rho_squared += y * y
        divisor = self._divisor(rho_squared, z)
        length = np.sqrt(rho_squared + z * z)
        valid: Bools = length >= CENTRE_RADIUS
        valid &= length < np.inf
        # z >= l cos(theta_max); the last term is the tolerance in the angle.
        cosine = math.cos(min(self.theta_max, math.pi)) - _TOLERANCE * (1.0 + math.sin(self.theta_max))
        valid &= z >= cosine * length
        valid &= divisor > 0.0
        x /= divisor
        y /= divisor
        return x, y, valid

    def _unproject(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        squared = m_x * m_x
        squared += m_y * m_y
        valid: Bools = np.sqrt(squared) <= self._end_radius * (1.0 + _TOLERANCE)
        height = self._height(squared)
        length = np.sqrt(squared + height * height)
        m_x /= length
        m_y /= length
        height /= length
        valid &= np.isfinite(height)
        return m_x, m_y, height, valid

    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        mask: Bools = np.hypot(m_x, m_y) <= self._end_radius * (1.0 + _TOLERANCE)
        return mask
