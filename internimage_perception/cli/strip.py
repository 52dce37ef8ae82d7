"""A picture of a replay for people: images, masks and, where it is known, the truth, side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from internimage_perception.cli import panels
from internimage_perception.cli.panels import GAP, INK, Image
from internimage_perception.cli.replayed import Replayed, ReplayedMask
from internimage_perception.evaluation.truth import TruthFolder, read_truth
from internimage_perception.inference.bundle import ClassSpec
from internimage_perception.inference.overlay import OverlayPainter

_WIDTH = 480
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
    head = panels.titled(titles, _WIDTH)
    panels.write_jpeg(path, np.concatenate([head, *rows, _legend(classes, head.shape[1])]))
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
            panel = panels.fitted(image, _WIDTH)
            shown = [panel, painter.paint(panel, mask.class_ids)]
            if truth is not None:
                file = truth.path(name, mask.stamp_ns)
                size = (image.shape[0], image.shape[1])
                shown.append(
                    painter.paint(panel, read_truth(file, len(classes), size))
                    if file is not None
                    else panels.blank(*panel.shape[:2])
                )
            seconds = (mask.stamp_ns - start_ns) * 1e-9
            panels.label(shown[0], name if moments == 1 else f"{name}, +{seconds:.1f} s")
            yield panels.joined(shown)


def _chosen(replayed: Replayed, camera: str, count: int) -> Iterator[ReplayedMask]:
    """Yield `count` of a camera's masks, evenly spread; one is the middle one."""
    total = sum(1 for _ in replayed.masks(camera))
    wanted = {(2 * number + 1) * total // (2 * count) for number in range(count)} if total else set()
    yield from (mask for number, mask in enumerate(replayed.masks(camera)) if number in wanted)


def _legend(classes: Sequence[ClassSpec], width: int) -> Image:
    """Return the classes' colours and names in columns."""
    entries = [*((spec.name, spec.color) for spec in classes), ("none", (0, 0, 0))]
    widest = max(panels.text_width(name) for name, _ in entries)
    column = widest + _SWATCH + 24
    across = max(1, width // column)
    legend = panels.blank(-(-len(entries) // across) * _LINE + GAP, width)
    for number, (name, color) in enumerate(entries):
        x, y = 4 + number % across * column, GAP + number // across * _LINE
        cv2.rectangle(legend, (x, y), (x + _SWATCH, y + _SWATCH), color, cv2.FILLED)
        cv2.rectangle(legend, (x, y), (x + _SWATCH, y + _SWATCH), INK)
        panels.write(legend, name, (x + _SWATCH + 7, y + 14))
    return legend
