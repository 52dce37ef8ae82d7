"""The extended unified camera model (EUCM) of Khomutenko, Garcia and Martinet (RA-L 2016)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from internimage_perception.geometry.axial import AxialCamera
from internimage_perception.geometry.camera import Floats
from internimage_perception.geometry.camera_registry import register_camera_model


@register_camera_model("extended_unified")
@dataclass(frozen=True, kw_only=True)
class EucmCamera(AxialCamera):
    """Wide-angle lens: a point is divided by alpha sqrt(beta rho^2 + z^2) + (1 - alpha) z.

    alpha = 0 is a pinhole; beta = 1 is the UCM with xi = alpha / (1 - alpha) and 1 / (1 - alpha) times the
    focal length.

    Attributes:
        alpha: 0 to 1.
        beta: greater than 0.
        theta_max: smaller of the given half field of view and of where z = -w sqrt(beta rho^2 + z^2), with w
            the smaller of alpha / (1 - alpha) and its inverse: there the radius is infinite, or turns back.
    """

    model: ClassVar[str] = "eucm"

    alpha: float
    beta: float = 1.0

    def _checked(self, key: str, value: object) -> object:
        checked = super()._checked(key, value)
        if key == "alpha" and not (isinstance(checked, float) and 0.0 <= checked <= 1.0):
            raise self._wrong(key, value, "between 0 and 1")
        if key == "beta" and not (isinstance(checked, float) and 0.0 < checked <= 1e9):
            raise self._wrong(key, value, "greater than 0")
        return checked

    def _theta_limit(self) -> float:
        # rho / |z| at z = -w sqrt(beta rho^2 + z^2), as an angle that stays exact for w = 0.
        w = edge_ratio(self.alpha)
        return math.pi - math.atan2(math.sqrt(max(1.0 - w * w, 0.0)), w * math.sqrt(self.beta))

    def _divisor(self, rho_squared: Floats, z: Floats) -> Floats:
        divisor: Floats = np.sqrt(self.beta * rho_squared + z * z)
        divisor *= self.alpha
        divisor += (1.0 - self.alpha) * z
        return divisor

    def _height(self, squared: Floats) -> Floats:
        return sphere_height(self.alpha, self.beta * squared)


def sphere_height(alpha: float, squared: Floats) -> Floats:
    """Return z of the ray (m_x, m_y, z) for which alpha |ray| + (1 - alpha) z = 1.

    Args:
        alpha: 0 to 1.
        squared: m_x^2 + m_y^2.
    """
    root: Floats = np.sqrt(np.maximum(1.0 - (2.0 * alpha - 1.0) * squared, 0.0))
    root *= alpha
    # Two forms of the same: for alpha = 1/2 the first is 0/0, at the edge for alpha = 1 the second.
    if alpha > 0.75:
        root -= 1.0 - alpha
        root /= 2.0 * alpha - 1.0
        return root
    root += 1.0 - alpha
    return (1.0 - alpha**2 * squared) / root


def edge_ratio(alpha: float) -> float:
    """Return the smaller of alpha / (1 - alpha) and its inverse."""
    return alpha / (1.0 - alpha) if alpha <= 0.5 else (1.0 - alpha) / alpha
