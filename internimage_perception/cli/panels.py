"""Pictures for people made of panels: fitted, labelled, side by side under titles, written as JPEG."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.errors import ImageError
from internimage_perception.files import write_bytes

Image = npt.NDArray[np.uint8]

GAP = 6
"""Pixels between panels."""
PAPER, INK = (255, 255, 255), (30, 30, 30)

_HEAD = 30
_FONT, _TEXT = cv2.FONT_HERSHEY_SIMPLEX, 0.55
_JPEG_QUALITY = 90


def blank(height: int, width: int) -> Image:
    """Return white paper, uint8 RGB (height, width, 3)."""
    return np.full((height, width, 3), PAPER, np.uint8)


def fitted(image: Image, width: int, *, nearest: bool = False) -> Image:
    """Return a copy that is `width` wide. With `nearest`, and in small pictures, colours are not mixed."""
    size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
    how = cv2.INTER_NEAREST if nearest or image.shape[1] <= width else cv2.INTER_AREA
    return np.array(cv2.resize(image, size, interpolation=how), np.uint8)


def write(image: Image, text: str, at: tuple[int, int], color: tuple[int, int, int] = INK) -> None:
    """Write a line of text into a picture; `at` is where its first letter stands, (column, row)."""
    cv2.putText(image, text, at, _FONT, _TEXT, color, 1, cv2.LINE_AA)


def text_width(text: str) -> int:
    """Return the columns that `write` takes."""
    return cv2.getTextSize(text, _FONT, _TEXT, 1)[0][0]


def label(panel: Image, text: str) -> None:
    """Write a name into the upper left corner of a panel, light on dark."""
    cv2.rectangle(panel, (0, 0), (text_width(text) + 16, 28), INK, cv2.FILLED)
    write(panel, text, (8, 20), PAPER)


def titled(titles: Sequence[str], width: int) -> Image:
    """Return the row of titles over columns of panels that are `width` wide."""
    head = blank(_HEAD, len(titles) * (width + GAP) - GAP)
    for number, title in enumerate(titles):
        write(head, title, (number * (width + GAP) + 8, 21))
    return head


def joined(panels: Sequence[Image]) -> Image:
    """Return panels of one width side by side on white, with a gap below."""
    height, width = max(panel.shape[0] for panel in panels), panels[0].shape[1]
    row = blank(height + GAP, len(panels) * (width + GAP) - GAP)
    for number, panel in enumerate(panels):
        row[: panel.shape[0], number * (width + GAP) :][:, :width] = panel
    return row


def write_jpeg(path: Path, picture: Image) -> None:
    """Write an RGB picture. Raises ImageError when it cannot be encoded."""
    good, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not good:
        raise ImageError(f"{path}: a picture of {picture.shape[1]}x{picture.shape[0]} cannot be encoded")
    write_bytes(path, data.tobytes())
