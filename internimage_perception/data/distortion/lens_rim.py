"""Where a camera's lens ends: what stays dark in all frames, bounded by a circle where one fits."""

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.distortion.mask_shapes import border, morphed, touching
from internimage_perception.data.sample import Bools

_DARK = 20.0
_LEAST_RIM = 0.005
_TRIALS = 400
_NEAR = 0.012
_AGREE = 0.5


def outside_lens(grey: npt.NDArray[np.float32]) -> Bools:
    """Return what lies outside the rim, bool (height, width); nothing where there is no rim.

    The rim is what stays dark in every frame and touches the image's border. A circle is fitted to its inner
    edge (random sample consensus), so that glare on the rim does not bite into it; where none fits, the dark
    itself is returned.

    Args:
        grey: the frames, 0 to 255, (frames, height, width).
    """
    bright = np.percentile(grey, 90.0, axis=0)
    dark = touching(bright < _DARK, border(bright.shape))
    dark = morphed(dark, cv2.MORPH_OPEN, 5)
    if dark.mean() < _LEAST_RIM:
        return np.zeros_like(dark)
    inner = morphed(~dark, cv2.MORPH_ERODE, 3)
    edge = ~dark & ~inner & ~border(dark.shape)
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
