"""KITTI-360: labelled perspective pictures, and unlabelled fisheye pictures of both sides."""

from pathlib import Path
from typing import Literal

import numpy as np

from internimage_perception.data.datasets.dataset import Entry, FileDataset, Size
from internimage_perception.data.datasets.files import check_folder, list_files, pair
from internimage_perception.data.datasets.label_map_file import LabelMapLike, load_label_map
from internimage_perception.data.datasets.pictures import check_camera, read_bytes
from internimage_perception.errors import CalibrationError, ConfigError, DatasetError
from internimage_perception.geometry import CameraModel, PinholeCamera, load_calibration

Camera = Literal["image_00", "image_01", "image_02", "image_03"]
_FISHEYES = ("image_02", "image_03")


class Kitti360(FileDataset):
    """The pictures of one camera.

    Perspective (image_00, image_01): `data_2d_raw/SEQ/image_00/data_rect/FRAME.png` with
    `data_2d_semantics/train/SEQ/image_00/semantic/FRAME.png`, for the frames that have labels. Fisheye
    (image_02, image_03): `data_2d_raw/SEQ/image_02/data_rgb/FRAME.png`, without labels. Lenses:
    `calibration/perspective.txt` and `calibration/image_02.yaml`.

    Args:
        root: the set's folder.
        camera: whose pictures.
        sequences: such as 2013_05_28_drive_0000_sync; empty: all there are.
        labelled: read pixel labels, and only pictures that have them; none: where the camera has any.
        frames: the set's own list of a split, such as
            `data_2d_semantics/train/2013_05_28_drive_val_frames.txt`: only pictures it names.
        label_map: from the ids of the pixels.

    Raises:
        DatasetError: a folder is missing or empty; a label without its picture.
        ConfigError: labels of a fisheye camera are asked for.
        CalibrationError: the calibration is there but cannot be used.
    """

    def __init__(
        self,
        root: Path,
        camera: Camera = "image_00",
        sequences: tuple[str, ...] = (),
        *,
        labelled: bool | None = None,
        frames: Path | None = None,
        label_map: LabelMapLike = "kitti360_to_dacon12",
    ) -> None:
        fisheye = camera in _FISHEYES
        with_labels = not fisheye if labelled is None else labelled
        if fisheye and with_labels:
            raise ConfigError("KITTI-360 has no pixel labels of its fisheye cameras: leave out `labelled`")
        raw, drawn = root / "data_2d_raw", root / "data_2d_semantics" / "train"
        check_folder(raw, "the sequences of KITTI-360")
        pictures_of = f"{camera}/data_rgb" if fisheye else f"{camera}/data_rect"
        labels_of = f"{camera}/semantic"
        above = drawn if with_labels else raw
        below = labels_of if with_labels else pictures_of
        check_folder(above, "sequences")
        chosen = sequences or tuple(sorted(item.name for item in above.iterdir() if (item / below).is_dir()))
        wanted = None if frames is None else _listed(frames, pictures_of)
        entries = []
        for sequence in chosen:
            pictures = list_files(raw / sequence / pictures_of, (".png",), "KITTI-360 pictures")
            found: dict[str, Path] = {}
            if with_labels:
                found = list_files(drawn / sequence / labels_of, (".png",), "KITTI-360 labels")
            for frame, (image, label) in pair(pictures, found, unlabelled=True).items():
                named = wanted is None or (sequence, frame) in wanted
                if named and (label is not None or not with_labels):
                    entries.append(Entry(f"{sequence}/{camera}/{frame}", image, label))
        super().__init__(f"KITTI-360 {camera}", entries, load_label_map(label_map))
        self._file = root / "calibration" / (f"{camera}.yaml" if fisheye else "perspective.txt")
        self._lens = self._read_lens(camera) if self._file.exists() else None

    def _read_lens(self, camera: Camera) -> CameraModel:
        if camera in _FISHEYES:
            (found,) = load_calibration(self._file).cameras.values()
            return found.camera
        return _perspective(self._file, camera[-2:])

    def _camera(self, entry: Entry, size: Size) -> CameraModel | None:  # noqa: ARG002 - one lens for all
        return None if self._lens is None else check_camera(self._lens, self._file, size)


def _perspective(file: Path, number: str) -> PinholeCamera:
    """Return the lens of the rectified pictures, from the lines P_rect_NN and S_rect_NN."""
    values: dict[str, list[float]] = {}
    try:
        for line in read_bytes(file).decode("ascii").splitlines():
            key, colon, rest = line.partition(":")
            if colon and key.strip().startswith(("P_rect", "S_rect")):
                values[key.strip()] = [float(text) for text in rest.split()]
        projection = np.array(values[f"P_rect_{number}"]).reshape(3, 4)
        width, height = values[f"S_rect_{number}"]
        return PinholeCamera(
            width=int(width), height=int(height), fx=float(projection[0, 0]), fy=float(projection[1, 1]),
            cx=float(projection[0, 2]), cy=float(projection[1, 2]),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise CalibrationError(
            f"{file} cannot be used: {type(error).__name__}: {error}; it needs P_rect_{number} with 12 "
            f"numbers and S_rect_{number} with 2"
        ) from error


def _listed(file: Path, pictures_of: str) -> set[tuple[str, str]]:
    """Return (sequence, frame) of the pictures in the set's list of a split."""
    found = set()
    for line in read_bytes(file).decode("utf-8", "replace").splitlines():
        for path in map(Path, line.split()):
            if path.as_posix().endswith(f"{pictures_of}/{path.name}") and len(path.parts) >= 4:
                found.add((path.parts[-4], path.stem))
    if not found:
        raise DatasetError(f"{file} lists no pictures of .../{pictures_of}/")
    return found
