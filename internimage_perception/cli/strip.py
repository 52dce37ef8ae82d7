"""A picture of a replay for people: images, masks and, where it is known, the truth, side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.cli.replayed import Replayed, ReplayedMask
from internimage_perception.errors import PerceptionError
from internimage_perception.evaluation.truth import TruthFolder, read_truth
from internimage_perception.files import write_bytes
from internimage_perception.inference.bundle import ClassSpec
from internimage_perception.inference.overlay import OverlayPainter

Image = npt.NDArray[np.uint8]

_WIDTH = 480
_GAP = 6
_HEAD = 30
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_FONT, _TEXT = cv2.FONT_HERSHEY_SIMPLEX, 0.55
_SWATCH, _LINE = 18, 28


def write_strip(
    path: Path,
    replayed: Replayed,
    classes: Sequence[ClassSpec],
    *,
    truth: TruthFolder | None = None,
    moments: int = 1,
) -> bool:
    """Write a JPEG: a row per moment and camera with image, mask and truth, and the classes' colours below.

    Masks and truth are painted half transparent over the image; where there is no class (outside the lens,
    on the own car) it is dark.

    Args:
        path: the JPEG.
        replayed: what is shown.
        classes: names and colours, in the order of their ids.
        truth: labelled images; None leaves their column out.
        moments: how many of each camera's masks to show, evenly spread.

    Returns:
        Whether there was anything to show.

    Raises:
        PerceptionError: a truth file does not fit, or the picture cannot be written.
    """
    titles = ["image", "mask", *(["truth"] if truth is not None else [])]
    rows = list(_rows(replayed, classes, truth, moments))
    if not rows:
        return False
    width = len(titles) * (_WIDTH + _GAP) - _GAP
    strip = np.concatenate([_head(titles), *rows, _legend(classes, width)])
    done, data = cv2.imencode(".jpg", strip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise PerceptionError(f"{path}: the picture strip cannot be encoded")
    write_bytes(path, data.tobytes())
    return True


def _rows(
    replayed: Replayed, classes: Sequence[ClassSpec], truth: TruthFolder | None, moments: int
) -> Iterator[Image]:
    painter = OverlayPainter(classes, width=_WIDTH)
    chosen = {source.name: list(_chosen(replayed, source.name, moments)) for source in replayed.sources}
    start_ns = next((mask.stamp_ns for mask in replayed.masks()), 0)
    for moment in range(moments):
        for name, masks in chosen.items():
            if moment >= len(masks) or (image := replayed.image(masks[moment])) is None:
                continue
            mask = masks[moment]
            panel = _fitted(image)
            panels = [panel, painter.paint(panel, mask.class_ids)]
            if truth is not None:
                file = truth.path(name, mask.stamp_ns)
                size = (image.shape[0], image.shape[1])
                panels.append(
                    painter.paint(panel, read_truth(file, len(classes), size))
                    if file is not None
                    else np.full_like(panel, _PAPER[0])
                )
            seconds = (mask.stamp_ns - start_ns) * 1e-9
            _label(panels[0], name if moments == 1 else f"{name}, +{seconds:.1f} s")
            yield _joined(panels)


def _chosen(replayed: Replayed, camera: str, count: int) -> Iterator[ReplayedMask]:
    """Yield `count` of a camera's masks, evenly spread; one is the middle one."""
    total = sum(1 for _ in replayed.masks(camera))
    wanted = {(2 * number + 1) * total // (2 * count) for number in range(count)} if total else set()
    yield from (mask for number, mask in enumerate(replayed.masks(camera)) if number in wanted)


def _joined(panels: Sequence[Image]) -> Image:
    """Return panels side by side on white, with a gap below."""
    side = np.full((panels[0].shape[0], _GAP, 3), _PAPER, np.uint8)
    parts = [part for panel in panels for part in (panel, side)][:-1]
    row = np.concatenate(parts, axis=1)
    return np.pad(row, ((0, _GAP), (0, 0), (0, 0)), constant_values=_PAPER[0])


def _head(titles: Sequence[str]) -> Image:
    head = np.full((_HEAD, len(titles) * (_WIDTH + _GAP) - _GAP, 3), _PAPER, np.uint8)
    for number, title in enumerate(titles):
        place = (number * (_WIDTH + _GAP) + 8, 21)
        cv2.putText(head, title, place, _FONT, _TEXT, _INK, 1, cv2.LINE_AA)
    return head


def _legend(classes: Sequence[ClassSpec], width: int) -> Image:
    """Return the classes' colours and names in columns."""
    entries = [*((spec.name, spec.color) for spec in classes), ("none", (0, 0, 0))]
    widest = max(cv2.getTextSize(name, _FONT, _TEXT, 1)[0][0] for name, _ in entries)
    column = widest + _SWATCH + 24
    across = max(1, width // column)
    legend = np.full((-(-len(entries) // across) * _LINE + _GAP, width, 3), _PAPER, np.uint8)
    for number, (name, color) in enumerate(entries):
        x, y = 4 + number % across * column, _GAP + number // across * _LINE
        cv2.rectangle(legend, (x, y), (x + _SWATCH, y + _SWATCH), color, cv2.FILLED)
        cv2.rectangle(legend, (x, y), (x + _SWATCH, y + _SWATCH), _INK)
        cv2.putText(legend, name, (x + _SWATCH + 7, y + 14), _FONT, _TEXT, _INK, 1, cv2.LINE_AA)
    return legend


def _label(panel: Image, text: str) -> None:
    width = cv2.getTextSize(text, _FONT, _TEXT, 1)[0][0]
    cv2.rectangle(panel, (0, 0), (width + 16, 28), _INK, cv2.FILLED)
    cv2.putText(panel, text, (8, 20), _FONT, _TEXT, _PAPER, 1, cv2.LINE_AA)


def _fitted(image: Image) -> Image:
    """Return a copy that is `_WIDTH` wide; small pictures grow by whole pixels."""
    height, width = image.shape[:2]
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    how = cv2.INTER_AREA if width > _WIDTH else cv2.INTER_NEAREST
    return np.array(cv2.resize(image, size, interpolation=how), np.uint8)
