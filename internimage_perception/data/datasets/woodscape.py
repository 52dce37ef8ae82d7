"""WoodScape: real fisheye pictures of four cameras, with lens, pixel labels, boxes and outlines."""

from pathlib import Path
from typing import Literal

from internimage_perception.data.datasets.dataset import Entry, FileDataset, Size
from internimage_perception.data.datasets.files import first_folder, list_files, pair
from internimage_perception.data.datasets.label_map_file import LabelMapLike, load_label_map
from internimage_perception.data.datasets.pictures import check_camera
from internimage_perception.data.datasets.woodscape_objects import read_boxes, read_instances
from internimage_perception.data.sample import ObjectLabel
from internimage_perception.errors import CalibrationError, ConfigError, DatasetError
from internimage_perception.geometry import CameraModel, load_calibration

# The archives hold a folder of their own name; some unpack them into another of that name: look inside first.
_PICTURES = ("rgb_images/rgb_images", "rgb_images")
_LABELS = ("semantic_annotations/semantic_annotations/gtLabels", "semantic_annotations/gtLabels")
_LENSES = ("calibration", "calibration/calibration", "calibration_data/calibration", "calibration_data")
_OBJECTS = {
    "boxes": ("box_2d_annotations/box_2d_annotations", "box_2d_annotations"),
    "instances": ("instance_annotations/instance_annotations", "instance_annotations"),
}
_MAPS = {"boxes": "woodscape_boxes_to_dacon12", "instances": "woodscape_instances_to_dacon12"}


class WoodScape(FileDataset):
    """Pictures `rgb_images/00000_FV.png` and what is known of each, all in files of the same name.

    Labels: `semantic_annotations/gtLabels/*.png`. Lens, where there: `calibration/*.json`. Objects:
    `box_2d_annotations/*.txt` or `instance_annotations/*.json`.

    Args:
        root: folder into which the archives were unpacked.
        cameras: of FV (front), RV (rear), MVL and MVR (mirrors, left and right).
        frames: a text file with a picture's name per line, such as a split of one's own; none: all.
        labelled: read pixel labels; every picture must have them.
        objects: read boxes or outlines; a picture without file has no objects known.
        label_map: from the ids of the pixels.
        object_map: from the ids of boxes, or the tags of outlines; to the same classes.

    Raises:
        DatasetError: a folder is missing or empty; a picture without label or the reverse.
        ConfigError: the two maps have different classes.
    """

    def __init__(
        self,
        root: Path,
        cameras: tuple[Literal["FV", "RV", "MVL", "MVR"], ...] = ("FV", "RV", "MVL", "MVR"),
        frames: Path | None = None,
        *,
        labelled: bool = True,
        objects: Literal["none", "boxes", "instances"] = "none",
        label_map: LabelMapLike = "woodscape_to_dacon12",
        object_map: LabelMapLike | None = None,
    ) -> None:
        pictures = list_files(first_folder(root, _PICTURES, "pictures"), (".png",), "WoodScape pictures")
        found: dict[str, Path] = {}
        if labelled:
            found = list_files(first_folder(root, _LABELS, "labels"), (".png",), "WoodScape labels")
        pairs = pair(pictures, found, unlabelled=not labelled)
        names = [name for name in _chosen(frames, pairs) if name.rpartition("_")[2] in cameras]
        entries = [Entry(name, *pairs[name]) for name in names]
        super().__init__(f"WoodScape {', '.join(cameras)}", entries, load_label_map(label_map))
        self._lenses = next((root / name for name in _LENSES if any((root / name).glob("*.json"))), None)
        self._kind = objects
        if objects != "none":
            self.object_map = load_label_map(object_map or _MAPS[objects])
            self._object_files = first_folder(root, _OBJECTS[objects], objects)
            if labelled and self.object_map.classes != self.label_map.classes:
                raise ConfigError(
                    f"label maps {self.label_map.name} and {self.object_map.name} have different classes"
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return self.label_map.classes if self._kind == "none" else self.object_map.classes

    def _camera(self, entry: Entry, size: Size) -> CameraModel | None:
        if self._lenses is None:
            return None
        file = self._lenses / f"{entry.name}.json"
        try:
            (camera,) = load_calibration(file).cameras.values()
        except CalibrationError as error:
            raise DatasetError(f"{error}; unpack the calibration again, or move its folder away") from error
        return check_camera(camera.camera, file, size)

    def _objects(self, entry: Entry, size: Size) -> tuple[ObjectLabel, ...] | None:
        if self._kind == "none":
            return None
        if self._kind == "boxes":
            file = self._object_files / f"{entry.name}.txt"
            return read_boxes(file, self.object_map) if file.exists() else None
        file = self._object_files / f"{entry.name}.json"
        return read_instances(file, self.object_map, size) if file.exists() else None


def _chosen(frames: Path | None, pairs: dict[str, tuple[Path, Path | None]]) -> list[str]:
    if frames is None:
        return list(pairs)
    try:
        lines = frames.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{frames} cannot be read as a list of pictures: {error}") from error
    names = [Path(line).stem for line in lines]
    if missing := [name for name in names if name not in pairs]:
        raise DatasetError(f"{frames} lists {missing[0]}, of which there is no picture")
    return names
