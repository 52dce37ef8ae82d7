"""Where a camera's lens ends and the own vehicle begins, found in several frames of one drive.

The rim is what stays dark in every frame and touches the image's border; a circle is fitted to its inner edge
(random sample consensus), so that glare on the rim does not bite into it. The own vehicle is what changes
little from frame to frame, touches the border or the rim in the lower half of the image, and is bounded by
edges that stay where they are: asphalt and sky change little too, but no edge stays at their end.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.sample import Bools, Bytes, Regions

MIN_FRAMES = 5
"""Frames that are needed: what moves must have moved."""

_Singles = npt.NDArray[np.float32]
_WIDTH = 480
_DARK = 20.0
_LEAST_RIM = 0.005
_TRIALS = 400
_NEAR = 0.012
_AGREE = 0.5
_STILL = 0.35
_EDGE_STAYS = 0.6
_EDGE_LEAST = 0.12
_EDGE_SHARE = 0.6
_LEAST_BODY = 0.01


def find_regions(frames: Sequence[Bytes]) -> Regions:
    """Return the rim of the lens and the own vehicle's body, as they are in all of the frames.

    Args:
        frames: uint8 RGB (height, width, 3) of one size and one camera, at least `MIN_FRAMES`, from places
            and times as different as can be: a car that stands still has a still scene.

    Raises:
        ValueError: too few frames, or of several sizes.
    """
    if len(frames) < MIN_FRAMES or len({frame.shape for frame in frames}) > 1:
        message = f"{len(frames)} frames; it takes {MIN_FRAMES} or more, all of one size"
        raise ValueError(message)
    height, width = frames[0].shape[:2]
    scale = min(1.0, _WIDTH / width)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = np.stack([_grey(frame, small) for frame in frames])
    outside = _outside_lens(grey)
    ego = _ego_body(grey, outside)
    masks = [_enlarged(mask, width, height) for mask in (outside, ego)]
    return Regions(masks[0], masks[1] & ~masks[0], np.zeros_like(masks[0]))


def _grey(frame: Bytes, size: tuple[int, int]) -> _Singles:
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)


def _enlarged(mask: Bools, width: int, height: int) -> Bools:
    full = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.float32) >= 0.5


def _outside_lens(grey: _Singles) -> Bools:
    """Return what lies outside the rim: of a fitted circle where there is one, else what is dark."""
    bright = np.percentile(grey, 90.0, axis=0)
    dark = _touching(bright < _DARK, _border(bright.shape))
    dark = _morphed(dark, cv2.MORPH_OPEN, 5)
    if dark.mean() < _LEAST_RIM:
        return np.zeros_like(dark)
    inner = _morphed(~dark, cv2.MORPH_ERODE, 3)
    edge = ~dark & ~inner & ~_border(dark.shape)
    rows, columns = np.nonzero(edge)
    circle = _circle(np.stack([columns, rows], axis=1).astype(np.float64))
    if circle is None:
        return dark
    x, y, radius = circle
    v, u = np.mgrid[: dark.shape[0], : dark.shape[1]]
    outside: Bools = np.hypot(u - x, v - y) > radius
    return outside


def _circle(points: npt.NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return centre and radius of the circle that at least half of the points lie on, or None."""
    if len(points) < 30:
        return None
    rng = np.random.default_rng(0)
    best, count = np.zeros(len(points), np.bool_), 0
    for _ in range(_TRIALS):
        found = _fitted(points[rng.choice(len(points), 3, replace=False)])
        if found is None:
            continue
        near = (
            np.abs(np.hypot(points[:, 0] - found[0], points[:, 1] - found[1]) - found[2]) < _NEAR * found[2]
        )
        if (agree := int(near.sum())) > count:
            best, count = near, agree
    return _fitted(points[best]) if count >= _AGREE * len(points) else None


