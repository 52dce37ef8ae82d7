"""Moving pictures by affine maps: which pixel goes where, and images without aliasing."""

import math
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.sample import Bools, Bytes, Floats

Indices = npt.NDArray[np.intp]
Size = tuple[int, ...]
"""(height, width) in pixels."""

_WHOLE = 1e-6
# Nearest pixels of places exactly between two, up to rounding, are the later ones.
_TIE = 1e-9
# Variance, in squared pixels, of what linear interpolation takes in at an average place.
_LINEAR = 1.0 / 6.0
# Below this, a blur changes nothing.
_LEAST_BLUR = 0.01
# Resizing is so much faster than a general affine map, per pixel that it makes.
_RESIZING = 2.5


class Grid:
    """The pixels of a target and their places in a source; pixel centres are whole numbers.

    Args:
        matrix: pixels of the source to pixels of the target, (2, 3).
        source: (height, width) of the source.
        size: (height, width) of the target.
    """

    def __init__(self, matrix: Floats, source: Size, size: Size) -> None:
        self.matrix = matrix
        self.source = (source[0], source[1])
        self.size = (size[0], size[1])

    @cached_property
    def inverse(self) -> Floats:
        """Pixels of the target to places in the source, (2, 3)."""
        (a, b, p), (c, d, q) = self.matrix.tolist()
        over = a * d - b * c
        a, b, c, d = d / over, -b / over, -c / over, a / over
        return np.array([[a, b, -a * p - b * q], [c, d, -c * p - d * q]])

    @cached_property
    def axial(self) -> bool:
        """Whether rows stay rows and columns stay columns."""
        return not (self.matrix[0, 1] or self.matrix[1, 0])

    @cached_property
    def identity(self) -> bool:
        """Whether nothing changes."""
        unit = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        return self.size == self.source and bool(np.abs(self.matrix - unit).max() < _WHOLE)

    @cached_property
    def indices(self) -> tuple[Indices, Indices]:
        """Rows and columns of the source that are nearest to those of the target, if `axial`."""
        found = []
        for axis, length in ((1, self.size[0]), (0, self.size[1])):
            place = np.arange(length) * self.inverse[axis, axis] + self.inverse[axis, 2]
            found.append(np.floor(place + (0.5 + _TIE)).astype(np.intp))
        return found[0], found[1]

    @cached_property
    def inside(self) -> Bools | None:
        """Pixels whose nearest pixel is of the source, bool (height, width); None: all."""
        height, width = self.size
        corners = np.array([(0, 0, 1), (width - 1, 0, 1), (0, height - 1, 1), (width - 1, height - 1, 1)])
        places = corners @ self.inverse.T
        limits = np.array([self.source[1] - 0.5, self.source[0] - 0.5]) - _WHOLE
        if (places > _WHOLE - 0.5).all() and (places < limits).all():
            return None
        if self.axial:
            rows, columns = self._shown()
            return np.asarray(rows[:, np.newaxis] & columns)
        return self.nearest(np.ones(self.source, np.uint8), 0).view(np.bool_)

    def nearest(self, picture: Bytes, fill: int) -> Bytes:
        """Return the nearest pixels of a picture of the source's size, uint8 (h, w).

        Args:
            picture: labels or a mask.
            fill: value beyond the source.
        """
        if not self.axial:
            moved = cv2.warpAffine(
                picture, self.matrix, self.size[::-1], flags=cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_CONSTANT, borderValue=fill,
            )  # fmt: skip
            return np.asarray(moved, np.uint8)
        rows, columns = self.indices
        seen_rows, seen_columns = self._shown()
        taken = np.take(np.take(picture, rows, axis=0, mode="clip"), columns, axis=1, mode="clip")
        taken[~seen_rows] = fill
        taken[:, ~seen_columns] = fill
        return taken

    def _shown(self) -> tuple[Bools, Bools]:
        rows, columns = self.indices
        return (rows >= 0) & (rows < self.source[0]), (columns >= 0) & (columns < self.source[1])


def moved_image(image: Bytes, grid: Grid) -> Bytes:
    """Return a picture (h, w, 3) on the grid: interpolated linearly, and averaged where it gets smaller.

    What lies beyond the source takes the colour of its border.
    """
    if grid.axial and _is_shift(grid):
        return _shifted(image, grid)
    image, matrix = _smaller(image, grid.matrix)
    height, width = grid.size
    if grid.axial and (resized := _resized(image, matrix, grid)) is not None:
        return resized
    moved = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def _is_shift(grid: Grid) -> bool:
    """Whether pixels move by whole numbers, mirrored or not."""
    scale = np.array([abs(grid.matrix[0, 0]), grid.matrix[1, 1]])
    shift = grid.matrix[:, 2]
    return bool(np.abs(scale - 1.0).max() < _WHOLE and np.abs(shift - np.rint(shift)).max() < _WHOLE)


