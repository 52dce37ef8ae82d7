"""Warps between a source picture and a target picture: both ways, point by point."""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from internimage_perception.data.sample import Bools, Floats
from internimage_perception.geometry import CameraModel

# Just inside the rim, so that rounding leaves a direction there valid.
_RIM = 1.0 - 1e-9
# A ten-thousandth of a pixel in pictures of 3000.
_HALVINGS = 25


@dataclass(frozen=True, kw_only=True)
class Warp(ABC):
    """A one-to-one map between the pixels of two pictures; pixel centres are whole numbers.

    Attributes:
        source_width: columns of the picture that is warped.
        source_height: rows of it.
        width: columns of the answer.
        height: rows of the answer.
    """

    smooth: ClassVar[bool] = True
    """Whether `locate` may be evaluated at some pixels and interpolated for those between."""

    source_width: int
    source_height: int
    width: int
    height: int

    @abstractmethod
    def locate(self, pixels: Floats) -> tuple[Floats, Bools]:
        """Return where in the source the target's pixels (N, 2) come from, and which have such a place.

        The place may lie outside the source picture, and the pixel beyond the rim of the target's lens.
        """

    @abstractmethod
    def carry(self, points: Floats) -> tuple[Floats, Bools]:
        """Return where in the target points (N, 2) of the source come to lie, and which the lens shows.

        What lies beyond the lens's rim is moved onto the rim, so that outlines keep their inside. The place
        may lie outside the target picture; a point without any place is NaN.
        """

    def within_source(self, points: Floats) -> Floats:
        """Return points (N, 2) of the source, those beyond the rim of its lens moved onto it.

        Outlines keep their inside: the source shows a region without bays around its lens's centre.
        """
        return points

    @abstractmethod
    def lens_mask(self) -> Bools:
        """Return which pixels the target's lens serves, bool (height, width)."""

    @abstractmethod
    def eccentricity(self, pixels: Floats) -> Floats:
        """Return how far off the axis pixels (N, 2) look: 0 on it, 1 at the lens's rim, more beyond."""


@dataclass(frozen=True, kw_only=True)
class CameraWarp(Warp):
    """The picture of one camera as another one would take it from the same place, or nearly so.

    A direction d of the target's optical frame is R d in the source's. With a translation t the source
    picture is taken for a flat scene: its rays end on the plane at distance 1 in front of the source camera,
    and the target camera stands at t, in the source's frame. That is the seven degrees of freedom of Ye et
    al. (2020): a focal length, three angles, three shifts. Without translation it is the true picture of any
    scene, at any angle.

    Attributes:
        source: lens of the picture that is warped.
        target: lens of the answer.
        rotation: R, 3x3 rows as tuples.
        translation: t, in distances of the plane; its third number is below 1.

    Raises:
        ValueError: a translation through the plane.
    """

    source_width: int = 0
    source_height: int = 0
    width: int = 0
    height: int = 0
    source: CameraModel
    target: CameraModel
    rotation: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.translation[2] >= 1.0:
            message = f"the target camera would stand behind the picture: t_z is {self.translation[2]}"
            raise ValueError(message)
        for mine, lens in (("source_", self.source), ("", self.target)):
            object.__setattr__(self, f"{mine}width", lens.width)
            object.__setattr__(self, f"{mine}height", lens.height)

    @cached_property
    def _r(self) -> Floats:
        return np.array(self.rotation, np.float64)

    @cached_property
    def _t(self) -> Floats:
        return np.array(self.translation, np.float64)

    @property
    def _flat(self) -> bool:
        return any(self.translation)

    @cached_property
    def _beyond(self) -> CameraModel:
        """The target's lens without its rim, up to the model's own limit."""
        return dataclasses.replace(self.target, theta_max=math.inf)

    def locate(self, pixels: Floats) -> tuple[Floats, Bools]:
        """See `Warp`; NaN and False where the target has no ray or the source shows none of it."""
        rays, valid = self._beyond.unproject(pixels)
        # Not `@`: in products this small, a linear algebra library's threads only wait for each other.
        rays = np.einsum("nj,ij->ni", rays, self._r)
        if self._flat:
            with np.errstate(all="ignore"):
                scale = (1.0 - self._t[2]) / rays[:, 2]
                valid &= scale > 0.0
                rays *= scale[:, np.newaxis]
            rays += self._t
        found, seen = self.source.project(rays)
        seen &= valid
        found[~seen] = np.nan
        return found, seen

    def carry(self, points: Floats) -> tuple[Floats, Bools]:
        """See `Warp`; NaN for points of the source without a ray."""
        rays, known = self.source.unproject(points)
        if self._flat:
            with np.errstate(all="ignore"):
                rays = rays / rays[:, 2:] - self._t
            known &= np.isfinite(rays).all(axis=1)
        rays = np.einsum("nj,ji->ni", rays, self._r)
        rho = np.hypot(rays[:, 0], rays[:, 1])
        theta = np.arctan2(rho, rays[:, 2])
        shown: Bools = known & (theta <= self.target.theta_max)
        rim = self.target.theta_max * _RIM
        out = np.flatnonzero(theta > rim)
        if out.size:
            across = math.sin(rim) / np.maximum(rho[out], 1e-300)
            rays[out, 0] *= across
            rays[out, 1] *= across
            rays[out, 2] = math.cos(rim)
        found, good = self.target.project(rays)
        shown &= good
        found[~known] = np.nan
        return found, shown

    def within_source(self, points: Floats) -> Floats:
        """See `Warp`; found by halving the way to the lens's centre, whatever the model."""
        out = np.flatnonzero(~self.source.unproject(points)[1] & np.isfinite(points).all(axis=1))
        if not out.size:
            return points
        centre = np.array([self.source.cx, self.source.cy])
        way = points[out] - centre
        share, step = np.zeros((out.size, 1)), 0.5
        for _ in range(_HALVINGS):
            share[self.source.unproject(centre + (share + step) * way)[1]] += step
            step /= 2.0
        moved = points.copy()
        moved[out] = centre + share * way
        return moved

    def lens_mask(self) -> Bools:
        """See `Warp`."""
        return self.target.valid_mask()

    def eccentricity(self, pixels: Floats) -> Floats:
        """Return the angle off the axis as a share of the lens's largest; 1 where the model has no ray."""
        rays, valid = self._beyond.unproject(pixels)
        theta = np.arctan2(np.hypot(rays[:, 0], rays[:, 1]), rays[:, 2])
        return np.where(valid, theta / self.target.theta_max, 1.0)


