"""A contact sheet of augmented samples: source, warped picture, its labels and its regions, with objects."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.cli.classes import read_classes
from internimage_perception.data.datasets.dataset import Dataset
from internimage_perception.data.datasets.pictures import read_ids, read_image
from internimage_perception.data.distortion.output import LABELS, REGIONS, SAMPLES
from internimage_perception.errors import DatasetError, ImageError
from internimage_perception.files import write_bytes
from internimage_perception.resources import share_path

Image = npt.NDArray[np.uint8]

_WIDTH, _GAP, _HEAD = 360, 6, 26
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_TITLES = ("source", "warped", "labels", "regions")
_FONT, _TEXT = cv2.FONT_HERSHEY_SIMPLEX, 0.5
# Scene, outside the lens, ego body, no source, as `regions_picture` numbers them.
_REGION_COLORS = {0: (215, 215, 215), 1: (20, 20, 20), 2: (200, 90, 40), 4: (70, 110, 190)}
_BOX, _OUTLINE = (255, 220, 0), (255, 60, 200)


def write_contact_sheet(path: Path, out: Path, dataset: Dataset, rows: int = 8) -> None:
    """Write a JPEG with samples evenly spread over those of an output folder.

    Regions are grey where the scene is, black outside the lens, orange on the ego body, blue where the source
    shows nothing; boxes are yellow, outlines pink.

    Args:
        path: the JPEG.
        out: what `augment_dataset` made.
        dataset: what it was made of.
        rows: samples to show.

    Raises:
        ImageError: the picture cannot be encoded.
    """
    records = (out / SAMPLES).read_text(encoding="utf-8").splitlines()
    chosen = sorted({(2 * number + 1) * len(records) // (2 * rows) for number in range(rows)})
    colors = _colors(dataset.classes)
    index = {name: number for number, name in enumerate(dataset.names)}
    strips = [_head()]
    for number in chosen:
        record = json.loads(records[number])
        try:
            source = dataset[index[record["source"]]].image
        except DatasetError:
            # It may have been taken away since.
            continue
        strips.append(_row(record, source, out, colors))
    good, data = cv2.imencode(".jpg", np.concatenate(strips)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not good:
        raise ImageError(f"{path}: the contact sheet cannot be encoded")
    write_bytes(path, data.tobytes())


def _row(record: Mapping[str, object], source: Image, out: Path, colors: Image) -> Image:
    warped = read_image(out / str(record["image"]))
    shape = warped.shape[:2]
    name = str(record["name"])
    labels, regions = (out / folder / f"{name}.png" for folder in (LABELS, REGIONS))
    painted = colors[read_ids(labels)] if labels.exists() else np.full((*shape, 3), _PAPER, np.uint8)
    table = np.zeros((256, 3), np.uint8)
    for code, color in _REGION_COLORS.items():
        table[code] = color
    panels = [_fitted(source), _fitted(warped), _fitted(painted, nearest=True)]
    objects = record["objects"]
    _draw(panels[1], objects if isinstance(objects, list) else [], _WIDTH / shape[1])
    codes = read_ids(regions) if regions.exists() else np.zeros(shape, np.uint8)
    panels.append(_fitted(table[codes], nearest=True))
    height = max(panel.shape[0] for panel in panels)
    parts = [np.full((height + _GAP, _WIDTH + _GAP, 3), _PAPER, np.uint8) for _ in panels]
    for part, panel in zip(parts, panels, strict=True):
        part[: panel.shape[0], :_WIDTH] = panel
    _label(parts[0], name)
    return np.concatenate(parts, axis=1)


def _draw(panel: Image, objects: Sequence[Mapping[str, object]], scale: float) -> None:
    for item in objects:
        corners = (np.array(item["box"]).reshape(2, 2) + 0.5) * scale
        low, high = (tuple(int(value) for value in np.rint(corner)) for corner in corners)
        cv2.rectangle(panel, low, high, _BOX, 1)
        for outline in item["polygons"] if isinstance(item["polygons"], list) else []:
            points = np.rint((np.array(outline) + 0.5) * scale).astype(np.int32)
            cv2.polylines(panel, [points], isClosed=True, color=_OUTLINE, thickness=1)


def _colors(classes: Sequence[str]) -> Image:
    """Return a colour for every id: those of the DACON classes by name, others spread; 255 is black."""
    known = {spec.name: spec.color for spec in read_classes(share_path("config/classes.yaml"))}
    table = np.zeros((256, 3), np.uint8)
    for number in range(255):
        hue = np.array([[[number * 67 % 180, 190, 150 + number * 37 % 100]]], np.uint8)
        spread = tuple(int(value) for value in np.asarray(cv2.cvtColor(hue, cv2.COLOR_HSV2RGB))[0, 0])
        name = classes[number] if number < len(classes) else ""
        table[number] = known.get(name, spread)
    return table


def _head() -> Image:
    head = np.full((_HEAD, len(_TITLES) * (_WIDTH + _GAP), 3), _PAPER, np.uint8)
    for number, title in enumerate(_TITLES):
        place = (number * (_WIDTH + _GAP) + 6, 18)
        cv2.putText(head, title, place, _FONT, _TEXT, _INK, 1, cv2.LINE_AA)
    return head


def _label(panel: Image, text: str) -> None:
    width = cv2.getTextSize(text, _FONT, _TEXT, 1)[0][0]
    cv2.rectangle(panel, (0, 0), (width + 10, 20), _INK, cv2.FILLED)
    cv2.putText(panel, text, (5, 15), _FONT, _TEXT, _PAPER, 1, cv2.LINE_AA)


def _fitted(picture: Image, *, nearest: bool = False) -> Image:
    height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
    how = cv2.INTER_NEAREST if nearest or picture.shape[1] < _WIDTH else cv2.INTER_AREA
    return np.array(cv2.resize(picture, (_WIDTH, height), interpolation=how), np.uint8)
