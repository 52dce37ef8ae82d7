"""What stays and what changes in frames that one camera took at different places.

Light passes over the car, clouds pass over the road: grey values of both change. So edges are compared by
direction, whatever their contrast (structure tensors, each normalised, then averaged: J. Bigun, G. Granlund,
*Optimal orientation detection of linear symmetry*, ICCV 1987), and change is that of the slopes of
logarithms, which a change of exposure or shade leaves as they are.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.sample import Bools, Bytes

Singles = npt.NDArray[np.float32]

_BLUR = 1.0
_POOL = 1.5
_EDGE = 2.0
"""Slope, grey values per pixel, that has half of an edge's weight: sensor noise stays below."""
_DARK = 16.0
"""Added to grey values before logarithms and ratios: in the dark there is noise, not contrast."""
_NOISE = 0.025
"""Share of the variance of finest detail that noise leaves in the slopes of blurred frames."""
_LEAST_CHANGE = 0.001
_STAYS = (0.4, 0.8)
"""Coherence from which change along an edge that stays begins to count, and from which it alone does."""
_MEDIAN_OF_SQUARES = np.float32(0.4549)
_MEDIAN_OF_PAIRS = np.float32(2.0 * np.log(2.0))
"""Medians of squares of one and sums of squares of two normal numbers, of variance 1."""


@dataclass(frozen=True, eq=False)
class StillStructure:
    """Edges that stay, and how much the image changes at every place; float32 (height, width) each.

    Attributes:
        cosine: of twice the angle of the gradient (from +u towards +v), averaged over the frames.
        sine: of the same. The vector of both is as long as the edge is constant: 1 where each frame has an
            edge in the same direction, near 0 where there is none, or another one in each frame.
        contrast: of edges, of the mean grey value, averaged over the frames.
        change: logarithm of the standard deviation of slopes of the logarithm, over the frames; noise is
            taken out. Where an edge stays, that along the edge: a shadow or a reflection at it is no change.
        usual_change: the same from medians, on which what passes in few frames has no part.
        inside: bool, where no pixel outside the lens has a part in these values.
    """

    cosine: Singles
    sine: Singles
    contrast: Singles
    change: Singles
    usual_change: Singles
    inside: Bools

    @property
    def coherence(self) -> Singles:
        """How constant an edge is, 0 to 1."""
        return np.where(self.inside, np.hypot(self.cosine, self.sine), np.float32(0.0))


def still_structure(frames: list[Bytes], outside: Bools) -> StillStructure:
    """Compare frames.

    Args:
        frames: uint8 (height, width, 3), of one size.
        outside: pixels outside the lens, bool (height, width).
    """
    inside = _eroded(~outside, 5)
    size = (len(frames), *outside.shape)
    total = np.zeros((3, *outside.shape), np.float32)
    slopes, detail = np.empty((2, *size), np.float32), np.empty(size, np.float32)
    for number, frame in enumerate(frames):
        image = frame.astype(np.float32)
        smooth = _within(image, inside, _BLUR)
        across, down = _slope(smooth, 1, 0), _slope(smooth, 0, 1)
        uu, vv, uv = ((a * b).sum(axis=-1) for a, b in ((across, across), (down, down), (across, down)))
        light = smooth.mean(axis=-1) + np.float32(_DARK)
        total[:2] += np.stack([uu - vv, 2.0 * uv]) / (uu + vv + np.float32(_EDGE**2))
        total[2] += np.sqrt(uu + vv) / light
        logarithm = np.log(light)
        slopes[:, number] = _slope(logarithm, 1, 0), _slope(logarithm, 0, 1)
        detail[number] = (image.mean(axis=-1) + np.float32(_DARK)) / light - 1.0
    total /= np.float32(len(frames))
    slopes -= np.stack([_median(part) for part in slopes])[:, np.newaxis]
    detail -= _median(detail)
    coherence = np.where(inside, np.hypot(total[0], total[1]), np.float32(0.0))
    change, usual = _change(slopes, detail, coherence, _eroded(inside, 3))
    return StillStructure(total[0], total[1], total[2], change, usual, inside)


def _change(slopes: Singles, detail: Singles, coherence: Singles, inside: Bools) -> tuple[Singles, Singles]:
    """Return `change` and `usual_change` of slopes (2, frames, height, width), less their medians."""
    across, down = slopes
    uu, vv, uv = (
        _within(np.mean(a * b, axis=0), inside, _POOL)
        for a, b in ((across, across), (down, down), (across, down))
    )
    near = cv2.dilate(coherence, np.ones((5, 5), np.uint8))
    begin, end = _STAYS
    weight = np.clip((blurred(np.asarray(near, np.float32), 1.0) - begin) / (end - begin), 0.0, 1.0)
    variance = (uu + vv) / 2.0 - weight * np.hypot((uu - vv) / 2.0, uv)
    noise = _within(np.mean(np.square(detail), axis=0), inside, _POOL)
    usual = _within(_median(np.square(across) + np.square(down)), inside, _POOL) / _MEDIAN_OF_PAIRS
    usual_noise = _within(_median(np.square(detail)), inside, _POOL) / _MEDIAN_OF_SQUARES
    return _log_deviation(variance, noise), _log_deviation(usual, usual_noise)


def _log_deviation(variance: Singles, noise: Singles) -> Singles:
    own = np.maximum(variance - np.float32(_NOISE) * noise, np.float32(_LEAST_CHANGE**2))
    return np.asarray(0.5 * np.log(own), np.float32)


def _within(image: Singles, inside: Bools, sigma: float) -> Singles:
    """Return a blurred image whose pixels outside have no weight."""
    mask = inside.astype(np.float32)
    weight = np.maximum(blurred(mask, sigma), np.float32(1e-3))
    if image.ndim == 3:
        mask, weight = mask[..., np.newaxis], weight[..., np.newaxis]
    return np.asarray(blurred(image * mask, sigma) / weight, np.float32)


def _median(frames: Singles) -> Singles:
    return np.asarray(np.median(frames, axis=0), np.float32)


def blurred(image: Singles, sigma: float) -> Singles:
    """Return an image after a Gaussian blur, `sigma` in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _slope(image: Singles, across: int, down: int) -> Singles:
    """Return the derivative per pixel (Scharr)."""
    return np.asarray(cv2.Scharr(image, cv2.CV_32F, across, down), np.float32) / np.float32(32.0)


def _eroded(mask: Bools, size: int) -> Bools:
    """Return a mask without what is near its edge; the image's border is none."""
    kernel = np.ones((size, size), np.uint8)
    less = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1.0)
    return np.asarray(less, np.uint8).astype(np.bool_)
