"""Detection annotations in COCO's JSON: boxes, outlines, run-length masks, crowds."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.dataset import Entry, FileDataset, Size
from internimage_perception.data.datasets.label_map import LabelMap
from internimage_perception.data.datasets.label_map_file import LabelMapLike, load_label_map
from internimage_perception.data.datasets.pictures import read_bytes
from internimage_perception.data.datasets.run_lengths import decode_counts, mask_of_counts
from internimage_perception.data.sample import IGNORED, ObjectLabel
from internimage_perception.errors import DatasetError

Floats = npt.NDArray[np.float64]
Record = Mapping[str, object]


class Coco(FileDataset):
    """The pictures of an annotation file and their objects.

    COCO counts from the picture's corner, where the centre of the first pixel is (0.5, 0.5): boxes and
    outlines come out half a pixel less, in the convention of `ObjectLabel`. Run lengths become masks; what is
    outlined by polygons keeps them and has no mask. Boxes without area are left out, as are objects of
    ignored categories. Samples are called by their path below the folder of pictures.

    Args:
        annotations: the JSON file.
        images: folder that its file names start from; none: the JSON file's.
        label_map: from the names of its categories; none: the classes are its categories, by their ids.

    A file without annotations, such as those of test pictures, opens them as unlabelled.

    Raises:
        DatasetError: the file is no such JSON, or an entry refers to something that is not there.
    """

    def __init__(
        self, annotations: Path, images: Path | None = None, label_map: LabelMapLike | None = None
    ) -> None:
        self._file = annotations
        folder = annotations.parent if images is None else images
        try:
            content = json.loads(read_bytes(annotations))
            pictures = {item["id"]: Path(item["file_name"]) for item in content["images"]}
            categories = {item["id"]: str(item["name"]) for item in content["categories"]}
            self._annotated = "annotations" in content
            names = {key: _name(path, folder) for key, path in pictures.items()}
            self._sizes = {names[item["id"]]: _size(item) for item in content["images"]}
            self._records: dict[str, list[Record]] = {name: [] for name in names.values()}
            for record in content.get("annotations", ()):
                self._records[names[record["image_id"]]].append(record)
            count = len(content["images"])
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{annotations} is no COCO file of objects: {type(error).__name__}: {error}; it must be JSON "
                "with images (id, file_name), categories (id, name) and annotations that refer to them"
            ) from error
        if len(self._records) < count:
            raise DatasetError(
                f"{annotations}: two images have one id, or names that differ in their suffix alone"
            )
        entries = [Entry(names[key], folder / path) for key, path in pictures.items()]
        listed = [categories[key] for key in sorted(categories)]
        chosen = LabelMap.identity(listed) if label_map is None else load_label_map(label_map)
        super().__init__(f"COCO annotations {annotations.name}", entries, chosen)
        self._targets = {key: _target(chosen, name, annotations) for key, name in categories.items()}

    @property
    def description(self) -> str:
        """What is in it, in a line for people."""
        count = sum(map(len, self._records.values()))
        return (
            f"{self.title}: {len(self)} pictures with {count} objects, {len(self.classes)} classes "
            f"(label map {self.label_map.name})"
        )

    def _objects(self, entry: Entry, size: Size) -> tuple[ObjectLabel, ...] | None:
        if not self._annotated:
            return None
        listed = self._sizes[entry.name]
        if listed is not None and listed != size:
            raise DatasetError(
                f"{entry.image} has {size[1]}x{size[0]} pixels, but {self._file} is for "
                f"{listed[1]}x{listed[0]}; use the pictures that were annotated, not resized ones"
            )
        objects = []
        for record in self._records[entry.name]:
            try:
                found = self._object(record, size)
            except (ValueError, KeyError, TypeError) as error:
                raise DatasetError(
                    f"{self._file}: annotation {record.get('id')} of {entry.image.name} cannot be used: "
                    f"{type(error).__name__}: {error}"
                ) from error
            if found is not None:
                objects.append(found)
        return tuple(objects)

    def _object(self, record: Record, size: Size) -> ObjectLabel | None:
        """Return an object, or None if it is left out. Raises what wrong content makes Python raise."""
        target = self._targets[record["category_id"]]
        box = _numbers(record["bbox"], 4)
        if (box[2:] < 0.0).any():
            raise ValueError(f"bbox {box.tolist()} has a negative size")
        if target == IGNORED or not box[2:].all():
            return None
        corners = np.concatenate([box[:2], box[:2] + box[2:]]) - 0.5
        polygons, mask = _shape(record.get("segmentation"), size)
        number = record.get("id", 0)
        return ObjectLabel(
            target, corners, polygons, mask, crowd=bool(record.get("iscrowd", 0)),
            instance_id=number if isinstance(number, int) else 0,
        )  # fmt: skip


def _name(path: Path, folder: Path) -> str:
    """Return a picture's path below the folder, or, of one that lies elsewhere, without the way up to it."""
    below = Path(os.path.relpath(folder / path, folder)).with_suffix("")
    return Path(*(part for part in below.parts if part != "..")).as_posix()


def _size(item: Record) -> Size | None:
    """Return the height and width an image is listed with, None where they are left out."""
    height, width = item.get("height"), item.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _target(label_map: LabelMap, name: str, file: Path) -> int:
    target = label_map.target_of(name)
    if target is None:
        raise DatasetError(
            f"{file} has the category {name!r}, which is not in the label map {label_map.name}; add it, or "
            "set `unknown: ignore`"
        )
    return target


def _shape(given: object, size: Size) -> tuple[tuple[Floats, ...], npt.NDArray[np.bool_] | None]:
    """Return the outlines and the mask of a segmentation: a list of polygons, or run lengths."""
    if isinstance(given, Mapping):
        height, width = given["size"]
        if (height, width) != size:
            raise ValueError(f"its mask is for {width}x{height} pixels, the picture has {size[1]}x{size[0]}")
        counts = given["counts"]
        if isinstance(counts, str | bytes):
            counts = decode_counts(counts)
        return (), mask_of_counts(counts, height, width)
    if not given:
        return (), None
    if not isinstance(given, list):
        raise TypeError(f"segmentation {given!r} is neither polygons nor run lengths")
    return tuple(_numbers(points).reshape(-1, 2) - 0.5 for points in given), None


def _numbers(given: object, count: int | None = None) -> Floats:
    values = np.array(given, np.float64)
    if values.ndim != 1 or count not in {None, values.size} or not np.isfinite(values).all():
        raise ValueError(f"{given!r} must be {count or 'a list of'} numbers")
    return values
