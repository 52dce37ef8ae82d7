"""Read bags of every kind as one stream of messages: rosbag2 (sqlite3, MCAP) and ROS 1."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection

from internimage_perception.bags.storage import BagFile, Damage, close_files, is_latched, open_files, topic_of
from internimage_perception.bags.types import CAMERA_INFO, IMAGE_TYPES, deserialize
from internimage_perception.errors import BagError
from internimage_perception.inference.sources import absolute


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic of a bag.

    Attributes:
        name: with leading slash, also where the recorder left it out.
        msgtype: such as "sensor_msgs/msg/Image".
        count: number of messages.
        latched: recorded as latched (ROS 1) or transient local (ROS 2).
    """

    name: str
    msgtype: str
    count: int
    latched: bool = False


class BagMessage:
    """A recorded message; it is deserialised when first asked for.

    Attributes:
        topic: with leading slash.
        msgtype: such as "sensor_msgs/msg/Image".
        receive_ns: when it was recorded, nanoseconds.
    """

    __slots__ = ("_error", "_load", "_message", "msgtype", "receive_ns", "topic")

    def __init__(self, topic: str, msgtype: str, receive_ns: int, load: Callable[[], object]) -> None:
        self.topic = topic
        self.msgtype = msgtype
        self.receive_ns = receive_ns
        self._load: Callable[[], object] | None = load
        self._message: object = None
        self._error: BagError | None = None

    @property
    def message(self) -> object:
        """The message, with ROS 2's field names; arrays are views of its bytes.

        Raises BagError when it is damaged.
        """
        if self._load is not None:
            load, self._load = self._load, None
            try:
                self._message = load()
            except BagError as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._message

    @property
    def error(self) -> str | None:
        """Why the message cannot be read, or None."""
        try:
            _ = self.message
        except BagError as error:
            return str(error)
        return None