def _shifted(image: Bytes, grid: Grid) -> Bytes:
    """Return a part of the picture as it is, mirrored or not."""
    rows, columns = grid.indices
    mirrored = grid.matrix[0, 0] < 0
    return _part(image, int(columns.min()), int(rows[0]), (len(columns), len(rows)), mirrored=mirrored)


def _part(image: Bytes, x: int, y: int, size: tuple[int, int], *, mirrored: bool) -> Bytes:
    """Return the part of (width, height) pixels from (x, y) on; beyond it, the border's colour; a copy."""
    height, width = image.shape[:2]
    left, right = min(max(x, 0), width - 1), min(max(x + size[0], 1), width)
    top, bottom = min(max(y, 0), height - 1), min(max(y + size[1], 1), height)
    part = image[top:bottom, left:right]
    before, above = min(max(-x, 0), size[0] - 1), min(max(-y, 0), size[1] - 1)
    after, below = size[0] - part.shape[1] - before, size[1] - part.shape[0] - above
    if before or after or above or below:
        framed = cv2.copyMakeBorder(part, above, below, before, after, cv2.BORDER_REPLICATE)
        return np.asarray(cv2.flip(framed, 1) if mirrored else framed, np.uint8)
    return np.asarray(cv2.flip(part, 1), np.uint8) if mirrored else part.copy()


def _smaller(image: Bytes, matrix: Floats) -> tuple[Bytes, Floats]:
    """Return the picture, averaged over what its pixels will cover, and the map from its pixels.

    Halved while it is to get smaller than half; then blurred by as much as the average over a pixel's
    footprint is wider than linear interpolation.
    """
    matrix = matrix.copy()
    shrinks = 1.0 / np.hypot(matrix[0, :2], matrix[1, :2])
    factors = [2 ** max(0, math.floor(math.log2(shrink + _WHOLE))) for shrink in shrinks.tolist()]
    if max(factors) > 1:
        height, width = image.shape[:2]
        columns, rows = -(-width // factors[0]), -(-height // factors[1])
        image = _part(image, 0, 0, (columns * factors[0], rows * factors[1]), mirrored=False)
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
        # Source pixel u = (u' + 0.5) factor - 0.5.
        matrix[:, 2] += matrix[:, :2] @ [(factor - 1) / 2 for factor in factors]
        matrix[:, :2] *= np.array(factors)
    shrinks /= factors
    blurs = [max(0.0, shrink * shrink / 12.0 - _LINEAR) for shrink in shrinks.tolist()]
    if max(blurs) > _LEAST_BLUR:
        kernels = [np.array([blur / 2, 1.0 - blur, blur / 2], np.float32) for blur in blurs]
        blurred = cv2.sepFilter2D(image, -1, kernels[0], kernels[1], borderType=cv2.BORDER_REPLICATE)
        image = np.asarray(blurred, np.uint8)
    return image, matrix


def _resized(image: Bytes, matrix: Floats, grid: Grid) -> Bytes | None:
    """Return a part of the resized picture, where that is faster than a general map and as good."""
    starts, lengths = [], []
    for axis, length in ((0, image.shape[1]), (1, image.shape[0])):
        ends = matrix[axis, axis] * np.array([-0.5, length - 0.5]) + matrix[axis, 2] + 0.5
        if np.abs(ends - np.rint(ends)).max() > _WHOLE:
            return None
        starts.append(round(float(ends.min())))
        lengths.append(round(float(np.ptp(ends))))
    height, width = grid.size
    if min(lengths) < 1 or lengths[0] * lengths[1] > _RESIZING * height * width:
        return None
    whole = np.asarray(cv2.resize(image, (lengths[0], lengths[1]), interpolation=cv2.INTER_LINEAR), np.uint8)
    mirrored = bool(matrix[0, 0] < 0)
    x = lengths[0] + starts[0] - width if mirrored else -starts[0]
    if not mirrored and (width, height) == (lengths[0], lengths[1]) and not (x or starts[1]):
        return whole
    return _part(whole, x, -starts[1], (width, height), mirrored=mirrored)
