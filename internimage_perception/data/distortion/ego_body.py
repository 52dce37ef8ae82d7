"""The own vehicle's body in frames of one camera: still, at the lower rim, bounded by edges that stay."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.distortion.polar_outline import PolarGrid, Radii, best_outline
from internimage_perception.data.distortion.still_structure import StillStructure, blurred, still_structure
from internimage_perception.data.sample import Bools, Bytes

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_STANDING = 0.25
"""How constant the edges of the upper half are, from which the scene itself stays: in generated streets
0.18 at most where the car drives, and 0.34 at least where it stands."""
_ABOVE_DEG = 12.0
"""How far above the horizontal through the lens's middle the body may reach."""
_NEAR_RIM, _FAR_FROM_RIM, _LOW = 0.06, 0.15, 0.1
"""Shares of the height: a band where a body would be, a part where there would be none, below the middle."""
_BODY_CHANGE, _SCENE_CHANGE = 35.0, 40.0
"""Percentiles of change in the band, and of usual change in the part without."""
_LEAST_GAP, _WHERE = 0.5, 0.4
"""Of the logarithms of both changes; which share of the gap below the scene's change still is even."""
_CLIP = 1.2
_THIN = 7
"""Pixels around an edge in which it has to be the strongest."""
_FIRM = 0.75
"""Evidence of an edge that makes the outline free of cost."""
_CROSSING, _STEPPING, _AREA = 4.0, 2.0, 0.15
"""Costs per pixel of outline without edge around the middle and along the radius; worth of a still pixel."""
_MOST_WORTH, _FURTHER = 0.7, 0.1
"""What the area behind a pixel of outline is worth at most, of `_CROSSING`, and which share of more counts:
no area, however still, makes up for an outline that has no edge."""
_LEAST_EDGE, _LEAST_IN_ALL = 0.6, 0.45
"""Mean evidence of edges along a stretch of outline: around the middle, and with its steps."""
_MOST_BARE = 0.45
"""Length of steps for which no edge speaks, of the length around the middle."""
_LEAST_STILL = 0.3
"""Mean of `_Evidence.still` behind a stretch; beside it, the scene has to be less still."""
_LEAST_LENGTH = 0.1
"""Of the image's height."""
_BESIDE = (3, 12)
"""Cells inside the outline, from and to, that show the scene beside the body."""


