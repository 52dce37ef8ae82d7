"""Pictures and labels in two folders, matched by name: anybody's data, and what `augment` writes."""

from pathlib import Path
from typing import Literal

from internimage_perception.data.datasets.dataset import Bytes, Entry, FileDataset, Size
from internimage_perception.data.datasets.files import PICTURES, list_files, pair
from internimage_perception.data.datasets.label_map_file import LabelMapLike, map_or_classes, read_yaml
from internimage_perception.data.datasets.pictures import check_camera, read_labels, read_regions
from internimage_perception.data.sample import Regions
from internimage_perception.errors import CalibrationError, ConfigError, DatasetError
from internimage_perception.geometry import CameraModel, camera_from_dict, load_calibration


class FolderPairs(FileDataset):
    """Pictures of a folder and its subfolders, each with the label file of the same relative name.

    Args:
        images: folder of the pictures, JPEG or PNG.
        labels: folder of the label files, PNG; none: the pictures are unlabelled. May be that of the
            pictures, if the label files' names end differently.
        image_ending: of the pictures' names, before the suffix; not part of the sample's name.
        label_ending: of the label files' names, before the suffix.
        form: what label files hold: ids, or the colours that the label map lists.
        label_map: what they mean; none: they are ids of `classes`, and 255 is ignored.
        classes: names, or a list of classes in YAML; none: those of DACON with Background. Only without
            `label_map`.
        allow_unlabelled: pictures may lack a label file.
        regions: folder of files that say why pixels have no label (see `read_regions`); none: not known.
            Pictures without a file have no regions.
        calibration: lens of all the pictures, in any format that `load_calibration` reads.
        cameras: folder of YAML files with the lens of each picture, as `camera` of a rig file. Pictures
            without a file have no lens known. Not with `calibration`.

    Raises:
        DatasetError: a folder is missing or empty; a picture without label or the reverse.
        ConfigError: label map or classes cannot be used, or both are given.
        CalibrationError: the calibration cannot be used.
    """

    def __init__(  # noqa: PLR0913 - the options of the kind, all but one of them optional
        self,
        images: Path,
        labels: Path | None = None,
        image_ending: str = "",
        label_ending: str = "",
        form: Literal["ids", "colors"] = "ids",
        label_map: LabelMapLike | None = None,
        classes: Path | tuple[str, ...] | None = None,
        *,
        allow_unlabelled: bool = False,
        regions: Path | None = None,
        calibration: Path | None = None,
        cameras: Path | None = None,
    ) -> None:
        if calibration is not None and cameras is not None:
            raise ConfigError("give calibration, one lens for all pictures, or cameras, one each, not both")
        pictures = list_files(images, PICTURES, "pictures", ending=image_ending)
        found: dict[str, Path] = {}
        if labels is not None:
            found = list_files(labels, (".png",), "label files", ending=label_ending)
            pictures, found = _apart(pictures, found, image_ending, label_ending)
        pairs = pair(pictures, found, unlabelled=allow_unlabelled or labels is None)
        entries = [Entry(name, image, label) for name, (image, label) in pairs.items()]
        super().__init__(f"pictures in {images}", entries, map_or_classes(label_map, classes))
        self._as_colors = form == "colors"
        self._region_files = {} if regions is None else list_files(regions, (".png",), "regions")
        self._camera_files = {} if cameras is None else list_files(cameras, (".yaml",), "cameras")
        for files in (self._region_files, self._camera_files):
            if stray := sorted({*files} - {*pairs}):
                raise DatasetError(f"{files[stray[0]]} belongs to no picture in {images}")
        self._lens = None if calibration is None else _only_camera(calibration)
        self._calibration = calibration

    def _labels(self, entry: Entry, size: Size) -> Bytes | None:
        if entry.labels is None:
            return None
        return read_labels(entry.labels, self.label_map, size, colors=self._as_colors)

    def _camera(self, entry: Entry, size: Size) -> CameraModel | None:
        if (file := self._camera_files.get(entry.name)) is not None:
            try:
                return check_camera(camera_from_dict(read_yaml(file, "a camera")), file, size)
            except (ConfigError, CalibrationError) as error:
                raise DatasetError(f"{file}: {error}") from error
        return None if self._lens is None else check_camera(self._lens, self._calibration, size)

    def _regions(self, entry: Entry, size: Size) -> Regions | None:
        file = self._region_files.get(entry.name)
        return None if file is None else read_regions(file, size)


def _apart(
    pictures: dict[str, Path], labels: dict[str, Path], image_ending: str, label_ending: str
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Keep label files out of the pictures, and the reverse, where folders overlap."""
    shared = {*pictures.values()} & {*labels.values()}
    if shared and pictures == labels:
        folder = next(iter(shared)).parent
        raise ConfigError(f"pictures and labels are the same files, in {folder}; give label_ending")
    # The longer ending tells: every name ends in the empty one.
    if len(label_ending) >= len(image_ending):
        return {name: path for name, path in pictures.items() if path not in shared}, labels
    return pictures, {name: path for name, path in labels.items() if path not in shared}


def _only_camera(file: Path) -> CameraModel:
    cameras = load_calibration(file).cameras
    if len(cameras) != 1:
        raise ConfigError(f"{file} calibrates {len(cameras)} cameras ({', '.join(cameras)}); one is needed")
    (camera,) = cameras.values()
    return camera.camera
