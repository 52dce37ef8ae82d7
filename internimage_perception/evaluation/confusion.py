"""Confusion matrices over pixels, and the intersection over union they give."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from internimage_perception.inference.results import INVALID_ID

Ids = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

# Blocks of this many pixels keep every intermediate array inside the second-level cache.
_BLOCK = 1 << 18


def count_pixels(
    truth: npt.NDArray[np.uint8],
    answers: npt.NDArray[np.uint8],
    num_classes: int,
    groups: npt.NDArray[np.uint8] | None = None,
    num_groups: int = 1,
) -> npt.NDArray[np.int64]:
    """Return how often each truth met each answer: int64 (num_groups, num_classes, num_classes + 1).

    The last column counts pixels that were given no class (255). Pixels whose truth is 255 are left out.

    Args:
        truth: uint8 ids of any shape, 0 to num_classes - 1, or 255 for unlabelled.
        answers: uint8 ids of the same shape, 0 to num_classes - 1, or 255 for no answer.
        num_classes: 1 to 255.
        groups: uint8 of the same shape, 0 to num_groups - 1: pixels are counted apart by group.
        num_groups: how many groups there are.

    Raises:
        ValueError: shapes that differ, an id that is no class, a group that does not exist.
    """
    arrays = [truth, answers] if groups is None else [truth, answers, groups]
    for array in arrays:
        if array.shape != truth.shape or array.dtype != np.uint8:
            raise ValueError(f"uint8 arrays of one shape are needed, got {array.dtype} {array.shape}")
    for name, ids in (("truth", truth), ("answers", answers)):
        if (unknown := unknown_id(ids, num_classes)) is not None:
            raise ValueError(f"{name} holds id {unknown}; the classes are 0 to {num_classes - 1}")
    if groups is not None and groups.size and int(groups.max()) >= num_groups:
        raise ValueError(f"group {int(groups.max())} of {num_groups}")
    side = num_classes + 1
    # 16 bits are faster where they suffice; 255 becomes the row and column behind the last class.
    small = num_groups * side * side <= 1 << 16
    kind = np.dtype(np.uint16 if small else np.uint32)
    flat = [array.reshape(-1) for array in arrays]
    total = np.zeros(num_groups * side * side, np.int64)
    for start in range(0, truth.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        code = np.minimum(flat[0][part], num_classes).astype(kind)
        if groups is not None:
            code += flat[2][part].astype(kind) * kind.type(side)
        code *= kind.type(side)
        code += np.minimum(flat[1][part], num_classes)
        total += np.bincount(code, minlength=total.size)
    return total.reshape(num_groups, side, side)[:, :num_classes]


def unknown_id(ids: npt.NDArray[np.uint8], num_classes: int) -> int | None:
    """Return an id that is neither a class (0 to num_classes - 1) nor 255, or None."""
    wrong = ids[(ids >= num_classes) & (ids != INVALID_ID)]
    return int(wrong[0]) if wrong.size else None


class ConfusionMatrix:
    """What pixels are against what they were called, over any number of images.

    Attributes:
        counts: int64 (classes, classes + 1): row = truth, column = answer; the last column is "no answer",
            which counts as a miss of the truth's class and as a false alarm of none.
    """

    def __init__(self, num_classes: int, counts: npt.NDArray[np.int64] | None = None) -> None:
        if not 1 <= num_classes <= INVALID_ID:
            raise ValueError(f"num_classes is {num_classes}; it must be 1 to {INVALID_ID}")
        shape = (num_classes, num_classes + 1)
        self.counts: Counts = np.zeros(shape, np.int64) if counts is None else np.array(counts, np.int64)
        if self.counts.shape != shape:
            raise ValueError(f"counts must have the shape {shape}, got {self.counts.shape}")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.counts.shape[0])

    @property
    def pixels(self) -> int:
        """Number of pixels counted."""
        return int(self.counts.sum())

    def add(self, truth: npt.NDArray[np.uint8], answers: npt.NDArray[np.uint8]) -> None:
        """Count an image's pixels, see `count_pixels`; those whose truth is 255 are left out."""
        self.counts += count_pixels(truth, answers, self.num_classes)[0]

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        return ConfusionMatrix(self.num_classes, self.counts + other.counts)

    def iou(self) -> npt.NDArray[np.float64]:
        """Return TP / (TP + FP + FN) per class; NaN for a class in neither truth nor answers."""
        hits = np.diagonal(self.counts)
        return _ratio(hits, self.truth_pixels() + self.answered_pixels() - hits)

    def recall(self) -> npt.NDArray[np.float64]:
        """Return TP / (TP + FN) per class; NaN for a class that the truth lacks."""
        return _ratio(np.diagonal(self.counts), self.truth_pixels())

    def precision(self) -> npt.NDArray[np.float64]:
        """Return TP / (TP + FP) per class; NaN for a class that was never answered."""
        return _ratio(np.diagonal(self.counts), self.answered_pixels())

    def truth_pixels(self) -> npt.NDArray[np.int64]:
        """Return the pixels that are of each class."""
        return np.asarray(self.counts.sum(axis=1), np.int64)

    def answered_pixels(self) -> npt.NDArray[np.int64]:
        """Return the pixels that were called each class."""
        return np.asarray(self.counts[:, :-1].sum(axis=0), np.int64)

    def accuracy(self) -> float:
        """Return the share of pixels given their right class; NaN without pixels."""
        return float(np.trace(self.counts)) / self.pixels if self.pixels else float("nan")

    def miou(self, classes: Sequence[int] | None = None) -> float:
        """Return the mean IoU of `classes` (None: all), NaN ones left out; NaN when none is left."""
        values = self.iou() if classes is None else self.iou()[list(classes)]
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size else float("nan")


def _ratio(part: Counts, whole: Counts) -> npt.NDArray[np.float64]:
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