class BagReader(AbstractContextManager["BagReader"]):
    """One or several bags as one recording. Use `open_bags`; one thread at a time.

    Attributes:
        topics: name (with leading slash) to TopicInfo, in order of name.
        start_ns: receive time of the first message, nanoseconds.
        end_ns: receive time of the last message, nanoseconds.
        warnings: what was left out when opening, in words.
        damaged: messages and places met so far that could not be read.
    """

    def __init__(self, files: Sequence[BagFile], warnings: Sequence[str] = ()) -> None:
        self._files = list(files)
        self.warnings = tuple(warnings)
        self.damaged = 0
        filled = [file for file in files if file.message_count]
        self.start_ns = min((file.start_ns for file in filled), default=0)
        self.end_ns = max((file.end_ns for file in filled), default=0)
        self.topics = _summarize(connection for file in files for connection in file.connections)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        files, self._files = self._files, []
        close_files(files)

    @property
    def duration_ns(self) -> int:
        """Time from the first to the last message, nanoseconds."""
        return self.end_ns - self.start_ns

    def image_topics(self) -> list[TopicInfo]:
        """Return the topics of sensor_msgs/Image and CompressedImage."""
        return [topic for topic in self.topics.values() if topic.msgtype in IMAGE_TYPES]

    def camera_info_topics(self) -> list[TopicInfo]:
        """Return the topics of sensor_msgs/CameraInfo."""
        return [topic for topic in self.topics.values() if topic.msgtype == CAMERA_INFO]

    def message_count(self, topics: Iterable[str] | None = None) -> int:
        """Return how many messages `topics` (None: all) hold together. Raises BagError for a missing one."""
        return sum(self.topics[name].count for name in self._wanted(topics))

    def messages(
        self, topics: Iterable[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Return an iterator over messages in receive order.

        Where a part of a file cannot be read, each of the wanted topics gets one message whose `error` says
        so, and reading goes on behind it.

        Args:
            topics: names, with or without leading slash; None for all.
            start_ns: first receive time wanted, nanoseconds.
            stop_ns: receive time from which on nothing is wanted, nanoseconds.

        Raises:
            BagError: a topic that the bag does not have; the reader is closed.
        """
        if not self._files:
            raise BagError("the bag is closed")
        wanted = self._wanted(topics)
        streams = [
            self._stream(file, chosen, start_ns, stop_ns)
            for file in self._files
            if (chosen := [item for item in file.connections if topic_of(item) in wanted and item.msgcount])
            and (start_ns is None or file.end_ns >= start_ns)
            and (stop_ns is None or file.start_ns < stop_ns)
        ]
        return (item for _, item in merge(*streams, key=lambda pair: pair[0]) if item is not None)

    def _wanted(self, topics: Iterable[str] | None) -> set[str]:
        if topics is None:
            return set(self.topics)
        names = {absolute(topic) for topic in topics}
        if missing := sorted(names - set(self.topics)):
            raise BagError(self._lacks(missing))
        return names

    def _lacks(self, missing: Sequence[str]) -> str:
        images = [f"{topic.name} ({topic.count})" for topic in self.image_topics()]
        has = f"its image topics are {', '.join(images)}" if images else "it has no image topics"
        if not images and self.topics:
            has += f", only {', '.join(list(self.topics)[:10])}"
        return f"the bag has no topic {', '.join(missing)}; {has}"

    def _stream(
        self, file: BagFile, connections: Sequence[Connection], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[tuple[int, BagMessage | None]]:
        # Merging asks every stream for its first item: a mark without message keeps the files of later
        # times from being read, and their chunks from being held, until their time has come.
        yield file.start_ns, None
        for item in file.messages(connections, start_ns, stop_ns):
            if isinstance(item, Damage):
                self.damaged += 1
                reason = f"{file.path} is damaged, messages are missing here ({item.reason})"
                for connection in connections:
                    yield item.after_ns, self._lost(connection, item.after_ns, reason)
            else:
                connection, receive_ns, raw = item
                yield receive_ns, self._found(connection, receive_ns, raw)

    def _found(self, connection: Connection, receive_ns: int, raw: bytes) -> BagMessage:
        def load() -> object:
            try:
                return deserialize(connection, raw)
            except BagError:
                self.damaged += 1
                raise

        return BagMessage(topic_of(connection), connection.msgtype, receive_ns, load)

    @staticmethod
    def _lost(connection: Connection, receive_ns: int, reason: str) -> BagMessage:
        def load() -> object:
            raise BagError(reason)

        return BagMessage(topic_of(connection), connection.msgtype, receive_ns, load)


def open_bags(paths: str | Path | Sequence[str | Path]) -> BagReader:
    """Open bags as one recording, their messages merged by receive time.

    Args:
        paths: a rosbag2 folder (sqlite3 or MCAP, split, compressed), a bare .mcap or .db3 file, a ROS 1 .bag,
            or several of these in any mixture.

    Returns:
        A reader to be closed, best by `with`.

    Raises:
        BagError: a path that is missing, no bag, not closed, damaged or given twice; no messages at all.
    """
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not given:
        raise BagError("no bag given")
    resolved = [path.resolve() for path in given]
    if twice := sorted({str(path) for path in resolved if resolved.count(path) > 1}):
        message = f"bag given twice: {', '.join(twice)}"
        raise BagError(message)
    files: list[BagFile] = []
    warnings: list[str] = []
    with ExitStack() as on_error:
        for path in given:
            opened, notes = open_files(path)
            on_error.callback(close_files, opened)
            files += opened
            warnings += notes
        if not any(file.message_count for file in files):
            message = f"{', '.join(map(str, given))} holds no messages"
            raise BagError(message)
        on_error.pop_all()
    return BagReader(files, warnings)


def _summarize(connections: Iterable[Connection]) -> dict[str, TopicInfo]:
    topics: dict[str, TopicInfo] = {}
    for connection in connections:
        name = topic_of(connection)
        known = topics.get(name, TopicInfo(name, connection.msgtype, 0))
        latched = known.latched or is_latched(connection)
        topics[name] = TopicInfo(name, known.msgtype, known.count + connection.msgcount, latched)
    return dict(sorted(topics.items()))
