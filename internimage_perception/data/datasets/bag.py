"""The pictures of recordings, with the truth beside them, of `internimage-perception scene` or of people."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from internimage_perception.bags.reader import BagMessage, BagReader, open_bags
from internimage_perception.data.datasets.bag_index import BagIndex, Shot, index_bag
from internimage_perception.data.datasets.bag_truth import BagTruth
from internimage_perception.data.datasets.label_map_file import LabelMapLike, map_or_classes
from internimage_perception.data.datasets.pictures import check_camera
from internimage_perception.data.sample import Regions, Sample
from internimage_perception.errors import BagError, DatasetError, ImageError
from internimage_perception.geometry import CameraModel, Rig
from internimage_perception.inference.messages import frame_from_message


class BagImages:
    """Every camera's pictures of a bag (rosbag2 or ROS 1), named CAMERA/STAMP_NS.

    Opening reads the bag once, to list its pictures. Truth is that of docs/evaluation.md,
    `TRUTH/classes/CAMERA/STAMP_NS.png`, and boxes where `TRUTH/objects/STAMP_NS.json` is there
    (docs/street.md). With truth, pictures without it are left out. The lens comes from the rig, or else from
    CameraInfo; where it is known, samples say which pixels lie outside it or show the own car.

    Args:
        bag: a bag, or the folder of a recording that holds `bag`, `truth` and `rig.yaml`.
        cameras: names in the rig, or what topics are called; empty: all.
        truth: folder that holds `classes`; none: `truth` inside or beside the bag, if there.
        rig: rig file; none: `rig.yaml` beside the bag, if there.
        labelled: false: leave truth aside; true: it must be there.
        label_map: from the truth's ids; none: they are ids of `classes`.
        classes: names, or a list of classes in YAML; none: those of DACON with Background. Only without
            `label_map`.

    Raises:
        BagError: the bag is missing or damaged, or has no pictures.
        DatasetError: no truth where it must be, or none that belongs to a picture.
        ConfigError: label map or classes cannot be used, or both are given; no such camera.
        CalibrationError: the rig file cannot be used.
    """

    def __init__(
        self,
        bag: Path,
        cameras: tuple[str, ...] = (),
        truth: Path | None = None,
        rig: Path | None = None,
        *,
        labelled: bool | None = None,
        label_map: LabelMapLike | None = None,
        classes: Path | tuple[str, ...] | None = None,
    ) -> None:
        whole = bag / "bag" if (bag / "bag").is_dir() and not (bag / "metadata.yaml").exists() else bag
        self._bag, self._map = whole, map_or_classes(label_map, classes)
        rig_file = rig if rig is not None else whole.parent / "rig.yaml"
        self._rig = Rig.load(rig_file) if rig is not None or rig_file.exists() else None
        with open_bags(whole) as reader:
            found = index_bag(reader, whole, self._rig, cameras)
        self._truth = None if labelled is False else BagTruth.find(whole, truth)
        if self._truth is None and (labelled or truth is not None):
            places = truth or f"{whole}/truth, {whole.parent}/truth"
            raise DatasetError(f"{whole} has no truth: no folder classes in {places}; give `truth`")
        self._index = found if self._truth is None else self._labelled(found, self._truth)
        self._names = [shot.name for shot in self._index.shots]
        self._regions: dict[str, Regions | None] = {}
        self._reader: BagReader | None = None
        self._process = 0

    @property
    def names(self) -> Sequence[str]:
        """`Sample.name` of every sample."""
        return self._names

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return self._map.classes

    @property
    def description(self) -> str:
        """What is in it, in a line for people."""
        per_camera = Counter(shot.camera for shot in self._index.shots)
        cameras = ", ".join(f"{name} {count}" for name, count in per_camera.items())
        known = "with labels" if self._truth is not None else "without labels"
        notes = "".join(f"; {note}" for note in self._index.notes)
        return (
            f"bag {self._bag}: {len(self)} pictures {known} ({cameras}), {len(self.classes)} classes{notes}"
        )

    def __len__(self) -> int:
        return len(self._index.shots)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample. Raises DatasetError naming the bag and the picture that cannot be used."""
        shot = self._index.shots[index]
        try:
            frame = frame_from_message(self._message(shot).message, shot.camera, shot.receive_ns)
            # A copy: the frame is a read-only view of the bag's bytes.
            image = np.array(frame.decode("rgb"))
        except (BagError, ImageError) as error:
            raise DatasetError(f"{self._bag}: picture {shot.name} cannot be read: {error}") from error
        size = (image.shape[0], image.shape[1])
        lens = self._index.lenses.get(shot.camera)
        if lens is not None:
            check_camera(lens, f"the lens of camera {shot.camera} of {self._bag}", size)
        labels = objects = None
        if self._truth is not None:
            labels = self._truth.labels(shot, self._map, size)
            objects = self._truth.objects(shot, self._map)
        return Sample(shot.name, image, labels, objects, lens, self._regions_of(shot.camera, lens))

    def __getstate__(self) -> dict[str, object]:
        """Return what another process needs; it opens the bag for itself."""
        return {**self.__dict__, "_reader": None, "_regions": {}}

    def _message(self, shot: Shot) -> BagMessage:
        # A process that was forked shares the file's position with its parent: it needs files of its own.
        if self._reader is None or self._process != os.getpid():
            self._reader, self._process = open_bags(self._bag), os.getpid()
        messages = self._reader.messages([shot.topic], shot.receive_ns, shot.receive_ns + 1)
        for place, message in enumerate(messages):
            if place == shot.place:
                return message
        raise BagError("it is no longer where it was when the bag was opened; open the dataset again")

    def _regions_of(self, camera: str, lens: CameraModel | None) -> Regions | None:
        if lens is None:
            return None
        if camera not in self._regions:
            mask = None if self._rig is None else self._rig.cameras[camera].ego_mask
            regions = Regions.none(lens.height, lens.width)._replace(outside_lens=~lens.valid_mask())
            if mask is not None:
                regions = regions._replace(ego_body=np.array(mask))
            self._regions[camera] = regions if regions.anywhere.any() else None
        return self._regions[camera]

    def _labelled(self, found: BagIndex, truth: BagTruth) -> BagIndex:
        """Keep the pictures that have truth, and say how many of either are left over."""
        shots = tuple(shot for shot in found.shots if truth.knows(shot))
        if not shots:
            raise DatasetError(f"{truth.folder} has truth for none of the pictures of {self._bag}")
        spare = len(found.shots) - len(shots)
        missing = truth.count({shot.camera for shot in found.shots}) - len(shots)
        notes = [*found.notes]
        if spare:
            notes.append(f"{spare} pictures without truth left out")
        if missing > 0:
            notes.append(f"{missing} files of truth without picture")
        return BagIndex(shots, found.lenses, tuple(notes))