def _fitted(points: npt.NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return the least-squares circle through three or more points (Kasa), None where they are in line."""
    middle = points.mean(axis=0)
    own = points - middle
    system = np.column_stack([own, np.ones(len(own))])
    solution, _, rank, _ = np.linalg.lstsq(system, np.square(own).sum(axis=1), rcond=1e-9)
    if rank < 3:
        return None
    x, y = solution[:2] / 2.0
    radius = float(np.sqrt(max(solution[2] + x * x + y * y, 0.0)))
    return float(x + middle[0]), float(y + middle[1]), radius


def _ego_body(grey: _Singles, outside: Bools) -> Bools:
    """Return what is still, begins at the border or rim of the lower half, and ends at edges that stay."""
    seen = ~outside
    if not seen.any():
        return outside
    soft = np.stack([np.asarray(cv2.GaussianBlur(frame, (0, 0), 1.5), np.float32) for frame in grey])
    # Logarithms, each frame less what it is brighter as a whole: exposure follows the scene.
    soft = np.log(soft + np.float32(_DARK))
    soft -= np.median((soft - np.median(soft, axis=0))[:, seen], axis=1)[:, np.newaxis, np.newaxis]
    spread = np.percentile(soft, 85.0, axis=0) - np.percentile(soft, 15.0, axis=0)
    still = seen & (spread < _STILL * float(np.percentile(spread[seen], 75.0)))
    ends = _border(outside.shape) | _morphed(outside, cv2.MORPH_DILATE, 9)
    ends[: outside.shape[0] // 2] = False
    gradients = np.stack([np.stack([_slope(frame, 1, 0), _slope(frame, 0, 1)]) for frame in soft])
    # The median: an edge that is there in most frames.
    stays = np.hypot(*np.median(gradients, axis=0))
    firm = stays > _EDGE_STAYS * np.hypot(gradients[:, 0], gradients[:, 1]).mean(axis=0)
    # The body ends at an edge that stays, even where the asphalt behind it is as still.
    lines = firm & (stays > _EDGE_LEAST)
    still = _morphed(_morphed(still & ~lines, cv2.MORPH_OPEN, 5), cv2.MORPH_CLOSE, 3) & seen & ~lines
    ego = np.zeros_like(outside)
    _, numbers = cv2.connectedComponents(still.astype(np.uint8), connectivity=4)
    for number in range(1, int(numbers.max()) + 1):
        part = np.asarray(numbers == number, np.bool_)
        if part.mean() < _LEAST_BODY or not (part & ends).any():
            continue
        # Its edge against the scene, not that against the rim.
        edge = _morphed(part, cv2.MORPH_DILATE, 7) & ~_morphed(part, cv2.MORPH_ERODE, 3)
        edge &= ~_morphed(outside | _border(outside.shape), cv2.MORPH_DILATE, 9)
        if edge.any() and float(firm[edge].mean()) > _EDGE_SHARE:
            ego |= part
    ego |= lines & _morphed(ego, cv2.MORPH_DILATE, 7) & ~_morphed(~ego & ~lines, cv2.MORPH_DILATE, 3)
    ego = _morphed(ego, cv2.MORPH_CLOSE, 9)
    return _filled(ego) & seen


def _slope(frame: _Singles, across: int, down: int) -> _Singles:
    return np.asarray(cv2.Sobel(frame, cv2.CV_32F, across, down), np.float32)


def _morphed(mask: Bools, how: int, size: int) -> Bools:
    kernel = np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), how, kernel), np.uint8).astype(np.bool_)


def _border(shape: tuple[int, ...]) -> Bools:
    border = np.zeros(shape, np.bool_)
    border[0], border[-1], border[:, 0], border[:, -1] = True, True, True, True
    return border


def _touching(mask: Bools, other: Bools) -> Bools:
    """Return the connected parts of a mask that touch another one."""
    _, numbers = cv2.connectedComponents(mask.astype(np.uint8))
    wanted = np.unique(numbers[mask & other])
    return np.asarray(np.isin(numbers, wanted[wanted > 0]), np.bool_)


def _filled(mask: Bools) -> Bools:
    """Return a mask without the holes inside it."""
    padded = np.pad(~mask, 1, constant_values=True)
    return _plain(mask | ~_touching(padded, _border(padded.shape))[1:-1, 1:-1])


def _plain(mask: npt.NDArray[np.generic]) -> Bools:
    return np.asarray(mask, np.bool_)
