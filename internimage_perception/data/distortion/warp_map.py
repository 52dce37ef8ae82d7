"""`WarpMap`: a warp worked out for every pixel of the target, with the size of every pixel's footprint.

A warp is smooth nearly everywhere: it is computed at the middle of every block of 4 x 4 pixels and expanded
from there to the second order, except where third differences say that this would be off by more than a
fiftieth of a pixel, and along the border of what the source can show; there every pixel is computed.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.distortion.warps import Warp
from internimage_perception.data.sample import Bools, Bytes, Floats

Singles = npt.NDArray[np.float32]
Shorts = npt.NDArray[np.int16]

STEP = 4
"""Pixels from node to node; nodes lie in the middle of blocks of `STEP` x `STEP` pixels."""

_TOLERANCE_PX = 0.02
_THIRD = 0.06
_NOWHERE = -1.0e4
_LARGEST_SIDE = 32_000


@dataclass(frozen=True, eq=False)
class WarpMap:
    """Where every pixel of the target comes from.

    Attributes:
        warp: what was worked out.
        columns: of the source, float32 (height, width); far outside where there is none.
        rows: likewise.
        inside: the pixel's centre comes from a pixel of the source and the lens serves it, bool.
        outside_lens: the target's lens does not serve the pixel, bool.
        jacobian: du/dx, du/dy, dv/dx, dv/dy of the source place at the nodes, (nodes down, across, 4).
    """

    warp: Warp
    columns: Singles
    rows: Singles
    inside: Bools
    outside_lens: Bools
    jacobian: Floats
    _nearest: Shorts

    @cached_property
    def identity(self) -> bool:
        """Whether every pixel comes from the source's pixel at its own place."""
        if (self.warp.width, self.warp.height) != (self.warp.source_width, self.warp.source_height):
            return False
        columns, rows = np.arange(self.warp.width), np.arange(self.warp.height)[:, np.newaxis]
        off = max(float(np.abs(self.columns - columns).max()), float(np.abs(self.rows - rows).max()))
        return bool(self.inside.all()) and off < 1e-3

    def nearest(self, picture: Bytes, fill: int) -> Bytes:
        """Return the nearest pixels of a picture of the source's size, (h, w) or (h, w, channels).

        Args:
            picture: uint8.
            fill: value of pixels that come from nowhere.
        """
        none: Singles = np.empty(0, np.float32)
        moved = np.asarray(cv2.remap(picture, self._nearest, none, cv2.INTER_NEAREST), np.uint8)
        moved = moved.reshape(*self.inside.shape, *picture.shape[2:])
        moved[~self.inside] = fill
        return moved

    @cached_property
    def eccentricity(self) -> Singles:
        """0 in the middle to 1 at the rim of the lens, float32 (height, width)."""
        down, across = self.jacobian.shape[:2]
        values = self.warp.eccentricity(_nodes(down, across)).reshape(down, across)
        return np.minimum(_spread(values.astype(np.float32), self.warp), np.float32(1.0))


