"""Warping pictures without aliasing: every pixel is the average over its footprint in the source.

As in texture mapping (Heckbert 1989; the anisotropic filter of graphics hardware): from a pyramid of halved
pictures a pixel takes the level whose pixels are about as large as its footprint is narrow, and averages
samples there, more of them along its longer side.
"""

from typing import Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.distortion.warp_map import STEP, Singles, WarpMap
from internimage_perception.data.sample import Bytes, Floats

Interpolation = Literal["area", "linear", "nearest"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("area", "linear", "nearest")

# Samples along and across a footprint; what is longer than that goes to a coarser level.
_ALONG, _ACROSS = (1, 2, 3, 4, 6, 8), (1, 2)
# A footprint up to this many pixels long needs no average: interpolation covers as much.
_ALONE = 1.25
_CHUNK = 8192
_Keys = npt.NDArray[np.int16]
_Whole = TypeVar("_Whole", np.int16, np.int32)


def warped_image(image: Bytes, placed: WarpMap, interpolation: Interpolation, fill: npt.ArrayLike) -> Bytes:
    """Return the picture in the target, uint8 (height, width, channels).

    Args:
        image: uint8 (source height, source width, channels).
        placed: the warp.
        interpolation: "area" averages over footprints, "linear" takes one interpolated sample, "nearest"
            the pixel at the footprint's middle.
        fill: value of pixels that come from nowhere, one per channel.
    """
    if placed.identity:
        return image.copy()
    if interpolation == "nearest":
        moved = placed.nearest(image, 0)
    else:
        moved = _sampled(image, placed.columns, placed.rows)
        if interpolation == "area":
            _average(moved, image, placed)
    moved[~placed.inside] = np.asarray(fill, np.uint8)
    return moved


def _sampled(image: Bytes, columns: Singles, rows: Singles) -> Bytes:
    """Return bilinear samples; what lies outside takes the border's colour."""
    moved = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8).reshape(*columns.shape, image.shape[2])


def _average(moved: Bytes, image: Bytes, placed: WarpMap) -> None:
    """Replace the pixels of `moved` whose footprint is larger than a pixel."""
    keys, steps = _plan(placed.jacobian)
    full = _by_pixel(keys, placed)
    # In the order of the keys, pixels of one plan lie together.
    chosen = np.flatnonzero((full != 0) & placed.inside)
    if not chosen.size:
        return
    own = np.take(full, chosen)
    order = np.argsort(own, kind="stable")
    chosen, own = np.take(chosen, order), np.take(own, order)
    nodes = np.take(_by_pixel(np.arange(keys.size, dtype=np.int32).reshape(keys.shape), placed), chosen)
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    levels = _pyramid(image, int(own[-1]) >> 8)
    flat = moved.reshape(-1, moved.shape[2])
    # The axes as planes: what is picked from them lies together.
    axes = np.ascontiguousarray(steps.reshape(-1, 4).T)
    for start, stop in zip(starts, [*starts[1:], len(own)], strict=True):
        key = int(own[start])
        level, along, wide = key >> 8, key >> 4 & 15, key & 15
        for first in range(start, stop, _CHUNK):
            part = slice(first, min(first + _CHUNK, stop))
            step = np.take(axes, nodes[part], axis=1)
            pixels = chosen[part]
            flat[pixels] = _averages(levels[level], placed, pixels, step, (level, along, wide))


def _by_pixel(nodes: npt.NDArray[_Whole], placed: WarpMap) -> npt.NDArray[_Whole]:
    """Return the value of every pixel's node."""
    full = np.repeat(np.repeat(nodes[1:-1, 1:-1], STEP, axis=1), STEP, axis=0)
    return np.ascontiguousarray(full[: placed.warp.height, : placed.warp.width])


def _averages(
    picture: Bytes, placed: WarpMap, pixels: npt.NDArray[np.intp], step: Singles, plan: tuple[int, int, int]
) -> Bytes:
    """Return the averages (N, channels) over the footprints of pixels, from one level of the pyramid.

    Args:
        picture: the level.
        placed: the warp.
        pixels: N of them.
        step: their footprints' axes, (4, N).
        plan: the level's number, and how many samples along and across.
    """
    level, along, wide = plan
    a = (np.arange(along, dtype=np.float32) + np.float32(0.5)) / np.float32(along) - np.float32(0.5)
    b = (np.arange(wide, dtype=np.float32) + np.float32(0.5)) / np.float32(wide) - np.float32(0.5)
    a, b = np.repeat(a, wide)[:, np.newaxis], np.tile(b, along)[:, np.newaxis]
    scale = np.float32(0.5**level)
    places = []
    # A row per sample: sums of rows are much faster than sums within them.
    for middle, axis in ((placed.columns, 0), (placed.rows, 1)):
        place = step[axis] * a
        place += np.take(middle, pixels)
        if wide > 1:
            place += step[2 + axis] * b
        place += np.float32(0.5)
        place *= scale
        place -= np.float32(0.5)
        places.append(place)
    samples = _sampled(picture, places[0], places[1])
    count = along * wide
    total = samples.sum(axis=0, dtype=np.uint16)
    total += np.uint16(count // 2)
    total //= np.uint16(count)
    return np.asarray(total, np.uint8)


def _plan(jacobian: Floats) -> tuple[_Keys, Singles]:
    """Return how to average at every node: a key, and the long and the short axis of the footprint.

    The key is level << 8 | samples along << 4 | samples across; 0 where none is needed. The axes are
    du, dv of the long one and du, dv of the short one, in pixels of the source, float32.
    """
    a, b, c, d = (jacobian[..., index] for index in range(4))
    # The footprint's axes are the columns of J V: V turns to the principal axes of J^T J.
    turn = 0.5 * np.arctan2(2.0 * (a * b + c * d), a * a + c * c - b * b - d * d)
    cosine, sine = np.cos(turn), np.sin(turn)
    steps = np.stack(
        [a * cosine + b * sine, c * cosine + d * sine, b * cosine - a * sine, d * cosine - c * sine], axis=-1
    )
    long = np.hypot(steps[..., 0], steps[..., 1])
    short = np.hypot(steps[..., 2], steps[..., 3])
    level = np.maximum(np.floor(np.log2(np.maximum(short, 1.0))), 0.0)
    level = np.maximum(level, np.ceil(np.log2(np.maximum(long / _ALONG[-1], 1.0))))
    # Coarser than a picture's longest side there is nothing.
    level = np.minimum(level, 15.0).astype(np.int32)
    share = 0.5**level
    along = np.array(_ALONG)[np.searchsorted(np.array(_ALONG) + _ALONE - 1.0, long * share).clip(max=5)]
    wide = np.array(_ACROSS)[np.searchsorted(np.array(_ACROSS) + _ALONE - 1.0, short * share).clip(max=1)]
    keys = np.where(long > _ALONE, level << 8 | along.astype(np.int32) << 4 | wide.astype(np.int32), 0)
    return keys.astype(np.int16), steps.astype(np.float32)


def _pyramid(image: Bytes, highest: int) -> list[Bytes]:
    """Return the picture and its halves; each pixel is the mean of four."""
    levels = [image]
    for _ in range(highest):
        last = levels[-1]
        height, width = last.shape[:2]
        # An odd side is made even by repeating the border, so that every level halves exactly.
        if height % 2 or width % 2:
            last = np.pad(last, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        size = (last.shape[1] // 2, last.shape[0] // 2)
        half = np.asarray(cv2.resize(last, size, interpolation=cv2.INTER_AREA), np.uint8)
        levels.append(half.reshape(size[1], size[0], image.shape[2]))
    return levels
