"""`crop`: a window of one size out of pictures of any size."""

from dataclasses import dataclass

import cv2
import numpy as np

from internimage_perception.data.sample import IGNORED, Bytes
from internimage_perception.training.pipeline.checks import check_colour, check_number, check_size
from internimage_perception.training.pipeline.placement import MEAN_COLOUR, Placement, PlaceOperation

Rng = np.random.Generator
Corner = tuple[int, int]

_TRIES = 10
# Classes of a window are counted at about as many pixels.
_COUNTED = 1 << 14
# A pixel that a window is centred on lies within this share of it.
_CENTRAL = 0.8


@dataclass(frozen=True, kw_only=True)
class Crop(PlaceOperation):
    """Takes a window drawn by lot; smaller pictures are filled up on the right and below.

    As mmsegmentation's RandomCrop: up to ten windows are drawn until no class has more than `max_class_share`
    of the labelled pixels; the last one is taken in any case.

    Attributes:
        size: columns and rows of the window.
        max_class_share: largest share of one class; 1: any window will do.
        centre_class: probability of a window around a class, drawn by lot among those in the picture however
            small: one of its pixels lies in the middle 80 % of the window, where the picture allows it.
        fill: colour beyond the picture, (r, g, b).

    Raises:
        ConfigError: a value out of range.
    """

    size: tuple[int, int]
    max_class_share: float = 1.0
    centre_class: float = 0.0
    fill: tuple[int, int, int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        check_size("size", self.size)
        check_number("max_class_share", self.max_class_share, 0.01, 1.0)
        check_number("centre_class", self.centre_class, 0.0, 1.0)
        check_colour("fill", self.fill)

    def place(self, placement: Placement, rng: Rng) -> Placement:
        """See `PlaceOperation`."""
        labels = placement.source.labels
        around = None
        if self.centre_class and rng.random() < self.centre_class and labels is not None:
            around = self._around_class(placement, labels, rng)
        x, y = around or self._varied(placement, rng, tries=labels is not None and self.max_class_share < 1.0)
        return placement.window(x, y, self.size[0], self.size[1], self.fill)

    def _varied(self, placement: Placement, rng: Rng, *, tries: bool) -> Corner:
        x, y = self._anywhere(placement, rng)
        for _ in range(_TRIES if tries else 0):
            if self._mixed(placement, x, y):
                break
            x, y = self._anywhere(placement, rng)
        return x, y

    def _anywhere(self, placement: Placement, rng: Rng) -> Corner:
        x = int(rng.integers(max(placement.width - self.size[0], 0) + 1))
        y = int(rng.integers(max(placement.height - self.size[1], 0) + 1))
        return x, y

    def _mixed(self, placement: Placement, x: int, y: int) -> bool:
        """Whether no class takes too much of a window; as officially, a single class always does."""
        width, height = self.size
        step = max(1, int((width * height / _COUNTED) ** 0.5))
        counts = _histogram(placement.labels_in(x, y, width, height, step))
        return bool(counts.max() < self.max_class_share * counts.sum())

    def _around_class(self, placement: Placement, labels: Bytes, rng: Rng) -> Corner | None:
        present = np.flatnonzero(_histogram(labels))
        if not present.size:
            return None
        chosen = int(present[int(rng.integers(present.size))])
        pixels = np.flatnonzero(labels.reshape(-1) == chosen)
        row, column = divmod(int(pixels[int(rng.integers(pixels.size))]), labels.shape[1])
        corner = []
        for place, length, side in zip(
            placement.carried(column, row), self.size, (placement.width, placement.height), strict=True
        ):
            middle = place + float(rng.uniform(-0.5, 0.5)) * _CENTRAL * length
            corner.append(min(max(round(middle - length / 2), 0), max(side - length, 0)))
        return corner[0], corner[1]


def _histogram(labels: Bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return how often each class id occurs, but for `IGNORED`."""
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256])
    return np.asarray(counts, np.float32).reshape(-1)[:IGNORED]
