"""nuScenes: six pinhole cameras with poses and 3-D boxes, from the tables of version 1.0."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.dataset import Entry, FileDataset, Size
from internimage_perception.data.datasets.files import check_folder
from internimage_perception.data.datasets.label_map_file import LabelMapLike, load_label_map
from internimage_perception.data.datasets.nuscenes_boxes import Box3D, box_in_picture, record_pose
from internimage_perception.data.datasets.pictures import check_camera, read_bytes
from internimage_perception.data.sample import IGNORED, ObjectLabel
from internimage_perception.errors import DatasetError, PerceptionError
from internimage_perception.geometry import PinholeCamera
from internimage_perception.geometry.poses import invert

Floats = npt.NDArray[np.float64]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """One picture: its moment, its camera as calibrated, and where the vehicle was."""

    sample: str
    calibration: str
    ego: tuple[Sequence[float], Sequence[float]]
    size: Size
    key_frame: bool


class NuScenes(FileDataset):
    """The camera pictures of the tables `ROOT/VERSION/*.json`; file names in them start from ROOT.

    Boxes belong to key frames, and are annotated at the lidar's time: where the picture was taken up to 50 ms
    before or after, moving objects are off by their motion, the own motion is taken into account.

    Args:
        root: folder that holds the tables' folder, samples and sweeps.
        version: folder of the tables.
        cameras: such as CAM_FRONT; empty: all.
        scenes: such as scene-0061; empty: all.
        sweeps: also the pictures between key frames, which have no boxes.
        objects: `projected`: what each picture shows of the 3-D boxes as 2-D boxes, hidden objects included.
        min_points: lidar and radar points together that a box must hold.
        label_map: from the categories' names.

    Raises:
        DatasetError: a table is missing or damaged, or an entry refers to one that is not there.
    """

    def __init__(
        self,
        root: Path,
        version: str = "v1.0-trainval",
        cameras: tuple[str, ...] = (),
        scenes: tuple[str, ...] = (),
        *,
        sweeps: bool = False,
        objects: Literal["none", "projected"] = "none",
        min_points: int = 0,
        label_map: LabelMapLike = "nuscenes_to_detection10",
    ) -> None:
        tables = check_folder(root / version, "the tables of nuScenes")
        self._projected = objects == "projected"
        self._min_points = min_points
        chosen = load_label_map(label_map)
        try:
            moments = _samples(tables, scenes)
            self._calibrations = {item["token"]: item for item in _table(tables, "calibrated_sensor")}
            channels = {item["token"]: item["channel"] for item in _table(tables, "sensor")}
            _check_cameras(tables, cameras, channels.values())
            poses = {item["token"]: item for item in _table(tables, "ego_pose")}
            entries, self._shots = [], []
            for item in sorted(_table(tables, "sample_data"), key=lambda item: int(item["timestamp"])):
                sensor = channels[self._calibrations[item["calibrated_sensor_token"]]["sensor_token"]]
                if not sensor.startswith("CAM") or (cameras and sensor not in cameras):
                    continue
                if item["sample_token"] not in moments or not (sweeps or item["is_key_frame"]):
                    continue
                ego = poses[item["ego_pose_token"]]
                self._shots.append(
                    _Shot(
                        item["sample_token"], item["calibrated_sensor_token"],
                        (ego["translation"], ego["rotation"]), (item["height"], item["width"]),
                        item["is_key_frame"],
                    )
                )  # fmt: skip
                file = Path(item["filename"])
                entries.append(Entry(file.with_suffix("").as_posix(), root / file))
            self._places = {entry.name: place for place, entry in enumerate(entries)}
            self._read_boxes(tables, {shot.sample for shot in self._shots}, chosen.target_of)
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{tables}: a table lacks {error} ({type(error).__name__}); unpack all of the metadata again"
            ) from error
        super().__init__(f"nuScenes {version}", entries, chosen)

    def poses(self, index: int) -> tuple[Floats, Floats]:
        """Return the poses of the vehicle and of the camera when a picture was taken.

        Returns:
            global_from_base and base_from_camera, 4x4, metres.
        """
        shot = self._shots[index]
        calibration = self._calibrations[shot.calibration]
        return record_pose(*shot.ego), record_pose(calibration["translation"], calibration["rotation"])

    def boxes(self, index: int) -> tuple[Box3D, ...] | None:
        """Return the 3-D boxes around a picture, in the vehicle's frame when it was taken; None in sweeps."""
        shot = self._shots[index]
        if not shot.key_frame:
            return None
        base_from_global = invert(record_pose(*shot.ego))
        return tuple(
            Box3D(
                int(numbers[0]), base_from_global @ record_pose(values[:3], values[6:]),
                values[[4, 3, 5]], *map(int, numbers[1:]),
            )
            for values, numbers in zip(*self._around.get(shot.sample, ((), ())), strict=True)
        )  # fmt: skip

    def _read_boxes(self, tables: Path, samples: set[str], target_of: Callable[[str], int | None]) -> None:
        """Keep the boxes of the samples as arrays: translation, width, length, height, quaternion."""
        categories = {item["token"]: item["name"] for item in _table(tables, "category")}
        instances = {
            item["token"]: (number, categories[item["category_token"]])
            for number, item in enumerate(_table(tables, "instance"), 1)
        }
        found: dict[str, list[tuple[list[float], list[int]]]] = {}
        for item in _table(tables, "sample_annotation"):
            if item["sample_token"] not in samples:
                continue
            number, name = instances[item["instance_token"]]
            if (target := target_of(name)) is None:
                raise DatasetError(f"{tables} has the category {name}, which is not in the label map")
            points = item["num_lidar_pts"], item["num_radar_pts"]
            if target != IGNORED and sum(points) >= self._min_points:
                values = [*item["translation"], *item["size"], *item["rotation"]]
                found.setdefault(item["sample_token"], []).append((values, [target, number, *points]))
        self._around = {
            sample: (np.array([v for v, _ in boxes], np.float64), np.array([n for _, n in boxes], np.int64))
            for sample, boxes in found.items()
        }

    def _camera(self, entry: Entry, size: Size) -> PinholeCamera:
        shot = self._shots[self._places[entry.name]]
        try:
            k = np.array(self._calibrations[shot.calibration]["camera_intrinsic"], np.float64).reshape(3, 3)
            lens = PinholeCamera(
                width=shot.size[1], height=shot.size[0], fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2]
            )
        except (ValueError, PerceptionError) as error:
            raise DatasetError(f"{entry.name}: its calibrated_sensor cannot be used: {error}") from error
        check_camera(lens, f"{entry.name} in sample_data", size)
        return lens

    def _objects(self, entry: Entry, size: Size) -> tuple[ObjectLabel, ...] | None:
        place = self._places[entry.name]
        boxes = self.boxes(place) if self._projected else None
        if boxes is None:
            return None
        lens, base_from_camera = self._camera(entry, size), self.poses(place)[1]
        around = ((box, box_in_picture(box, lens, base_from_camera)) for box in boxes)
        return tuple(
            ObjectLabel(box.class_id, shown, instance_id=box.instance_id)
            for box, shown in around
            if shown is not None
        )


def _table(folder: Path, name: str) -> list[Record]:
    file = folder / f"{name}.json"
    try:
        content = json.loads(read_bytes(file))
    except ValueError as error:
        raise DatasetError(f"{file} is damaged: {error}; unpack the metadata again") from error
    if not isinstance(content, list):
        raise DatasetError(f"{file} is no table of nuScenes: it must be a list of records")
    return content


def _check_cameras(tables: Path, cameras: Sequence[str], channels: Iterable[str]) -> None:
    known = sorted(name for name in channels if name.startswith("CAM"))
    if missing := [name for name in cameras if name not in known]:
        raise DatasetError(f"{tables} has no camera {missing[0]}; it has {', '.join(known)}")


def _samples(tables: Path, scenes: Sequence[str]) -> set[str]:
    """Return the tokens of the moments of some scenes, or of all."""
    names = {item["token"]: item["name"] for item in _table(tables, "scene")}
    if missing := [name for name in scenes if name not in names.values()]:
        known = ", ".join(sorted(names.values())[:10])
        raise DatasetError(f"{tables} has no scene {missing[0]}; it has {len(names)}, such as {known}")
    samples = _table(tables, "sample")
    return {item["token"] for item in samples if not scenes or names[item["scene_token"]] in scenes}