@dataclass(frozen=True, kw_only=True)
class DivisionWarp(Warp):
    """The one-parameter division model of a DACON 2023 entry, with its own pixel arithmetic.

    Row i and column j of a canvas of the source's size are x = (2 i - H) / H and y = (2 j - W) / W: each axis
    is measured by its own length, so that circles become ellipses. They show the source at
    (x, y) / (1 - k (x^2 + y^2)), in pixels trunc((s + 1) size / 2). The answer is a window of that canvas.
    There is neither focal length nor field of view in it.

    Attributes:
        k: strength; 1 in the original.
        left: first column of the window.
        top: first row of the window.
    """

    smooth: ClassVar[bool] = False

    k: float = 1.0
    left: int = 0
    top: int = 0

    @classmethod
    def cropped(cls, width: int, height: int, k: float = 1.0) -> "DivisionWarp":
        """Return the warp of a picture with the crop of `dacon2023`.

        The crop ends 80 of 1024 rows and 100 of 2048 columns (at other sizes the same shares, rounded)
        before the last row and the last column whose middle shows the source, and lies symmetrically: at
        2048x1024 rows 276 to 748 and columns 492 to 1556, which is 1065x473. Its corners then touch the
        border of the source. Raises ValueError where nothing would be left.
        """
        last_row = _last_seen(height, k) - round(80 * height / 1024)
        last_column = _last_seen(width, k) - round(100 * width / 2048)
        top, left = height - last_row, width - last_column
        if not (0 <= top <= last_row < height and 0 <= left <= last_column < width):
            message = f"nothing of a picture of {width}x{height} is left by the crop (k = {k:g})"
            raise ValueError(message)
        return cls(
            source_width=width, source_height=height, k=k, left=left, top=top,
            width=last_column - left + 1, height=last_row - top + 1,
        )  # fmt: skip

    @property
    def _window(self) -> Floats:
        return np.array([self.left, self.top], np.float64)

    def locate(self, pixels: Floats) -> tuple[Floats, Bools]:
        """See `Warp`. Rounded to whole pixels, it is the original's truncation of half a pixel more."""
        size = np.array([self.source_width, self.source_height], np.float64)
        place = (2.0 * (pixels + self._window) - size) / size
        divisor = 1.0 - self.k * (place[:, 0] * place[:, 0] + place[:, 1] * place[:, 1])
        divisor[divisor == 0.0] = 1.0
        found = (place / divisor[:, np.newaxis] + 1.0) * size / 2.0
        # Truncation takes what lies up to a pixel before the first one for the first one.
        found = np.where((found > -1.0) & (found < 0.0), 0.0, found) - 0.5
        return found, np.ones(len(found), np.bool_)

    def carry(self, points: Floats) -> tuple[Floats, Bools]:
        """See `Warp`; the inverse of `locate` in closed form."""
        size = np.array([self.source_width, self.source_height], np.float64)
        place = 2.0 * (points + 0.5) / size - 1.0
        squared = place[:, 0] * place[:, 0] + place[:, 1] * place[:, 1]
        place *= (2.0 / (1.0 + np.sqrt(np.maximum(1.0 + 4.0 * self.k * squared, 0.0))))[:, np.newaxis]
        found = (place + 1.0) * size / 2.0 - self._window
        return found, np.asarray(np.isfinite(found).all(axis=1), np.bool_)

    def lens_mask(self) -> Bools:
        """See `Warp`; the model knows no lens, so that it serves all."""
        return np.ones((self.height, self.width), np.bool_)

    def eccentricity(self, pixels: Floats) -> Floats:
        """Return the normalised radius as a share of that of the canvas's corner."""
        size = np.array([self.source_width, self.source_height], np.float64)
        place = (2.0 * (pixels + self._window) - size) / size
        share: Floats = np.hypot(place[:, 0], place[:, 1]) / math.sqrt(2.0)
        return share


def _last_seen(size: int, k: float) -> int:
    """Return the last row (or column) whose middle shows the source."""
    place = (2.0 * np.arange(size // 2, size) - size) / size
    divisor = 1.0 - k * place * place
    divisor[divisor == 0.0] = 1.0
    found = (place / divisor + 1.0) * size / 2.0
    # The first stretch from the middle: far out, the model shows the source again, mirrored.
    out = np.flatnonzero((found >= size) | (found < 0.0))
    return size // 2 + (int(out[0]) if out.size else len(found)) - 1
