"""A contact sheet of augmented samples: source, warped picture, its labels and its regions, with objects."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from internimage_perception.cli import panels
from internimage_perception.cli.classes import read_classes
from internimage_perception.cli.panels import Image
from internimage_perception.data.datasets.dataset import Dataset
from internimage_perception.data.datasets.pictures import read_ids, read_image
from internimage_perception.data.distortion.output import LABELS, REGIONS, SAMPLES
from internimage_perception.errors import DatasetError
from internimage_perception.resources import share_path

_WIDTH = 360
_TITLES = ("source", "warped", "labels", "regions")
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
    strips = [panels.titled(_TITLES, _WIDTH)]
    for number in chosen:
        record = json.loads(records[number])
        try:
            source = dataset[index[record["source"]]].image
        except DatasetError:
            # It may have been taken away since.
            continue
        strips.append(_row(record, source, out, colors))
    panels.write_jpeg(path, np.concatenate(strips))


def _row(record: Mapping[str, object], source: Image, out: Path, colors: Image) -> Image:
    warped = read_image(out / str(record["image"]))
    shape = warped.shape[:2]
    name = str(record["name"])
    labels, regions = (out / folder / f"{name}.png" for folder in (LABELS, REGIONS))
    painted = colors[read_ids(labels)] if labels.exists() else panels.blank(*shape)
    codes = read_ids(regions) if regions.exists() else np.zeros(shape, np.uint8)
    table = np.zeros((256, 3), np.uint8)
    for code, color in _REGION_COLORS.items():
        table[code] = color
    shown = [panels.fitted(picture, _WIDTH) for picture in (source, warped)]
    shown += [panels.fitted(picture, _WIDTH, nearest=True) for picture in (painted, table[codes])]
    objects = record["objects"]
    _draw(shown[1], objects if isinstance(objects, list) else [], _WIDTH / shape[1])
    panels.label(shown[0], name)
    return panels.joined(shown)


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
