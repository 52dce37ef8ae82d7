"""`WarpMap`: a warp worked out for every pixel of the target, with the size of every pixel's footprint.

A warp is smooth nearly everywhere: it is computed at every fourth pixel and interpolated between, except
where the second differences say that this would be off by more than a fiftieth of a pixel, and along the
border of what the source can show; there every pixel is computed.
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
        places, known = _interpolated(warp, found, seen, lens)
    else:
        places, known = np.empty((warp.height, warp.width, 2), np.float32), np.zeros_like(lens)
        places[:], known[:] = _NOWHERE, False
    exact = np.flatnonzero(~known & lens & _near_source(seen, warp)) if warp.smooth else np.arange(lens.size)
    places[~known] = _NOWHERE
    whole = np.floor(places + np.float32(0.5))
    if exact.size:
        pixels = np.stack([exact % warp.width, exact // warp.width], axis=1).astype(np.float64)
        place, there = warp.locate(pixels)
        place[~there] = _NOWHERE
        np.clip(place, _NOWHERE, -_NOWHERE * 10.0, out=place)
        places.reshape(-1, 2)[exact] = place
        # In double precision: the seed's truncation is exact.
        whole.reshape(-1, 2)[exact] = np.floor(place + 0.5)
    inside = lens & (whole[..., 0] >= 0) & (whole[..., 0] < warp.source_width)
    inside &= (whole[..., 1] >= 0) & (whole[..., 1] < warp.source_height)
    np.clip(whole, -1, _LARGEST_SIDE, out=whole)
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return WarpMap(warp, x, y, inside, ~lens, jacobian, whole.astype(np.int16))


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


def _interpolated(warp: Warp, found: Floats, seen: Bools, lens: Bools) -> tuple[Singles, Bools]:
    """Return the places (height, width, 2) of pixels between nodes, and where they are good enough.

    Bilinear, less the second differences' share: t (1 - t) / 2 of them at the share t between two nodes.
    """
    size = np.array([warp.source_width, warp.source_height], np.float64)
    # Far outside, any place outside will do: there the map may be as steep as it likes.
    nodes = np.clip(found, -size, 2.0 * size)
    second = _second_differences(nodes, 1), _second_differences(nodes, 0)
    # What is left is below 0.016 third differences per axis.
    bend = sum(
        np.abs(np.diff(part, axis=axis, append=part[-1:] if axis == 0 else part[:, -1:])).max(axis=2)
        for part in second
        for axis in (0, 1)
    )
    # A comparison with NaN is false, as it shall be; nodes follow their neighbours on both sides.
    good = seen & (0.05 * np.asarray(bend) < _TOLERANCE_PX)
    good[1:] &= good[:-1]
    good[:, 1:] &= good[:, :-1]
    # Where both sides agree that it is outside, it is.
    good |= seen & _outside(nodes, size)
    corners = good[1:, 1:] & good[1:, :-1] & good[:-1, 1:] & good[:-1, :-1]
    known = np.repeat(np.repeat(corners, STEP, axis=0), STEP, axis=1)
    half = STEP // 2
    known = known[half : half + warp.height, half : half + warp.width] & lens
    places = _spread(nodes.astype(np.float32), warp)
    share = ((np.arange(STEP) - (STEP - 1) / 2) / STEP) % 1.0
    weight = (share * (1.0 - share) / 2.0).astype(np.float32)
    for part, length, axis in ((second[0], warp.width, 1), (second[1], warp.height, 0)):
        part[~np.isfinite(part)] = 0.0
        bent = _spread(part.astype(np.float32), warp)
        along = np.resize(weight, length)
        bent *= along[:, np.newaxis] if axis == 1 else along[:, np.newaxis, np.newaxis]
        places -= bent
    return places, known


def _second_differences(nodes: Floats, axis: int) -> Floats:
    """Return the second differences along an axis; at the border, the neighbour's."""
    pad = ((1, 1), (0, 0), (0, 0)) if axis == 0 else ((0, 0), (1, 1), (0, 0))
    return np.asarray(np.pad(np.diff(nodes, 2, axis=axis), pad, mode="edge"))


def _outside(nodes: Floats, size: Floats) -> Bools:
    """Return which nodes lie outside the source together with all their neighbours, on the same side."""
    result = np.zeros(nodes.shape[:2], np.bool_)
    kernel = np.ones((3, 3), np.uint8)
    for axis in (0, 1):
        for off in (nodes[..., axis] < -1.0, nodes[..., axis] > size[axis]):
            result |= np.asarray(cv2.erode(off.astype(np.uint8), kernel), np.uint8).astype(np.bool_)
    return result


def _near_source(seen: Bools, warp: Warp) -> Bools:
    """Return which pixels lie within two nodes of one that the source's lens can show."""
    wide = np.asarray(cv2.dilate(seen.astype(np.uint8), np.ones((5, 5), np.uint8)), np.uint8)
    full = np.repeat(np.repeat(wide, STEP, axis=0), STEP, axis=1)
    near: Bools = full[STEP : STEP + warp.height, STEP : STEP + warp.width].astype(np.bool_)
    return near


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
