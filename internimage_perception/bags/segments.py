"""The folder of a bag that grows by whole segments: which are finished, and how one more becomes so.

A segment is written beside its place, in `.part`, then moved there, then listed in metadata.yaml, which is
replaced atomically. That last step is the only one that counts: whatever is killed when, metadata.yaml lists
exactly the finished segments, and any rosbag2 reader opens them as one bag.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict, cast

import yaml

from internimage_perception.errors import BagError
from internimage_perception.files import try_lock, write_text

_NOTES = "internimage_perception.notes"
_PART = ".part"
_ROOT = "rosbag2_bagfile_information"
# The list is written anew with every segment; libyaml keeps that cheap in long bags.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Nanoseconds(TypedDict):
    nanoseconds: int


class _Start(TypedDict):
    nanoseconds_since_epoch: int


class _File(TypedDict):
    path: str
    starting_time: _Start
    duration: _Nanoseconds
    message_count: int


class _TopicMetadata(TypedDict):
    name: str
    type: str


class _Topic(TypedDict):
    topic_metadata: _TopicMetadata
    message_count: int


class _Information(TypedDict):
    """What rosbag2's metadata.yaml (version 8) holds, as far as it is changed here."""

    storage_identifier: str
    relative_file_paths: list[str]
    starting_time: _Start
    duration: _Nanoseconds
    message_count: int
    topics_with_message_count: list[_Topic]
    files: list[_File]
    custom_data: dict[str, str] | None


