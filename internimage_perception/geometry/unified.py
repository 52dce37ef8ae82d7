"""Cameras of the unified sphere: Mei's model (ICRA 2007) as in KITTI-360, and Geyer and Daniilidis' (UCM)."""

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


@register_camera_model("ucm", "unified", "omni")
@dataclass(frozen=True, kw_only=True)
class MeiCamera(CameraModel):
    """Wide-angle lens or mirror: points go to the unit sphere, from there to a plane, then are distorted.

    With l = |(x, y, z)|: a = x / (z + xi l), b = y / (z + xi l), radial and tangential distortion of (a, b)
    as in `PinholeCamera`, u = fx a' + cx, v = fy b' + cy. xi = 0 is a pinhole, xi = 1 a stereographic lens;
    without distortion it is the UCM. fx and fy are what others call gamma1 and gamma2.

    Attributes:
        xi: distance of the projection's centre from the sphere's, 0 or more.
        d: (k1, k2, p1, p2[, k3]) or empty; kept with 5 numbers.
        theta_max: smaller of the given half field of view, of what the sphere shows (z > -min(xi, 1/xi) l),
            and the largest angle within which the distortion is one-to-one.
    """

    model: ClassVar[str] = "mei"

    xi: float
    d: tuple[float, ...] = ()

    def _checked(self, key: str, value: object) -> object:
        checked = super()._checked(key, value)
        if key == "xi" and not (isinstance(checked, float) and 0.0 <= checked <= FARTHEST):
            raise self._wrong(key, value, f"between 0 and {FARTHEST:g}")
        if key != "d":
            return checked
        if not (isinstance(checked, tuple) and len(checked) in {0, 4, 5}):
            raise CameraParameterError(
                "d", f"d of this {self.model} camera is {value!r}; it must be empty or (k1, k2, p1, p2[, k3])"
            )
        return padded_coefficients(checked)

    @property
    def _rim(self) -> float:
        """How far behind its centre, along the axis, the sphere is seen."""
        return min(self.xi, 1.0 / self.xi) if self.xi else 0.0

    @property
    def _sphere_limit(self) -> float:
        """Largest angle that the sphere shows: where the radius reaches infinity or turns back."""
        return math.acos(-self._rim)

    def _theta_limit(self) -> float:
        limit = monotone_limit(self.d)
        sphere = self._sphere_limit
        return min(sphere, self._angle(limit)) if limit < self._radius(sphere) else sphere

    @cached_property
    def _lens(self) -> BrownConrady:
        return brown_conrady(self.d, self._radius(self.theta_max))

    def _radius(self, theta: float) -> float:
        """Return the radius on the plane of an angle up to the sphere's limit."""
        depth = math.cos(theta) + self.xi
        if depth <= 0.0:
            return FARTHEST
        return min(math.sin(theta) / depth, FARTHEST)

    def _angle(self, radius: float) -> float:
        """Return the angle of a radius on the plane."""
        squared = radius * radius
        root = float(self._root(np.array([squared]))[0])
        return math.atan2((self.xi + root) * radius, root - self.xi * squared)

    def _root(self, squared: Floats) -> Floats:
        """Return w such that (xi + w) / (1 + squared) (a, b, 1), less (0, 0, xi), is the ray of (a, b)."""
        root: Floats = np.sqrt(np.maximum(1.0 + (1.0 - self.xi * self.xi) * squared, 0.0))
        return root

    def _project(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Bools]:
        length = np.sqrt(x * x + y * y + z * z)
        valid: Bools = length >= CENTRE_RADIUS
        valid &= length < np.inf
        # Behind its rim, a sphere with xi > 1 shows points a second time.
        valid &= z + self._rim * length > -_TOLERANCE * length
        length *= self.xi
        length += z
        valid &= length > 0.0
        x /= length
        y /= length
        valid &= np.hypot(x, y) <= self._lens.limit * (1.0 + _TOLERANCE)
        m_x, m_y = self._lens.distort(x, y)
        return m_x, m_y, valid

    def _unproject(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        a, b, valid = self._lens.undistort(m_x, m_y)
        squared = a * a + b * b
        root = self._root(squared)
        # scale - xi, without the cancellation of a large xi.
        z = root - self.xi * squared
        squared += 1.0
        z /= squared
        scale = root
        scale += self.xi
        scale /= squared
        a *= scale
        b *= scale
        return a, b, z, valid

    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        return self._lens.reaches(m_x, m_y)
