"""The truth beside a recording: class ids per picture, and boxes where they are known."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.bag_index import Shot
from internimage_perception.data.datasets.label_map import LabelMap
from internimage_perception.data.datasets.pictures import read_bytes, read_labels
from internimage_perception.data.sample import IGNORED, ObjectLabel
from internimage_perception.errors import DatasetError


class BagTruth:
    """Files `classes/CAMERA/STAMP_NS.png` and `objects/STAMP_NS.json` of a folder.

    Attributes:
        folder: that holds `classes`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamps = {
            camera.name: {path.stem for path in camera.glob("[!.]*.png")}
            for camera in sorted((folder / "classes").iterdir())
            if camera.is_dir()
        }

    @classmethod
    def find(cls, bag: Path, given: Path | None) -> "BagTruth | None":
        """Return the truth in folder `given`, or else in `truth` inside or beside the bag, or None."""
        looked = (bag / "truth", bag.absolute().parent / "truth") if given is None else (given,)
        return next((cls(folder) for folder in looked if (folder / "classes").is_dir()), None)

    def knows(self, shot: Shot) -> bool:
        """Return whether the classes of a picture are there; of two with one stamp, those of the first."""
        return shot.name == f"{shot.camera}/{shot.stamp_ns}" and str(shot.stamp_ns) in self._stamps.get(
            shot.camera, ()
        )

    def count(self, cameras: Collection[str]) -> int:
        """Return how many pictures of some cameras have classes."""
        return sum(len(stamps) for camera, stamps in self._stamps.items() if camera in cameras)

    def labels(self, shot: Shot, label_map: LabelMap, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return the class ids of a picture of (height, width). Raises DatasetError."""
        return read_labels(self.folder / "classes" / f"{shot.name}.png", label_map, size)

    def objects(self, shot: Shot, label_map: LabelMap) -> tuple[ObjectLabel, ...] | None:
        """Return the visible objects of a picture, ignored ones left out; None where no file knows them.

        Raises DatasetError naming a file that cannot be used.
        """
        file = self.folder / "objects" / f"{shot.stamp_ns}.json"
        if not file.exists():
            return None
        try:
            views = json.loads(read_bytes(file))["cameras"]
            return tuple(
                ObjectLabel(
                    target, np.array(item["box"], np.float64).reshape(4),
                    tuple(np.array(outline, np.float64).reshape(-1, 2) for outline in item["outlines"]),
                    instance_id=item["instance_id"],
                )
                for item in views.get(shot.camera, ())
                if (target := _target(item["class_id"], label_map)) != IGNORED
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{file} cannot be read as the objects of a set of pictures: {type(error).__name__}: {error}"
            ) from error


def _target(class_id: int, label_map: LabelMap) -> int:
    if (target := label_map.target_of_id(class_id)) is None:
        raise ValueError(f"class id {class_id} is not in the label map {label_map.name}")
    return target
