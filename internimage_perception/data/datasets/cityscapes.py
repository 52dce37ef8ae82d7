"""Cityscapes, in the folders it is published in."""

import json
from pathlib import Path
from typing import Literal

from internimage_perception.data.datasets.dataset import Entry, FileDataset, Size
from internimage_perception.data.datasets.files import check_folder, list_files, pair
from internimage_perception.data.datasets.label_map_file import LabelMapLike, load_label_map
from internimage_perception.data.datasets.pictures import read_bytes
from internimage_perception.errors import CalibrationError, DatasetError
from internimage_perception.geometry import CameraModel, PinholeCamera

_MAPS = {"labelIds": "cityscapes_to_dacon12", "labelTrainIds": "cityscapes_trainids_to_dacon12"}


class Cityscapes(FileDataset):
    """Pictures, label ids, and lenses where `camera` is unpacked too.

    `ROOT/<images>/SPLIT/CITY/CITY_SEQ_FRAME_leftImg8bit.png` with
    `ROOT/gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_labelIds.png` and
    `ROOT/camera/SPLIT/CITY/CITY_SEQ_FRAME_camera.json`.

    Args:
        root: folder that holds leftImg8bit and gtFine.
        split: train, val, test or train_extra.
        annotations: which labels; `none` opens the pictures as unlabelled.
        labels: `labelIds` as published, or `labelTrainIds` as made by the set's own scripts.
        label_map: from the ids; by default to DACON's twelve classes.
        images: folder of the pictures.

    Raises:
        DatasetError: a folder is missing or empty; a picture without label or the reverse.
    """

    def __init__(
        self,
        root: Path,
        split: str = "train",
        annotations: Literal["gtFine", "gtCoarse", "none"] = "gtFine",
        labels: Literal["labelIds", "labelTrainIds"] = "labelIds",
        label_map: LabelMapLike | None = None,
        images: str = "leftImg8bit",
    ) -> None:
        folder = root / images / split
        pictures = list_files(folder, (".png",), "Cityscapes pictures", ending=f"_{images}")
        found: dict[str, Path] = {}
        if split == "train_extra" and annotations == "gtFine":
            raise DatasetError(f"{folder} has no fine labels: set `annotations` to gtCoarse, or none")
        if annotations != "none":
            ending = f"_{annotations}_{labels}"
            found = list_files(root / annotations / split, (".png",), "Cityscapes labels", ending=ending)
        pairs = pair(pictures, found, unlabelled=annotations == "none")
        entries = [Entry(f"{split}/{name}", image, label) for name, (image, label) in pairs.items()]
        super().__init__(f"Cityscapes {split}", entries, load_label_map(label_map or _MAPS[labels]))
        self._cameras = root / "camera"
        self._has_cameras = (self._cameras / split).is_dir()

    def _camera(self, entry: Entry, size: Size) -> CameraModel | None:
        if not self._has_cameras:
            return None
        file = self._cameras / f"{entry.name}_camera.json"
        check_folder(file.parent, "camera files")
        try:
            lens = json.loads(read_bytes(file))["intrinsic"]
            return PinholeCamera(
                width=size[1], height=size[0], fx=lens["fx"], fy=lens["fy"], cx=lens["u0"], cy=lens["v0"]
            )
        except (ValueError, KeyError, TypeError, CalibrationError) as error:
            raise DatasetError(
                f"{file} cannot be used as a camera file: {type(error).__name__}: {error}; it must hold "
                "intrinsic.fx, fy, u0 and v0. Unpack the camera files again, or move their folder away"
            ) from error