class SegmentFolder:
    """Opens or creates the folder and holds it against other writers until `release`.

    Leftovers of a writer that was killed are removed.

    Args:
        folder: the bag's folder.
        storage: "mcap" or "sqlite3".
        metadata: custom data for metadata.yaml; must agree with what a continued bag has under these names.

    Attributes:
        notes: one per finished segment, in order.
        metadata: custom data, that of a continued bag included.

    Raises:
        BagError: the folder cannot be written, is in use, or holds something else.
    """

    def __init__(self, folder: Path, storage: str, metadata: Mapping[str, str]) -> None:
        self.path = folder
        self._suffix = {"mcap": ".mcap", "sqlite3": ".db3"}[storage]
        self._name = folder.resolve().name
        self.notes: list[str] = []
        self.metadata = dict(metadata)
        self._information: _Information | None = None
        self._created = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            message = f"cannot write a bag to {folder}: {error.strerror}; choose another folder"
            raise BagError(message) from error
        try:
            self._lock()
            self._adopt(storage)
            self._remove_leftovers()
        except OSError as error:
            self.release()
            message = f"cannot write a bag to {folder}: {error.strerror}; choose another folder"
            raise BagError(message) from error
        except BagError:
            self.release()
            raise

    @property
    def topics(self) -> dict[str, str]:
        """Name to type of the topics in finished segments."""
        listed = self._information["topics_with_message_count"] if self._information else []
        return {topic["topic_metadata"]["name"]: topic["topic_metadata"]["type"] for topic in listed}

    @property
    def last_receive_ns(self) -> int | None:
        """Receive time of the last message in finished segments, nanoseconds; None without any."""
        if self._information is None or not self._information["message_count"]:
            return None
        return _start(self._information) + self._information["duration"]["nanoseconds"]

    @property
    def count(self) -> int:
        """Number of finished segments."""
        return len(self._information["relative_file_paths"]) if self._information else 0

    def part(self) -> Path:
        """Return where the next segment is to be written, as a rosbag2 folder of one file."""
        part = self.path / _PART / f"{self._name}_{self.count}"
        part.parent.mkdir(exist_ok=True)
        return part

    def commit(self, part: Path, note: str) -> None:
        """Make the segment that was written to `part` and closed a finished one, with its note.

        Raises OSError or PerceptionError when the disk refuses; then the bag is as it was before.
        """
        added = _load(part / "metadata.yaml")
        (name,) = added["relative_file_paths"]
        with (part / name).open("rb") as written:
            os.fsync(written.fileno())
        notes = [*self.notes, note]
        information = _merge(self._information, added)
        information["custom_data"] = {**self.metadata, _NOTES: json.dumps(notes)}
        text = yaml.dump({_ROOT: information}, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        (part / name).replace(self.path / name)
        try:
            os.fsync(self._handle)
            write_text(self.path / "metadata.yaml", text)
        except BaseException:
            (self.path / name).unlink(missing_ok=True)
            raise
        os.fsync(self._handle)
        self._information, self.notes = information, notes
        self.discard()

    def discard(self) -> None:
        """Remove what was written of an unfinished segment."""
        shutil.rmtree(self.path / _PART, ignore_errors=True)

    def release(self) -> None:
        """Let others write; remove the folder if it was made here and nothing came of it."""
        if self._created:
            with suppress(OSError):
                self.path.rmdir()
        os.close(self._handle)

    def _lock(self) -> None:
        if not try_lock(self._handle):
            message = f"another process is writing to {self.path}: wait for it, or choose another folder"
            raise BagError(message)

    def _adopt(self, storage: str) -> None:
        """Take over the finished segments of a bag that was written by this class."""
        path = self.path / "metadata.yaml"
        if not path.exists():
            return
        information = _load(path)
        custom = dict(information.get("custom_data") or {})
        if _NOTES not in custom:
            message = f"{self.path} holds a bag that was not written here: choose another folder"
            raise BagError(message)
        if information["storage_identifier"] != storage:
            held = information["storage_identifier"]
            message = f"{self.path} holds a {held} bag and cannot be continued as {storage}"
            raise BagError(message)
        if missing := [
            name for name in information["relative_file_paths"] if not (self.path / name).exists()
        ]:
            message = f"{self.path} cannot be continued: it lacks {', '.join(missing)}"
            raise BagError(message)
        self.notes = [str(note) for note in json.loads(custom.pop(_NOTES))]
        for key, value in self.metadata.items():
            if custom.get(key, value) != value:
                message = (
                    f"{self.path} was written with {key} = {custom[key]}, now it is {value}: "
                    "choose another folder, or the same settings to continue"
                )
                raise BagError(message)
        self.metadata = {**custom, **self.metadata}
        self._information = information

    def _remove_leftovers(self) -> None:
        """Remove `.part`, and segments that were moved out of it but not listed before the end came."""
        listed = set(self._information["relative_file_paths"]) if self._information else set()
        for part in (self.path / _PART).glob("*"):
            if (name := f"{part.name}{self._suffix}") not in listed:
                (self.path / name).unlink(missing_ok=True)
        self.discard()
        if foreign := sorted(
            path.name
            for path in self.path.glob("*")
            if path.suffix in (".mcap", ".db3") and path.name not in listed
        ):
            message = f"{self.path} holds {', '.join(foreign)} of another recording: choose another folder"
            raise BagError(message)


def _start(information: _Information) -> int:
    return information["starting_time"]["nanoseconds_since_epoch"]


def _load(path: Path) -> _Information:
    try:
        return cast("_Information", yaml.safe_load(path.read_text(encoding="utf-8"))[_ROOT])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        message = f"{path} is damaged: move the folder away, or run `ros2 bag reindex` on it"
        raise BagError(message) from error


def _merge(old: _Information | None, added: _Information) -> _Information:
    """Return the metadata of a bag that has the files of both."""
    if not added["message_count"]:
        # rosbags' placeholder for "no time" is no time that others could show.
        added["starting_time"]["nanoseconds_since_epoch"] = 0
        added["files"][0]["starting_time"]["nanoseconds_since_epoch"] = 0
    if old is None:
        return added
    filled = [information for information in (old, added) if information["message_count"]] or [old]
    start = min(map(_start, filled))
    end = max(_start(information) + information["duration"]["nanoseconds"] for information in filled)
    topics = {topic["topic_metadata"]["name"]: topic for topic in added["topics_with_message_count"]}
    merged: list[_Topic] = []
    for topic in old["topics_with_message_count"]:
        more = topics.pop(topic["topic_metadata"]["name"], None)
        count = topic["message_count"] + (more["message_count"] if more else 0)
        merged.append({**topic, "message_count": count})
    return {
        **old,
        "relative_file_paths": old["relative_file_paths"] + added["relative_file_paths"],
        "starting_time": {"nanoseconds_since_epoch": start},
        "duration": {"nanoseconds": end - start},
        "message_count": old["message_count"] + added["message_count"],
        "topics_with_message_count": [*merged, *topics.values()],
        "files": old["files"] + added["files"],
    }