def warp_map(warp: Warp) -> WarpMap:
    """Work out a warp. Raises ValueError for pictures of more than 32000 pixels a side."""
    if max(warp.width, warp.height, warp.source_width, warp.source_height) > _LARGEST_SIDE:
        message = f"pictures of more than {_LARGEST_SIDE} pixels a side cannot be warped"
        raise ValueError(message)
    down, across = -(-warp.height // STEP) + 2, -(-warp.width // STEP) + 2
    found, seen = warp.locate(_nodes(down, across))
    found = found.reshape(down, across, 2)
    seen = seen.reshape(down, across)
    jacobian = _jacobian(found)
    lens = warp.lens_mask()
    if warp.smooth:
        planes, known = _interpolated(warp, found, seen, lens)
        wide = cv2.dilate(seen.astype(np.uint8), np.ones((5, 5), np.uint8))
        near = _blocks(np.asarray(wide[1:-1, 1:-1], np.bool_))[: warp.height, : warp.width]
        exact = np.flatnonzero(~known & lens & near)
        nowhere = ~known
        for plane in planes:
            plane[nowhere] = _NOWHERE
    else:
        planes = (np.empty(lens.shape, np.float32), np.empty(lens.shape, np.float32))
        exact = np.arange(lens.size)
    pixels = np.stack([exact % warp.width, exact // warp.width], axis=1).astype(np.float64)
    place, there = warp.locate(pixels)
    place[~there] = _NOWHERE
    np.clip(place, _NOWHERE, -_NOWHERE * 10.0, out=place)
    whole = []
    inside = lens.copy()
    for axis, (plane, length) in enumerate(zip(planes, (warp.source_width, warp.source_height), strict=True)):
        plane.reshape(-1)[exact] = place[:, axis]
        nearest = np.floor(plane + np.float32(0.5))
        # In double precision: the truncation of `dacon2023` is exact.
        nearest.reshape(-1)[exact] = np.floor(place[:, axis] + 0.5)
        inside &= nearest >= 0
        inside &= nearest < length
        # What is too large for 16 bits is not inside.
        with np.errstate(invalid="ignore"):
            whole.append(nearest.astype(np.int16))
    shorts = np.asarray(cv2.merge(whole), np.int16)
    return WarpMap(warp, planes[0], planes[1], inside, ~lens, jacobian, shorts)


def _nodes(down: int, across: int) -> Floats:
    """Return the pixel coordinates (N, 2) of the nodes: one block before the picture to one behind it."""
    middle = (STEP - 1) / 2
    grid = np.empty((down, across, 2))
    grid[..., 0] = np.arange(-1, across - 1) * STEP + middle
    grid[..., 1] = (np.arange(-1, down - 1) * STEP + middle)[:, np.newaxis]
    return grid.reshape(-1, 2)


def _spread(values: Singles, warp: Warp) -> Singles:
    """Return what is between the nodes: (nodes down, across, ...) to (height, width, ...)."""
    size = (values.shape[1] * STEP, values.shape[0] * STEP)
    full = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return np.ascontiguousarray(full[STEP : STEP + warp.height, STEP : STEP + warp.width])


def _interpolated(
    warp: Warp, found: Floats, seen: Bools, lens: Bools
) -> tuple[tuple[Singles, Singles], Bools]:
    """Return columns and rows (height, width) by Taylor's formula around nodes, and where they are good."""
    size = np.array([warp.source_width, warp.source_height], np.float64)
    # Far outside, any place outside will do: there the map may be as steep as it likes.
    nodes = np.clip(found, -size, 2.0 * size)
    error = np.zeros((seen.shape[0] - 2, seen.shape[1] - 2))
    planes = []
    for axis in (0, 1):
        plane, off = _expanded(np.ascontiguousarray(nodes[..., axis]))
        planes.append(np.ascontiguousarray(plane[: warp.height, : warp.width]))
        error += off
    # A comparison with NaN is false, as it shall be.
    good = error < _TOLERANCE_PX
    # Where all around is outside, it is outside.
    good |= (seen & _outside(nodes, size))[1:-1, 1:-1]
    return (planes[0], planes[1]), _blocks(good)[: warp.height, : warp.width] & lens


def _expanded(f: Floats) -> tuple[Singles, Floats]:
    """Return the values of all pixels of the inner nodes' blocks, and a bound of their error per node."""
    inner, ahead, behind = slice(1, -1), slice(2, None), slice(None, -2)
    middle = f[inner, inner]
    f_x, f_y = (f[inner, ahead] - f[inner, behind]) / 2.0, (f[ahead, inner] - f[behind, inner]) / 2.0
    f_xx = f[inner, ahead] - 2.0 * middle + f[inner, behind]
    f_yy = f[ahead, inner] - 2.0 * middle + f[behind, inner]
    f_xy = (f[ahead, ahead] - f[ahead, behind] - f[behind, ahead] + f[behind, behind]) / 4.0
    result = np.empty((middle.shape[0], STEP, middle.shape[1], STEP), np.float32)
    offsets = (np.arange(STEP) - (STEP - 1) / 2) / STEP
    half_xx = (f_xx / 2.0).astype(np.float32)
    for row, y in enumerate(offsets):
        start = (middle + f_y * y + f_yy * (y * y / 2.0)).astype(np.float32)
        slope = (f_x + f_xy * y).astype(np.float32)
        for column, x in enumerate(offsets.astype(np.float32)):
            result[:, row, :, column] = start + (slope + half_xx * x) * x
    # Central differences are off by a sixth of the third derivative, of which 0.375 remains at a corner.
    # Only the mixed derivative looks at the neighbours across the corners, which may be unknown.
    error = np.where(np.isfinite(f_xy), 0.0, np.inf)
    for second in (f_xx, f_yy):
        for axis in (0, 1):
            if second.shape[axis] == 1:
                # Nothing tells how good it is.
                return _pixels(result), np.full_like(error, np.inf)
            third = np.abs(np.diff(second, axis=axis))
            # The larger one of both sides'; at the border there is one side.
            ends = [np.take(third, [end], axis=axis) for end in (0, -1)]
            around = np.concatenate([ends[0], third, ends[1]], axis=axis)
            length = second.shape[axis]
            sides = [np.take(around, np.arange(first, first + length), axis=axis) for first in (0, 1)]
            error += np.maximum(*sides)
    return _pixels(result), _THIRD * error


def _pixels(blocks: Singles) -> Singles:
    """Return (blocks down, STEP, blocks across, STEP) as a picture."""
    return blocks.reshape(blocks.shape[0] * STEP, blocks.shape[2] * STEP)


def _blocks(nodes: npt.NDArray[np.bool_]) -> Bools:
    """Return the pixels of the blocks of nodes."""
    return np.repeat(np.repeat(nodes, STEP, axis=0), STEP, axis=1)


def _outside(nodes: Floats, size: Floats) -> Bools:
    """Return which nodes lie outside the source together with all their neighbours, on the same side."""
    result = np.zeros(nodes.shape[:2], np.bool_)
    kernel = np.ones((3, 3), np.uint8)
    for axis in (0, 1):
        for off in (nodes[..., axis] < -1.0, nodes[..., axis] > size[axis]):
            result |= np.asarray(cv2.erode(off.astype(np.uint8), kernel), np.uint8).astype(np.bool_)
    return result


def _jacobian(found: Floats) -> Floats:
    """Return du/dx, du/dy, dv/dx, dv/dy at the nodes; one-sided at the border, 0 where nothing is known."""
    sums, counts = np.zeros((2, *found.shape[:2], 2, 2))
    for axis, step in ((1, 0), (0, 1)):
        change = np.diff(found, axis=axis) / STEP
        known = np.isfinite(change)
        change = np.where(known, change, 0.0)
        ahead = (slice(None), slice(None, -1)) if axis == 1 else (slice(None, -1), slice(None))
        behind = (slice(None), slice(1, None)) if axis == 1 else (slice(1, None), slice(None))
        for part in (ahead, behind):
            sums[part][..., step] += change
            counts[part][..., step] += known
    return np.asarray(sums / np.maximum(counts, 1.0)).reshape(*found.shape[:2], 4)
