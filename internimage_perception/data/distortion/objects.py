"""Boxes, outlines and masks of objects, carried by the warp that carries the picture."""

import dataclasses
from collections.abc import Iterable

import cv2
import numpy as np

from internimage_perception.data.distortion.warp_map import WarpMap
from internimage_perception.data.distortion.warps import Warp
from internimage_perception.data.sample import Bools, Floats, ObjectLabel

# Points per pixel of an edge, and at most as many per edge.
_DENSITY = 2.0
_MOST_POINTS = 1024
_SIMPLER_PX = 0.1
_LEAST_AREA = 0.25
_GRID = 32
_MASK_POINTS = 4096


def warped_objects(
    objects: Iterable[ObjectLabel], placed: WarpMap, hidden: Bools, min_visible: float
) -> tuple[ObjectLabel, ...]:
    """Return the objects that stay visible, as they are in the target.

    An object's box is that of the pixels of its mask, where it has one; else of its outlines; else of its
    old box's edges. Outlines are cut at the image and at the rim of the lens.

    Args:
        objects: of the source.
        placed: the warp.
        hidden: target pixels that do not show the source although they might: outside the lens, ego body.
        min_visible: objects of which a smaller share stays visible are left out.
    """
    warped = (_warped(item, placed, hidden, min_visible) for item in objects)
    return tuple(item for item in warped if item is not None)


def _warped(item: ObjectLabel, placed: WarpMap, hidden: Bools, min_visible: float) -> ObjectLabel | None:
    share = visible_share(_points_of(item), placed.warp, hidden)
    if share <= 0.0 or share < min_visible:
        return None
    outlines = [
        part for outline in item.polygons if (part := carried_outline(outline, placed.warp)) is not None
    ]
    if item.mask is not None:
        mask = placed.nearest(item.mask.view(np.uint8), 0).astype(np.bool_) & ~hidden
        if not mask.any():
            return None
        box = _mask_box(mask)
        return dataclasses.replace(item, box=box, polygons=tuple(outlines), mask=mask)
    around = outlines if item.polygons else [carried_outline(_corners(item.box), placed.warp)]
    known = [outline for outline in around if outline is not None]
    if not known:
        return None
    points = np.concatenate(known)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return dataclasses.replace(item, box=box, polygons=tuple(outlines))


def carried_outline(outline: Floats, warp: Warp) -> Floats | None:
    """Return an outline (K, 2) in the target, cut at image and lenses; None where nothing is left of it."""
    points, _ = warp.carry(warp.within_source(_dense(np.asarray(outline, np.float64))))
    points = points[np.isfinite(points).all(axis=1)]
    # Moving what lies outside of a convex region onto its border leaves the inside as it was: the winding
    # number of no inner point changes. `carry` has done so at the rim.
    np.clip(points, -0.5, (warp.width - 0.5, warp.height - 0.5), out=points)
    if len(points) < 3:
        return None
    simple = np.asarray(cv2.approxPolyDP(points.astype(np.float32)[:, np.newaxis], _SIMPLER_PX, closed=True))
    result: Floats = simple.reshape(-1, 2).astype(np.float64)
    if len(result) < 3 or abs(_area(result)) < _LEAST_AREA:
        return None
    return result


def visible_share(points: Floats, warp: Warp, hidden: Bools) -> float:
    """Return which share of points (N, 2) of the source the target shows; `hidden` as in `warped_objects`."""
    if not len(points):
        return 0.0
    places, shown = warp.carry(points)
    cells = np.floor(np.where(shown[:, np.newaxis], places, -2.0) + 0.5)
    inside = (cells >= 0.0).all(axis=1) & (cells[:, 0] < warp.width) & (cells[:, 1] < warp.height)
    cells = cells[inside].astype(np.intp)
    return float(np.count_nonzero(~hidden[cells[:, 1], cells[:, 0]])) / len(points)


def _points_of(item: ObjectLabel) -> Floats:
    """Return points spread over an object: pixels of its mask or outlines, else a grid over its box."""
    if item.mask is not None:
        rows, columns = np.nonzero(item.mask)
        step = max(1, len(rows) // _MASK_POINTS)
        return np.stack([columns[::step], rows[::step]], axis=1).astype(np.float64)
    low, high = item.box[:2], item.box[2:]
    share = (np.arange(_GRID) + 0.5) / _GRID
    grid = np.stack(np.meshgrid(share, share), axis=-1).reshape(-1, 2)
    points: Floats = low + grid * (high - low)
    if not item.polygons:
        return points
    outlines = np.concatenate(item.polygons)
    low, high = outlines.min(axis=0), outlines.max(axis=0)
    points = low + grid * (high - low)
    # A raster of that grid tells which of its points lie inside.
    raster = np.zeros((_GRID, _GRID), np.uint8)
    scale = _GRID / np.maximum(high - low, 1e-9)
    fixed = [np.rint(((outline - low) * scale - 0.5) * 256.0).astype(np.int32) for outline in item.polygons]
    for outline in fixed:
        cv2.fillPoly(raster, [outline], 1, shift=8)
    return np.asarray(points[raster.reshape(-1) > 0], np.float64)


def _dense(outline: Floats) -> Floats:
    """Return a closed outline with points at most half a pixel apart (long edges: 1024 points)."""
    ahead = np.roll(outline, -1, axis=0)
    lengths = np.hypot(*(ahead - outline).T)
    counts = np.clip(np.ceil(lengths * _DENSITY), 1, _MOST_POINTS).astype(np.intp)
    start = np.repeat(np.cumsum(counts) - counts, counts)
    share = (np.arange(counts.sum()) - start) / np.repeat(counts, counts)
    begin, end = np.repeat(outline, counts, axis=0), np.repeat(ahead, counts, axis=0)
    dense: Floats = begin + share[:, np.newaxis] * (end - begin)
    return dense


def _corners(box: Floats) -> Floats:
    return np.array([(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])], np.float64)


def _mask_box(mask: Bools) -> Floats:
    """Return the outer edges of a mask's outermost pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])


def _area(outline: Floats) -> float:
    x, y = outline[:, 0], outline[:, 1]
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
