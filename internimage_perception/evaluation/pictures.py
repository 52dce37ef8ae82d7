"""Pictures for people: an image, its truth and its mask side by side."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.errors import ImageError
from internimage_perception.evaluation.segmentation import nearest
from internimage_perception.inference.bundle import ClassSpec
from internimage_perception.inference.overlay import color_mask

_GAP = 4
_PAPER = 255
_JPEG_QUALITY = 88


def side_by_side(
    image: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.uint8],
    class_ids: npt.NDArray[np.uint8],
    classes: Sequence[ClassSpec],
    width: int = 420,
) -> bytes:
    """Return a JPEG of three panels: image, truth, mask; ids in their classes' colours, 255 black.

    Args:
        image: uint8 RGB (h, w, 3).
        truth: uint8 ids of any size, covering the whole image.
        class_ids: likewise.
        classes: colours.
        width: columns of a panel.

    Raises:
        ImageError: the picture cannot be encoded.
    """
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    how = cv2.INTER_AREA if image.shape[1] > width else cv2.INTER_NEAREST
    gap = np.full((height, _GAP, 3), _PAPER, np.uint8)
    panels = [
        np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8),
        gap,
        color_mask(nearest(truth, width, height), classes),
        gap,
        color_mask(nearest(class_ids, width, height), classes),
    ]
    picture = cv2.cvtColor(np.concatenate(panels, axis=1), cv2.COLOR_RGB2BGR)
    good, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not good:
        raise ImageError("a picture of the report cannot be encoded as JPEG")
    return data.tobytes()