class EgoBody(NamedTuple):
    """What was found.

    Attributes:
        mask: bool (height, width).
        reason: why nothing was found, for people; empty where something was.
    """

    mask: Bools
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Cells (directions, radii) of a polar grid.

    Attributes:
        still: from -1.2 (as the scene changes) to 1.2 (as a body does), 0 where nothing is seen.
        around, outward: how surely an edge that stays runs around the middle, or along the radius.
    """

    still: Floats
    around: Floats
    outward: Floats


def find_ego_body(frames: list[Bytes], outside: Bools) -> EgoBody:
    """Find the own vehicle's body.

    It is bounded by an outline around the lens's middle, from the rim of the lower half and back to it, along
    edges that stay in all frames, around what changes less than the scene. Of the best such outline, those
    stretches are kept whose edges and whose stillness leave little doubt: where road and body look alike,
    part of a body stays unfound.

    Args:
        frames: uint8 (height, width, 3) from different places, of one size, at most some hundred pixels wide.
        outside: pixels outside the lens, bool (height, width).
    """
    nothing = np.zeros_like(outside)
    if not (~outside).any():
        return EgoBody(nothing, "the frames are dark")
    structure = still_structure(frames, outside)
    grid = PolarGrid.around(~outside)
    below = np.abs(grid.angles - np.pi) < np.pi / 2.0 + np.radians(_ABOVE_DEG)
    if _scene_constancy(structure, grid, below, len(frames)) > _STANDING:
        return EgoBody(nothing, "the scene is the same in most frames, as if the car stood still")
    still = _stillness(structure, grid)
    if still is None:
        return EgoBody(nothing, "the lens shows too little of the lower half")
    evidence = _evidence(structure, grid, still)
    outline = _outline(evidence, grid, below)
    kept = np.zeros(len(outline), np.bool_)
    for first, end in _stretches(_depths(outline, grid) > 0):
        kept[first:end] = _is_body(outline[first:end], slice(first, end), evidence, grid)
    if not kept.any():
        return EgoBody(nothing, "nothing at the lower rim is still and bounded by edges that stay")
    return EgoBody(grid.filled(outline, kept))


def _scene_constancy(structure: StillStructure, grid: PolarGrid, below: Bools, count: int) -> float:
    """Return how constant edges are above the body, each weighted with its contrast; 0 where there are none.

    It is the mean squared coherence, less what independent directions have by chance in `count` frames.
    """
    above = grid.filled(np.zeros(len(below), np.intp), ~below) & structure.inside
    contrast = structure.contrast[above].astype(np.float64)
    total = max(float(contrast.sum()), 1e-9)
    squared = float((contrast * np.square(structure.coherence[above])).sum()) / total
    return (count * squared - 1.0) / max(count - 1, 1)


def _stillness(structure: StillStructure, grid: PolarGrid) -> Singles | None:
    """Return `_Evidence.still` of each pixel, None where there is nothing to compare."""
    seen, inside = grid.seen, structure.inside
    height = len(seen)
    padded = np.pad(seen.astype(np.uint8), 1)
    distance = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5), np.float32)[1:-1, 1:-1]
    low = np.zeros_like(seen)
    low[int(grid.middle[1] + _LOW * height) :] = True
    band = inside & low & (distance < _NEAR_RIM * height)
    away = inside & low & (distance > _FAR_FROM_RIM * height)
    if not (band.any() and away.any()):
        return None
    scene = float(np.percentile(structure.usual_change[away], _SCENE_CHANGE))
    body = float(np.percentile(structure.change[band], _BODY_CHANGE))
    unit = _WHERE * max(scene - body, _LEAST_GAP)
    still = np.clip((scene - unit - structure.change) / unit, -_CLIP, _CLIP)
    return np.where(seen, still, 0.0).astype(np.float32)


def _evidence(structure: StillStructure, grid: PolarGrid, still: Singles) -> _Evidence:
    contrast = blurred(structure.contrast, 0.7)
    disc = np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_THIN, _THIN)), np.uint8)
    strongest = np.maximum(np.asarray(cv2.dilate(contrast, disc), np.float32), np.float32(1e-6))
    cosine, sine = grid.sampled(structure.cosine), grid.sampled(structure.sine)
    coherence = np.hypot(cosine, sine)
    # Twice the angle of the outward direction (sin, -cos): the gradient of an edge around the middle has it.
    twice = 2.0 * grid.angles[:, np.newaxis]
    agreement = -(cosine * np.cos(twice) + sine * np.sin(twice)) / np.maximum(coherence, 1e-6)
    firm = coherence * grid.sampled(np.asarray(contrast / strongest, np.float32))
    # An edge at 45 degrees counts for both.
    around, outward = (firm * np.clip(1.0 + sign * 1.5 * agreement, -1.0, 1.0) for sign in (1.0, -1.0))
    return _Evidence(grid.sampled(still), around, outward)


def _outline(evidence: _Evidence, grid: PolarGrid, below: Bools) -> Radii:
    widths, cells = grid.widths, grid.cells
    missing = [np.clip(1.0 - edge / _FIRM, 0.0, 1.5) * cells for edge in (evidence.around, evidence.outward)]
    worth = _AREA * grid.depth * widths * evidence.still * cells
    behind = np.cumsum(worth[:, ::-1], axis=1)[:, ::-1]
    most = _MOST_WORTH * _CROSSING * widths
    behind = np.minimum(behind, most + _FURTHER * np.maximum(behind - most, 0.0))
    return best_outline(behind, _CROSSING * widths * missing[0], _STEPPING * grid.depth * missing[1], below)


def _depths(outline: Radii, grid: PolarGrid) -> Radii:
    """Return how many cells that the lens shows lie behind the outline, per direction."""
    behind = np.arange(grid.radii) >= outline[:, np.newaxis]
    return np.asarray(np.count_nonzero(grid.cells & behind, axis=1), np.intp)


def _stretches(body: Bools) -> list[tuple[int, int]]:
    """Return begin and end of each run of directions with body."""
    change = np.flatnonzero(np.diff(np.concatenate([[False], body, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in change.reshape(-1, 2)]


def _is_body(outline: Radii, rows: slice, evidence: _Evidence, grid: PolarGrid) -> bool:
    """Return whether a stretch of the outline has an edge nearly everywhere, and what it bounds is still."""
    cells, still = grid.cells[rows], evidence.still[rows]
    each, radius = np.arange(len(outline)), np.arange(grid.radii)
    widths = grid.widths[outline] * cells[each, outline]
    length = float(widths.sum())
    if length < _LEAST_LENGTH * len(grid.seen):
        return False
    around = float((evidence.around[rows][each, outline] * widths).sum())
    # Steps from the rim and back to it, and between neighbours, each in the later row.
    ends = np.concatenate([[grid.radii], outline, [grid.radii]])
    near, far = np.minimum(ends[:-1], ends[1:]), np.maximum(ends[:-1], ends[1:])
    later = np.append(each, each[-1])
    stepped = (radius >= near[:, np.newaxis]) & (radius < far[:, np.newaxis]) & cells[later]
    steps = float(stepped.sum()) * grid.depth
    outward = float(evidence.outward[rows][later][stepped].sum()) * grid.depth
    if around < _LEAST_EDGE * length or around + outward < _LEAST_IN_ALL * (length + steps):
        return False
    if steps - outward > _MOST_BARE * length:
        return False
    away = radius - outline[:, np.newaxis]
    body = still[(away > 0) & cells]
    beside = still[(away < -_BESIDE[0]) & (away >= -_BESIDE[1]) & cells]
    stillness = float(body.mean()) if body.size else 0.0
    return stillness >= _LEAST_STILL and (not beside.size or float(beside.mean()) <= stillness)
