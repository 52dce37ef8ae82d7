"""Pictures for people: a camera image with its classes painted over it."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.inference.bundle import ClassSpec
from internimage_perception.inference.results import INVALID_ID

Image = npt.NDArray[np.uint8]


class OverlayPainter:
    """Paints masks over images with a bundle's colours.

    Args:
        classes: ids and colours.
        width: columns of the picture; images narrower than that keep their size.
        opacity: share of the class colour, 0 to 1.
    """

    def __init__(self, classes: Sequence[ClassSpec], width: int = 640, opacity: float = 0.5) -> None:
        table = np.zeros((256, 3), np.uint8)
        for spec in classes:
            table[spec.id] = spec.color
        self._tables = {"rgb": table, "bgr": np.ascontiguousarray(table[:, ::-1])}
        self._width = width
        self._opacity = opacity

    def paint(self, image: Image, class_ids: Image, channel_order: str = "rgb") -> Image:
        """Return the painted picture, uint8 (h, w, 3), in the channel order of `image`.

        Pixels where the lens sees nothing (255) are darkened without a colour.
        """
        height, width = image.shape[:2]
        if width > self._width:
            size = (self._width, max(1, round(height * self._width / width)))
            image = cv2.resize(image, size, interpolation=_shrink(width / self._width))  # type: ignore[assignment]
        size = (image.shape[1], image.shape[0])
        if class_ids.shape != image.shape[:2]:
            class_ids = cv2.resize(class_ids, size, interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
        colors = np.take(self._tables[channel_order], class_ids, axis=0)
        painted = cv2.addWeighted(image, 1 - self._opacity, colors, self._opacity, 0.0)
        return np.asarray(painted, np.uint8)


def _shrink(factor: float) -> int:
    # Area averaging costs several times more; only strong shrinking shows the difference.
    return cv2.INTER_AREA if factor >= 2 else cv2.INTER_LINEAR


def color_mask(class_ids: Image, classes: Sequence[ClassSpec]) -> Image:
    """Return the mask in its classes' colours, uint8 RGB (h, w, 3); black where the lens sees nothing."""
    table = np.zeros((256, 3), np.uint8)
    for spec in classes:
        table[spec.id] = spec.color
    table[INVALID_ID] = 0
    return np.asarray(table[class_ids], np.uint8)
