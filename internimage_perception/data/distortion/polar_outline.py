"""The best outline around a lens's middle: per direction, from which radius on the own body is seen.

Dynamic programming over directions (A. Amini, T. Weymouth, R. Jain, *Using dynamic programming for solving
variational problems in vision*, PAMI 1990): the least cost of all outlines is found, not the nearest.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.sample import Bools

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Radii = npt.NDArray[np.intp]

_DIRECTIONS = 720


@dataclass(frozen=True, eq=False)
class PolarGrid:
    """Cells around a middle: rows are directions, clockwise from straight up; columns are radii.

    Attributes:
        seen: bool (height, width), what the lens shows.
        middle: column and row of the middle of what is seen.
        reach: radius of what is seen, pixels.
    """

    seen: Bools
    middle: tuple[float, float]
    reach: float

    @classmethod
    def around(cls, seen: Bools) -> "PolarGrid":
        """Return the grid around the middle of what is seen; something has to be."""
        rows, columns = np.nonzero(seen)
        u, v = (float(columns.min() + columns.max()) / 2.0, float(rows.min() + rows.max()) / 2.0)
        return cls(seen, (u, v), float(np.hypot(columns - u, rows - v).max()) + 1.0)

    @property
    def radii(self) -> int:
        """How many cells each direction has."""
        return max(1, int(self.reach))

    @property
    def depth(self) -> float:
        """Size of a cell along the radius, pixels."""
        return self.reach / self.radii

    @property
    def angles(self) -> Floats:
        """Direction of each row, radians clockwise from up, (rows,)."""
        return np.asarray((np.arange(_DIRECTIONS) + 0.5) * (2.0 * np.pi / _DIRECTIONS), np.float64)

    @property
    def widths(self) -> Floats:
        """Size of each column's cells across the radius, pixels, (columns,)."""
        cells = np.arange(self.radii) + 0.5
        return np.asarray(cells * (self.depth * 2.0 * np.pi / _DIRECTIONS), np.float64)

    @cached_property
    def cells(self) -> Bools:
        """Which cells the lens shows, bool (rows, columns)."""
        return self.sampled(self.seen.astype(np.float32)) > 0.5

    def sampled(self, image: Singles) -> Floats:
        """Return an image's values at the cells, (rows, columns); 0 outside the image."""
        radius = (np.arange(self.radii) + 0.5) * self.depth
        u = self.middle[0] + np.sin(self.angles)[:, np.newaxis] * radius
        v = self.middle[1] - np.cos(self.angles)[:, np.newaxis] * radius
        values = cv2.remap(
            image, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=0.0,
        )  # fmt: skip
        return np.asarray(values, np.float64)

    def filled(self, outline: Radii, rows: Bools) -> Bools:
        """Return the pixels of some directions from the outline on, bool (height, width)."""
        v, u = np.mgrid[: self.seen.shape[0], : self.seen.shape[1]]
        angle = np.arctan2(u - self.middle[0], self.middle[1] - v) % (2.0 * np.pi)
        row = np.minimum((angle * (_DIRECTIONS / (2.0 * np.pi))).astype(np.intp), _DIRECTIONS - 1)
        beyond = np.hypot(u - self.middle[0], v - self.middle[1]) >= (outline[row] + 0.5) * self.depth
        return np.asarray(beyond & rows[row] & self.seen, np.bool_)


def best_outline(gain: Floats, crossing: Floats, stepping: Floats, allowed: Bools) -> Radii:
    """Return, for every direction, the first cell of the body; as many as there are columns for none.

    The outline begins and ends (straight up) without body. The least sum is found of what the outline costs
    where it runs around the middle and where it steps in or out, less what the cells behind it are worth.

    Args:
        gain: worth of the body beginning at a cell, (rows, columns).
        crossing: cost of the outline running through a cell, (rows, columns).
        stepping: cost of it running through a cell along the radius, between a row and the one before.
        allowed: rows that may have body.
    """
    rows, columns = gain.shape
    none = np.zeros((rows, 1))
    own = np.concatenate([crossing - gain, none], axis=1)
    own[~allowed, :columns] = np.inf
    steps = np.concatenate([none, np.cumsum(stepping, axis=1)], axis=1)
    index = np.arange(columns + 1)
    cost = np.where(index == columns, 0.0, np.inf)
    came_from = np.empty((rows, columns + 1), np.intp)
    for row in range(rows):
        # The step from radius i to j costs |steps[j] - steps[i]|: two running minima, from either side.
        outwards, at_outwards = _running_minimum(cost - steps[row], index)
        inwards, at_inwards = _running_minimum((cost + steps[row])[::-1], index)
        outwards = outwards + steps[row]
        inwards, at_inwards = inwards[::-1] - steps[row], columns - at_inwards[::-1]
        nearer = outwards <= inwards
        came_from[row] = np.where(nearer, at_outwards, at_inwards)
        cost = np.where(nearer, outwards, inwards) + own[row]
    outline = np.empty(rows, np.intp)
    # Back from a last row without body.
    last = columns
    for row in range(rows - 1, -1, -1):
        outline[row] = last
        last = int(came_from[row, last])
    return outline


def _running_minimum(values: Floats, index: Radii) -> tuple[Floats, Radii]:
    """Return the least value so far, and the last place where it was."""
    least = np.minimum.accumulate(values)
    return least, np.maximum.accumulate(np.where(values <= least, index, 0))
