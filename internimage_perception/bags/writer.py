"""Write bags that survive a kill: segment by segment, each safe from the moment it is finished."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, TypeVar

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from internimage_perception.bags.segments import SegmentFolder
from internimage_perception.bags.types import message_types
from internimage_perception.errors import BagError, PerceptionError
from internimage_perception.inference.sources import absolute

_METADATA_VERSION: Final = 8  # Version 9 writes QoS in a way that ROS 2 Humble cannot read.
_UNSPECIFIED = QosTime(0, 0)
_LATCHED = Qos(
    history=QosHistory.KEEP_LAST,
    depth=1,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.TRANSIENT_LOCAL,
    deadline=_UNSPECIFIED,
    lifespan=_UNSPECIFIED,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=_UNSPECIFIED,
    avoid_ros_namespace_conventions=False,
)
_T = TypeVar("_T")


class _Topic(NamedTuple):
    msgtype: str
    latched: bool


class _Segment:
    """The segment being written."""

    def __init__(self, path: Path, storage: str, first_ns: int) -> None:
        self.path = path
        self.first_ns = first_ns
        self.size = 0
        self._connections: dict[str, Connection] = {}
        self._writer = Writer(path, version=_METADATA_VERSION, storage_plugin=StoragePlugin[storage.upper()])
        if storage == "mcap":
            # Masks shrink to a fiftieth in 0.4 ms; sqlite3 has no such compression within its file.
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()

    def add_topic(self, name: str, topic: _Topic) -> None:
        qualities = [_LATCHED] if topic.latched else []
        self._connections[name] = self._writer.add_connection(
            name, topic.msgtype, typestore=message_types(), offered_qos_profiles=qualities
        )

    def write(self, name: str, data: memoryview, receive_ns: int) -> None:
        self._writer.write(self._connections[name], receive_ns, data)
        self.size += len(data)

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        with suppress(Exception):
            self._writer.abort()


class SegmentedBagWriter(AbstractContextManager["SegmentedBagWriter"]):
    """Writes a rosbag2 folder in segments; a kill loses the unfinished one, never a finished one.

    A folder that an earlier writer of this class left, killed or closed, is continued behind its finished
    segments. Leaving a `with` block by an exception discards the unfinished segment.

    Args:
        folder: the bag's folder; created if need be.
        storage: "mcap" (compressed by zstd) or "sqlite3".
        max_segment_ns: start a new segment before one would span this receive time, nanoseconds.
        max_segment_bytes: start a new segment when one holds this many bytes before compression.
            Without either limit, segments end at `roll` only.
        metadata: custom data for metadata.yaml. A bag is continued only if it agrees with what is there.

    Raises:
        BagError: the folder cannot be written, is in use, or holds another recording.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        storage: str = "mcap",
        max_segment_ns: int | None = None,
        max_segment_bytes: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if storage not in {"mcap", "sqlite3"}:
            message = f"bag storage {storage!r} is unknown: use mcap or sqlite3"
            raise BagError(message)
        self._storage = storage
        self._max_ns = max_segment_ns
        self._max_bytes = max_segment_bytes
        self._folder = SegmentFolder(Path(folder), storage, metadata or {})
        self._topics: dict[str, _Topic] = {}
        self._latched: dict[str, memoryview] = {}
        self._segment: _Segment | None = None
        self._last_ns = self._folder.last_receive_ns
        self._state = "open"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @property
    def path(self) -> Path:
        """The bag's folder."""
        return self._folder.path

    @property
    def notes(self) -> list[str]:
        """The note of each finished segment, in order, those of a continued bag included."""
        return list(self._folder.notes)

    @property
    def metadata(self) -> dict[str, str]:
        """Custom data of the bag, that of a continued bag included."""
        return dict(self._folder.metadata)

    @property
    def last_receive_ns(self) -> int | None:
        """Latest receive time written or found, nanoseconds; None before the first message."""
        return self._last_ns

    def add_topic(self, name: str, msgtype: str, *, latched: bool = False) -> None:
        """Declare a topic.

        Args:
            name: topic name.
            msgtype: a common interface or a message of this package, such as "sensor_msgs/msg/Image".
            latched: transient local; its last message is repeated at the start of every segment, so that
                each file stands alone.

        Raises:
            BagError: an unknown type, or one that differs from what the bag already has.
        """
        self._require_open()
        name, topic = absolute(name), _Topic(msgtype, latched)
        if msgtype not in message_types().fielddefs:
            message = f"{name}: message type {msgtype} is not known"
            raise BagError(message)
        has = self._topics[name].msgtype if name in self._topics else self._folder.topics.get(name, msgtype)
        if has != msgtype:
            message = f"{self.path} has {name} as {has}; it cannot hold {msgtype} too"
            raise BagError(message)
        if self._topics.setdefault(name, topic) is topic and self._segment is not None:
            segment = self._segment
            self._guarded(lambda: segment.add_topic(name, topic))

    def write(self, topic: str, message: object, receive_ns: int) -> None:
        """Write a message: any object with the type's fields, numbers of arrays as numpy arrays.

        Args:
            topic: a declared topic.
            message: for example from `types.make_message`, or one that was read from a bag.
            receive_ns: the time it shall have in the bag, nanoseconds.

        Raises:
            BagError: an undeclared topic, a message that does not fit its type, or the disk refuses.
        """
        self._require_open()
        name = absolute(topic)
        if name not in self._topics:
            text = f"topic {name} was not declared; declared are {', '.join(self._topics) or 'none'}"
            raise BagError(text)
        msgtype, latched = self._topics[name]
        try:
            data = message_types().serialize_cdr(message, msgtype)
        except Exception as error:
            # Generated code fails on wrong fields in any way.
            text = f"{name}: the message does not fit {msgtype}: {type(error).__name__}: {error}"
            raise BagError(text) from error
        if self._is_full(receive_ns):
            self.roll()
        segment = self._segment or self._begin(receive_ns, besides=name)
        self._guarded(lambda: segment.write(name, data, receive_ns))
        if latched:
            self._latched[name] = data
        self._last_ns = max(receive_ns, self._last_ns or receive_ns)

    def roll(self, note: str = "") -> None:
        """Finish the segment: from now on it is safe, together with its note.

        Args:
            note: kept in metadata.yaml, written in the same step that makes the segment count. It comes
                back in `notes`. Nothing happens when nothing was written since the last segment.

        Raises:
            BagError: the disk refuses; the finished segments are intact.
        """
        self._require_open()
        if self._segment is not None:
            self._finish(self._segment, note)

    def close(self) -> None:
        """Finish the last segment and the bag. A bag without a message becomes a valid, empty one.

        Raises BagError when the disk refuses; the finished segments are intact.
        """
        if self._state == "closed":
            return
        self._require_open()
        if self._segment is None and not self._folder.count:
            self._begin(0)
        if self._segment is not None:
            self._finish(self._segment, "")
        self._end("closed")

    def abort(self) -> None:
        """End without the unfinished segment."""
        if self._state == "open":
            self._end("closed")

    def _require_open(self) -> None:
        if self._state != "open":
            message = f"the bag {self.path} is {self._state}: nothing more can be written"
            raise BagError(message)

    def _is_full(self, receive_ns: int) -> bool:
        if (segment := self._segment) is None:
            return False
        too_long = self._max_ns is not None and receive_ns - segment.first_ns >= self._max_ns
        too_big = self._max_bytes is not None and segment.size >= self._max_bytes
        return too_long or too_big

    def _begin(self, receive_ns: int, besides: str = "") -> _Segment:
        """Start a segment with all topics and the last message of each latched one."""

        def begin() -> _Segment:
            segment = _Segment(self._folder.part(), self._storage, receive_ns)
            self._segment = segment
            for name, topic in self._topics.items():
                segment.add_topic(name, topic)
            for name, data in self._latched.items():
                if name != besides:
                    segment.write(name, data, receive_ns)
            return segment

        return self._guarded(begin)

    def _finish(self, segment: _Segment, note: str) -> None:
        def finish() -> None:
            segment.close()
            self._folder.commit(segment.path, note)

        self._guarded(finish)
        self._segment = None

    def _guarded(self, action: Callable[[], _T]) -> _T:
        """Run what touches the disk; a failure ends the writer, because the segment may be torn."""
        try:
            return action()
        except (OSError, sqlite3.Error, WriterError, PerceptionError, ValueError, OverflowError) as error:
            self._end("broken")
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            message = f"cannot write to the bag {self.path}: {reason}; its finished segments are intact"
            raise BagError(message) from error

    def _end(self, state: str) -> None:
        self._state = state
        if self._segment is not None:
            self._segment.abort()
            self._segment = None
        self._folder.discard()
        self._folder.release()
