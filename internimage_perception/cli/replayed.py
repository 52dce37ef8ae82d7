"""A replay's results, read back: its cameras and lenses, its masks, the images they belong to."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.replay import BAG_FOLDER
from internimage_perception.bags.sets import learn_lenses
from internimage_perception.bags.sink import PREFIX
from internimage_perception.bags.state import STATE
from internimage_perception.errors import BagError, PerceptionError
from internimage_perception.geometry import Rig
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.frames import Frame
from internimage_perception.inference.image_files import read_header
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.messages import frame_from_message
from internimage_perception.inference.sources import CameraSource, absolute, camera_sources

# An image is recorded at most this long before the last image of its set, nanoseconds.
_SET_SPAN_NS = 5_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedMask:
    """A mask as it was published: uint8 ids (h, w), and the moment its set was complete."""

    camera: str
    stamp_ns: int
    receive_ns: int
    class_ids: npt.NDArray[np.uint8]


class Replayed:
    """The output folder of a replay, together with what was replayed.

    Args:
        folder: the replay's output folder.
        bags: what was replayed.
        bundle: the model it was replayed with.
        rig: the rig file it was replayed with, or None.

    Raises:
        BagError: the folder holds no replay, or one of another model or rig.
    """

    def __init__(self, folder: Path, bags: Sequence[Path], bundle: Bundle, rig: Path | None = None) -> None:
        self.folder, self.bags, self.rig = folder, tuple(bags), rig
        self.report = _read(folder / "report.json")
        state = _read(folder / STATE)
        replay = state.get("replay")
        if not isinstance(replay, dict):
            raise BagError(f"{folder / STATE} is not what a replay writes")
        if replay.get("bundle") != bundle.identity():
            raise BagError(
                f"{folder} was replayed with another model than {bundle.root}; give that one, or replay"
            )
        if replay.get("rig") != (rig.read_text(encoding="utf-8") if rig else None):
            raise BagError(
                f"{folder} was replayed with another rig; give the one it was replayed with (--rig)"
            )
        self.complete = state.get("complete") is True
        self.sources = _sources(replay.get("cameras"), Rig.load(rig) if rig else None, folder)
        self.lenses = LensMasks(Rig.load(rig) if rig else None)
        self.image_hw: dict[str, tuple[int, int]] = {}
        with open_bags(self.bags) as reader:
            learn_lenses(reader, self.sources, self.lenses)
            for source in self.sources:
                if source.image_topic in reader.topics:
                    messages = (
                        item.message for item in reader.messages([source.image_topic]) if not item.error
                    )
                    size = next(filter(None, map(_size, messages)), None)
                    if size is not None:
                        self.image_hw[source.name] = size

    def masks(self, camera: str | None = None, receive_ns: int | None = None) -> Iterator[ReplayedMask]:
        """Yield the masks in the order they were written: all, or those of one camera at one moment."""
        names = [item.name for item in self.sources if camera in (None, item.name)]
        topics = {f"{PREFIX}/{name}/mask": name for name in names}
        stop_ns = None if receive_ns is None else receive_ns + 1
        with open_bags(self.folder / BAG_FOLDER) as reader:
            wanted = [topic for topic in topics if topic in reader.topics]
            for item in reader.messages(wanted, receive_ns, stop_ns):
                frame = frame_from_message(item.message, topics[item.topic], item.receive_ns)
                ids = frame.data.reshape(frame.height, frame.width)
                yield ReplayedMask(frame.camera, frame.stamp_ns, item.receive_ns, ids)

    def image(self, mask: ReplayedMask) -> npt.NDArray[np.uint8] | None:
        """Return the image a mask was made from, uint8 RGB (h, w, 3); None when it is not found."""
        topic = next(item.image_topic for item in self.sources if item.name == mask.camera)
        start_ns, stop_ns = mask.receive_ns - _SET_SPAN_NS, mask.receive_ns + 1
        with open_bags(self.bags) as reader:
            for item in reader.messages([topic], start_ns, stop_ns):
                if item.error is None:
                    frame = frame_from_message(item.message, mask.camera, item.receive_ns)
                    if frame.stamp_ns == mask.stamp_ns:
                        return frame.decode("rgb")
        return None


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BagError(f"{path.parent} holds no replay: {path.name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise BagError(f"{path} is not what a replay writes")
    return content


def _sources(cameras: object, rig: Rig | None, folder: Path) -> list[CameraSource]:
    """Return the cameras of a replay with the CameraInfo topics that it took."""
    if not isinstance(cameras, list) or not all(
        isinstance(item, list) and len(item) == 2 for item in cameras
    ):
        raise BagError(f"{folder / STATE} does not list its cameras")
    topics = {str(name): str(topic) for name, topic in cameras}
    found = camera_sources(None, [f"{name}={topic}" for name, topic in topics.items()])
    if rig is not None:
        known = rig.cameras
        found = [
            item
            if item.name not in known or absolute(known[item.name].image_topic) != item.image_topic
            else CameraSource(item.name, item.image_topic, known[item.name].info_topic or item.info_topic)
            for item in found
        ]
    return [CameraSource(item.name, absolute(item.image_topic), absolute(item.info_topic)) for item in found]


def _size(message: object) -> tuple[int, int] | None:
    """Return (rows, columns) of an image message, None when its header cannot be read."""
    try:
        frame: Frame = frame_from_message(message, "", 0)
        if not frame.compressed:
            return frame.height, frame.width
        header = read_header(frame.data.data)
    except PerceptionError:
        return None
    return header.height, header.width
