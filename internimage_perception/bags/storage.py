"""Open what a path names as bag files, and read on behind damaged places."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag1, ConnectionExtRosbag2, QosDurability
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader

from internimage_perception.bags.damage import explain_damage
from internimage_perception.errors import BagError
from internimage_perception.inference.sources import absolute

STORAGE_SUFFIXES = (".mcap", ".db3")
_FIRST_STRIDE_NS = 1_000_000


class Damage(NamedTuple):
    """A place of a file that cannot be read.

    Attributes:
        after_ns: receive time of the last message before it (the file's start, if there was none).
        reason: what the reader ran into.
    """

    after_ns: int
    reason: str


class BagFile:
    """One opened bag file (or compressed rosbag2 folder).

    Attributes:
        path: the file.
        connections: its topics as rosbags describes them, with message counts.
        start_ns: receive time of the first message, nanoseconds; 0 in an empty file.
        end_ns: receive time of the last message, nanoseconds; 0 in an empty file.
        message_count: number of messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = Ros1Reader(path) if path.suffix == ".bag" else Ros2Reader(path)
        self._reader.open()
        self.connections = list(self._reader.connections)
        self.message_count = sum(connection.msgcount for connection in self.connections)
        # rosbags' end is exclusive, and its times of an empty file are placeholders.
        self.start_ns = self._reader.start_time if self.message_count else 0
        self.end_ns = self._reader.end_time - 1 if self.message_count else 0

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def messages(
        self, connections: Collection[Connection], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes] | Damage]:
        """Yield connection, receive time and bytes in order of time, and Damage where reading broke off.

        Args:
            connections: which; at least one.
            start_ns: first receive time wanted.
            stop_ns: receive time from which on nothing is wanted.
        """
        position = start_ns
        last = self.start_ns if start_ns is None else max(self.start_ns, start_ns)
        while True:
            try:
                for item in self._reader.messages(connections, start=position, stop=stop_ns):
                    last = item[1]
                    yield item
            except Exception as error:  # noqa: BLE001  # parsers fail on damaged bytes in any way
                yield Damage(last, f"{type(error).__name__}: {error}")
                position = self._readable_again(connections, last)
                if position is None or (stop_ns is not None and position >= stop_ns):
                    return
                last = position
            else:
                return

    def _readable_again(self, connections: Collection[Connection], after_ns: int) -> int | None:
        """Return the earliest time after `after_ns` from which messages can be read, or None.

        Storage is damaged in whole chunks whose extent in time is unknown here: stride ahead, doubling,
        until reading works, then halve back to the place where it begins to.
        """
        damaged, stride = after_ns, _FIRST_STRIDE_NS
        if after_ns >= self.end_ns:
            return None
        while True:
            readable = min(after_ns + stride, self.end_ns)
            if self._reads_from(connections, readable):
                break
            if readable == self.end_ns:
                return None
            damaged, stride = readable, 2 * stride
        while readable - damaged > 1:
            middle = (damaged + readable) // 2
            if self._reads_from(connections, middle):
                readable = middle
            else:
                damaged = middle
        return readable

    def _reads_from(self, connections: Collection[Connection], start_ns: int) -> bool:
        """Say whether reading from `start_ns` on gets to a message, or to the end, without stumbling."""
        try:
            next(iter(self._reader.messages(connections, start=start_ns)), None)
        except Exception:  # noqa: BLE001  # as above
            return False
        return True


def open_files(path: Path) -> tuple[list[BagFile], list[str]]:
    """Open the bag that `path` names; returns its files and warnings.

    A rosbag2 folder, its metadata.yaml, a bare .mcap or .db3 file, or a ROS 1 .bag. In a folder without
    metadata.yaml (a recorder that was killed) files that cannot be read are left out with a warning.
    Raises BagError.
    """
    if path.name == "metadata.yaml":
        path = path.parent
    if not path.exists():
        message = f"there is no bag at {path}"
        raise BagError(message)
    if not path.is_dir():
        return [_open_file(path)], []
    listed = _listed_files(path)
    if listed is None:
        return _open_unlisted(path)
    opened: list[BagFile] = []
    with ExitStack() as on_error:
        for name in listed:
            opened.append(_open_file(name))
            on_error.callback(opened[-1].close)
        on_error.pop_all()
    return opened, []


def close_files(files: Collection[BagFile]) -> None:
    """Close all files."""
    for file in files:
        file.close()


def is_latched(connection: Connection) -> bool:
    """Say whether the topic was recorded as latched (ROS 1) or transient local (ROS 2)."""
    extension = connection.ext
    if isinstance(extension, ConnectionExtRosbag1):
        return bool(extension.latching)
    return any(
        quality.durability == QosDurability.TRANSIENT_LOCAL for quality in extension.offered_qos_profiles
    )


def topic_of(connection: Connection) -> str:
    """Return the topic with its leading slash."""
    return absolute(connection.topic)


def _open_file(path: Path) -> BagFile:
    if not path.exists():
        message = (
            f"{path.parent / 'metadata.yaml'} lists {path.name}, but that file is missing: copy it there"
        )
        raise BagError(message)
    if not path.is_dir() and path.suffix not in (*STORAGE_SUFFIXES, ".bag"):
        raise BagError(explain_damage(path, None))
    try:
        file = BagFile(path)
    except Exception as error:
        # Whatever a damaged file makes the parsers stumble over, the reader of the message needs the cause.
        raise BagError(explain_damage(path, error)) from error
    if foreign := {
        form
        for connection in file.connections
        if isinstance(connection.ext, ConnectionExtRosbag2)
        and (form := connection.ext.serialization_format) not in ("cdr", "")
    }:
        file.close()
        message = f"{path} holds messages serialised as {', '.join(sorted(foreign))}; only cdr can be read"
        raise BagError(message)
    return file


def _listed_files(folder: Path) -> list[Path] | None:
    """Return what metadata.yaml lists (the folder itself when it is compressed), None without a usable one.

    The files are opened one by one rather than through rosbags' folder reader, because that one leaves out
    topics whose quality of service was edited in metadata.yaml, a common way to mend a recording.
    """
    try:
        content = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
        information = content["rosbag2_bagfile_information"]
        names = [Path(str(name)).name for name in information["relative_file_paths"]]
        compressed = str(information.get("compression_mode") or "none").lower() != "none"
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None
    return [folder] if compressed else [folder / name for name in names]


def _open_unlisted(folder: Path) -> tuple[list[BagFile], list[str]]:
    candidates = sorted(path for path in folder.iterdir() if path.suffix in STORAGE_SUFFIXES)
    if not candidates:
        raise BagError(_no_bag(folder))
    opened: list[BagFile] = []
    failures: list[str] = []
    for path in candidates:
        try:
            opened.append(_open_file(path))
        except BagError as error:
            failures.append(str(error))
    if not opened:
        raise BagError("; ".join(failures))
    state = "a damaged" if (folder / "metadata.yaml").exists() else "no"
    warning = (
        f"{folder} has {state} metadata.yaml: the recorder was probably killed; read {len(opened)} files"
    )
    return opened, [warning, *(f"left out: {failure}" for failure in failures)]


def _no_bag(folder: Path) -> str:
    inside = sorted(path.name for path in folder.iterdir())
    bags = [name for name in inside if name.endswith(".bag") or (folder / name / "metadata.yaml").exists()]
    if bags:
        return f"{folder} is no bag itself, but holds some: name them, for example {folder / bags[0]}"
    found = f"it holds {', '.join(inside[:5])}" if inside else "it is empty"
    return f"{folder} is no bag: a rosbag2 folder has a metadata.yaml and .mcap or .db3 files; {found}"
