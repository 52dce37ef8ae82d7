"""What cameras share whose radius in the image is a closed-form function of the angle off the axis alone."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from internimage_perception.geometry.camera import CENTRE_RADIUS, Bools, CameraModel, Floats

_TOLERANCE = 1e-12
_ROUNDING = 1e-15
# Radius, in focal lengths, that stands for infinity: further out, divisors are so near 0 that they are noise.
_FARTHEST = 1e6
_FARTHEST_SEEN = 1.001 * _FARTHEST


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
        """Radius, in focal lengths, of `theta_max`, with tolerance for a pixel's rounding."""
        sine, cosine = math.sin(self.theta_max), math.cos(self.theta_max)
        divisor = float(self._divisor(np.array([sine * sine]), np.array([cosine]))[0])
        radius = sine / divisor if divisor * _FARTHEST > sine else _FARTHEST
        return radius + _TOLERANCE * (1.0 + radius)

    def _project(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Bools]:
        rho_squared = x * x
        rho_squared += y * y
        divisor = self._divisor(rho_squared, z)
        length = np.sqrt(rho_squared + z * z)
        valid: Bools = length >= CENTRE_RADIUS
        valid &= length < np.inf
        cosine = math.cos(min(self.theta_max + _TOLERANCE, math.pi)) - _ROUNDING
        valid &= z >= cosine * length
        valid &= rho_squared <= np.square(_FARTHEST_SEEN * divisor)
        valid &= divisor > 0.0
        x /= divisor
        y /= divisor
        return x, y, valid

    def _unproject(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        squared = m_x * m_x
        squared += m_y * m_y
        valid: Bools = np.sqrt(squared) <= self._end_radius
        height = self._height(squared)
        scale = 1.0 / np.sqrt(squared + height * height)
        height *= scale
        # Where the radius hardly grows any more, its rounding carries rays beyond the limit: hold them there.
        sine, cosine = math.sin(self.theta_max), math.cos(self.theta_max)
        beyond = np.flatnonzero(valid & ~(height >= cosine))
        if beyond.size:
            scale[beyond] = sine / np.sqrt(squared[beyond])
            height[beyond] = cosine
        m_x *= scale
        m_y *= scale
        return m_x, m_y, height, valid

    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        mask: Bools = np.hypot(m_x, m_y) <= self._end_radius
        return mask
