"""WoodScape's boxes (text) and outlines (JSON), in pixels whose centres are whole numbers."""

import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.label_map import LabelMap
from internimage_perception.data.datasets.pictures import read_bytes
from internimage_perception.data.sample import IGNORED, ObjectLabel
from internimage_perception.errors import DatasetError

Floats = npt.NDArray[np.float64]


def read_boxes(file: Path, object_map: LabelMap) -> tuple[ObjectLabel, ...]:
    """Return the boxes of a picture; those of ignored labels are left out.

    A line is name, id, first and last column and row in the order x, y, x, y, and the points of an outline in
    the files that have them. Raises DatasetError naming file and line.
    """
    objects = []
    try:
        lines = list(csv.reader(read_bytes(file).decode("utf-8").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as boxes: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        where = f"{file}, line {number}"
        try:
            label, corners = int(line[1]), np.array([float(text) for text in line[2:6]]).reshape(2, 2)
            outline = np.array([float(text) for text in line[6:]]).reshape(-1, 2)
        except (ValueError, IndexError) as error:
            raise DatasetError(f"{where}: must be name, id, x, y, x, y, not {','.join(line)!r}") from error
        target = object_map.target_of_id(label)
        if target is None:
            raise DatasetError(f"{where}: the id {label} is not in the label map {object_map.name}")
        if target != IGNORED:
            polygons = (outline,) if len(outline) else ()
            objects.append(ObjectLabel(target, _around(corners), polygons, instance_id=number))
    return tuple(objects)


def read_instances(file: Path, object_map: LabelMap, size: tuple[int, int]) -> tuple[ObjectLabel, ...]:
    """Return the outlined objects of a picture; those of ignored tags are left out.

    Parts of one group and class are one object. Outlines drawn for another size are scaled to (height,
    width) `size`. Raises DatasetError naming the file.
    """
    try:
        (content,) = json.loads(read_bytes(file)).values()
        scale = (size[1] / content["image_width"], size[0] / content["image_height"])
        parts: dict[tuple[object, int], list[Floats]] = {}
        for number, item in enumerate(content["annotation"]):
            target = object_map.target_of(item["tags"][0])
            if target is None:
                raise DatasetError(
                    f"{file}: the tag {item['tags'][0]!r} is not in label map {object_map.name}"
                )
            outline = np.array(item["segmentation"], np.float64).reshape(-1, 2)
            if target != IGNORED and len(outline) > 2:
                # The middle of pixel 0 stays half a new pixel from the border.
                scaled = (outline + 0.5) * scale - 0.5
                parts.setdefault((item.get("group_id") or f"own {number}", target), []).append(scaled)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DatasetError(
            f"{file} cannot be read as outlines: {type(error).__name__}: {error}; unpack it again"
        ) from error
    return tuple(
        ObjectLabel(target, _around(np.concatenate(outlines)), tuple(outlines), instance_id=number)
        for number, ((_, target), outlines) in enumerate(parts.items(), 1)
    )


def _around(points: Floats) -> Floats:
    """Return the box of outer edges of the pixels that points lie in the middle of."""
    return np.concatenate([points.min(axis=0) - 0.5, points.max(axis=0) + 0.5])
