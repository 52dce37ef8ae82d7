"""The double sphere camera model of Usenko, Demmel and Cremers (3DV 2018)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from internimage_perception.geometry.axial import AxialCamera
from internimage_perception.geometry.camera import Floats
from internimage_perception.geometry.camera_registry import register_camera_model
from internimage_perception.geometry.extended_unified import edge_ratio, sphere_height


@register_camera_model("ds")
@dataclass(frozen=True, kw_only=True)
class DoubleSphereCamera(AxialCamera):
    """Fisheye lens: points go to one unit sphere, then to another whose centre lies xi further back.

    With l = |(x, y, z)|, z' = xi l + z and l' = hypot(rho, z'), a point is divided by
    alpha l' + (1 - alpha) z'. xi = 0 is the EUCM with beta = 1.

    Attributes:
        xi: distance of the spheres' centres, greater than -1 and at most 1.
        alpha: 0 to 1.
        theta_max: smallest of the given half field of view, the paper's bound z = -w2 l, with w the smaller
            of alpha / (1 - alpha) and its inverse and w2 = (w + xi) / sqrt(2 w xi + xi^2 + 1), and of where
            z' = -w l': there the radius is infinite or turns back, for some xi < 0 before the paper's bound.
    """

    model: ClassVar[str] = "double_sphere"

    xi: float
    alpha: float

    def _checked(self, key: str, value: object) -> object:
        checked = super()._checked(key, value)
        if key == "alpha" and not (isinstance(checked, float) and 0.0 <= checked <= 1.0):
            raise self._wrong(key, value, "between 0 and 1")
        if key == "xi" and not (isinstance(checked, float) and -1.0 < checked <= 1.0):
            raise self._wrong(key, value, "greater than -1 and at most 1")
        return checked

    def _theta_limit(self) -> float:
        # sqrt(1 - w2^2) = sqrt(1 - w^2) / sqrt(2 w xi + xi^2 + 1): an angle exact to rounding everywhere.
        w = edge_ratio(self.alpha)
        across = 1.0 - w * w
        paper = math.atan2(math.sqrt(across), -(w + self.xi))
        edge = -self.xi * across - w * math.sqrt(max(1.0 - self.xi**2 * across, 0.0))
        return min(paper, math.acos(max(-1.0, edge)))

    def _divisor(self, rho_squared: Floats, z: Floats) -> Floats:
        shifted = np.sqrt(rho_squared + z * z)
        shifted *= self.xi
        shifted += z
        divisor: Floats = np.sqrt(rho_squared + shifted * shifted)
        divisor *= self.alpha
        divisor += (1.0 - self.alpha) * shifted
        return divisor

    def _height(self, squared: Floats) -> Floats:
        # Third coordinate seen from the second sphere's centre, then from the first's.
        second = sphere_height(self.alpha, squared)
        inner = np.sqrt(np.maximum(second * second + (1.0 - self.xi**2) * squared, 0.0))
        along = (second * self.xi + inner) / (second * second + squared)
        # The ray is (along m, along second - xi); divided by `along` to leave (m, height).
        height: Floats = second - self.xi / along
        return height
