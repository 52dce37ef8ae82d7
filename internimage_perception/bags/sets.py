"""FrameSets out of bags: collected by stamp as live, or exactly as a node's set log lists them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from internimage_perception.bags.reader import BagReader
from internimage_perception.errors import BagError, PerceptionError
from internimage_perception.geometry import camera_from_info
from internimage_perception.inference.collector import CollectorConfig, RigCollector
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.messages import frame_from_message
from internimage_perception.inference.ring import CameraStats
from internimage_perception.inference.sources import CameraSource

_MOST_HELD = 64
"""Frames per camera that may wait for a logged set before its missing frame is given up."""


class SetSource:
    """Reads the frames of some cameras from a bag and groups them.

    Args:
        reader: the open bag.
        sources: cameras and their topics, in the rig's order.
        config: how to group; replay drives the collector's clock with the bag's receive times.
        logged: sets to form instead, as `read_set_log` returns them.
        pace: called with each frame's receive time before the frame is used; may sleep.
    """

    def __init__(
        self,
        reader: BagReader,
        sources: Sequence[CameraSource],
        config: CollectorConfig,
        logged: Sequence[Mapping[str, object]] | None = None,
        pace: Callable[[int], None] | None = None,
    ) -> None:
        self._reader = reader
        self._names = [source.name for source in sources]
        self._by_topic = {
            source.image_topic: source for source in sources if source.image_topic in reader.topics
        }
        self.total = reader.message_count(self._by_topic)
        self._collector = RigCollector(self._names, config)
        self._logged = logged
        self._pace = pace or (lambda _: None)
        self.unreadable: dict[str, int] = dict.fromkeys(self._names, 0)
        self.warnings: list[str] = []

    @property
    def stats(self) -> Mapping[str, CameraStats]:
        """Counts per camera so far."""
        return self._collector.stats

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of all cameras in receive order; messages that cannot be read are counted."""
        for message in self._reader.messages(list(self._by_topic)):
            source = self._by_topic[message.topic]
            self._pace(message.receive_ns)
            try:
                yield frame_from_message(message.message, source.name, message.receive_ns)
            except PerceptionError as error:
                self.unreadable[source.name] += 1
                if self.unreadable[source.name] == 1:
                    self.warnings.append(f"{message.topic}: a message cannot be read: {error}")

    def sets(self) -> Iterator[FrameSet]:
        """Yield the sets in order."""
        if self._logged is not None:
            yield from self._logged_sets(self._logged)
            return
        for frame in self.frames():
            # What was due before this frame arrived must not wait for it.
            yield from self._collector.poll(frame.receive_ns)
            yield from self._collector.add(frame, frame.receive_ns)
        yield from self._collector.flush()

    def _logged_sets(self, logged: Sequence[Mapping[str, object]]) -> Iterator[FrameSet]:
        waiting = [_LoggedSet(index, record, self._names) for index, record in enumerate(logged)]
        wanted: dict[tuple[str, int], list[_LoggedSet]] = {}
        for item in waiting:
            for key in item.wanted.items():
                wanted.setdefault(key, []).append(item)
        position = held = 0
        for frame in self.frames():
            counts = self._collector.stats[frame.camera]
            counts.received += 1
            takers = wanted.pop((frame.camera, frame.stamp_ns), None)
            if takers is None:
                counts.skipped += 1
                continue
            counts.collected += 1
            for item in takers:
                item.found[frame.camera] = frame
            while position < len(waiting) and waiting[position].complete:
                yield waiting[position].frame_set()
                # Its pixels are not needed any more.
                waiting[position].found = {}
                position += 1
                held = 0
            held += 1
            if held > _MOST_HELD * len(self._names):
                break
        if position < len(waiting):
            raise waiting[position].lacking(position)


class _LoggedSet:
    """One line of a set log and the frames found for it so far."""

    def __init__(self, index: int, record: Mapping[str, object], names: Sequence[str]) -> None:
        frames = record.get("frames")
        stamp = record.get("stamp_ns")
        if not isinstance(frames, dict) or not isinstance(stamp, int) or not set(frames) <= set(names):
            message = (
                f"line {index + 1} of the set log does not fit cameras {', '.join(names)}: {dict(record)}"
            )
            raise BagError(message)
        number = record.get("index", index)
        self.index = number if isinstance(number, int) else index
        self.stamp_ns = stamp
        self.wanted = {str(name): int(value) for name, value in frames.items()}
        self.found: dict[str, Frame] = {}
        self._names = names

    @property
    def complete(self) -> bool:
        return len(self.found) == len(self.wanted)

    def lacking(self, position: int) -> BagError:
        """Return the error that names the first frame the bags do not have."""
        camera, stamp = next(item for item in self.wanted.items() if item[0] not in self.found)
        message = (
            f"the set log's set {position} needs the image of camera {camera} stamped {stamp} ns, "
            "which these bags lack; replay the bags that were recorded with the log"
        )
        return BagError(message)

    def frame_set(self) -> FrameSet:
        frames = {name: self.found[name] for name in self._names if name in self.found}
        missing = tuple(name for name in self._names if name not in frames)
        return FrameSet(self.index, self.stamp_ns, frames, missing)


def read_set_log(path: Path) -> list[dict[str, object]]:
    """Read a node's set log (JSON lines). Raises BagError naming the file and line that do not fit."""
    records: list[dict[str, object]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BagError(f"cannot read set log {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            # A node that was killed leaves half a last line; everything before it stands.
            if number == len(lines):
                break
            raise BagError(f"{path}, line {number}: not a line of a set log ({error})") from error
        if not isinstance(record, dict):
            raise BagError(f"{path}, line {number}: not a line of a set log")
        frames = record.get("frames")
        if isinstance(frames, dict) and 0 in frames.values():
            message = (
                f"{path}, line {number}: lists images without a stamp, which cannot be told apart; "
                "replay without the log"
            )
            raise BagError(message)
        records.append(record)
    return records


def learn_lenses(reader: BagReader, sources: Sequence[CameraSource], lenses: LensMasks) -> list[str]:
    """Give `lenses` each camera's first usable CameraInfo of the bag; returns what is missing, in words.

    All of them are read before the first frame, so that a replay's answers do not depend on timing.
    """
    missing: list[str] = []
    for source in sources:
        if source.name in lenses.models:
            continue
        if source.info_topic not in reader.topics:
            missing.append(
                f"camera {source.name}: no CameraInfo on {source.info_topic} and no lens in the rig; "
                "its masks cover the whole image"
            )
            continue
        problem = "holds no message"
        for message in reader.messages([source.info_topic]):
            try:
                lenses.learn(source.name, camera_from_info(message.message))
            except PerceptionError as error:
                problem = str(error)
            else:
                break
        else:
            missing.append(f"camera {source.name}: {source.info_topic}: {problem}")
    return missing
