"""What is no bag is named in people's words; what is damaged costs only itself."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from internimage_perception.bags.reader import open_bags
from internimage_perception.errors import BagError

BLOCK = 400_000


def refuse(paths: object, *words: str) -> None:
    with pytest.raises(BagError) as caught:
        open_bags(paths)
    for word in words:
        assert word in str(caught.value)


def test_paths_that_are_no_bags(tmp_path):
    refuse(tmp_path / "nowhere", "there is no bag at", "nowhere")
    refuse([], "no bag given")
    (tmp_path / "folder").mkdir()
    refuse(tmp_path / "folder", "folder is no bag", "metadata.yaml", "it is empty")
    (tmp_path / "folder" / "notes.txt").write_text("x")
    refuse(tmp_path / "folder", "it holds notes.txt")
    refuse(tmp_path / "folder" / "notes.txt", "notes.txt is no bag: expected a rosbag2 folder")
    for name, words in (
        ("a.mcap", "a.mcap is empty (0 bytes)"),
        ("a.db3", "a.db3 is empty"),
        ("a.bag", "a.bag is empty"),
    ):
        (tmp_path / name).touch()
        refuse(tmp_path / name, words)
    for name, words in (
        ("b.mcap", "b.mcap is not an MCAP file"),
        ("b.db3", "b.db3 is not a sqlite3 database"),
        ("b.bag", "b.bag is not a ROS 1 bag"),
        ("b.bag.active", "rosbag reindex b.bag.active"),
        ("b.db3.zstd", "give the folder"),
    ):
        (tmp_path / name).write_bytes(b"no magic at all here")
        refuse(tmp_path / name, words)


def test_folder_of_bags_says_which_it_holds(make_bag, drive, tmp_path):
    make_bag(tmp_path / "monday", "mcap", drive)
    refuse(tmp_path, "is no bag itself, but holds some", "monday")


def test_the_same_bag_twice(make_bag, drive, tmp_path):
    path = make_bag(tmp_path / "drive", "mcap", drive)
    refuse([path, str(path)], "given twice", "drive")


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ros1"])
def test_bag_without_messages(make_bag, tmp_path, kind):
    refuse(make_bag(tmp_path / "silent", kind, []), "silent", "holds no messages")


def test_file_that_metadata_lists_but_the_folder_lacks(make_bag, drive, tmp_path):
    folder = make_bag(tmp_path / "drive", "sqlite3", drive)
    (folder / "drive.db3").rename(tmp_path / "elsewhere.db3")
    refuse(folder, "lists drive.db3", "missing")


@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_truncated_mcap_names_what_recovers_it(make_bag, drive, tmp_path, part):
    folder = make_bag(tmp_path / "drive", "mcap", drive)
    file = folder / "drive.mcap"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * part)])
    refuse(folder, "drive.mcap was not closed", "mcap recover drive.mcap", "ros2 bag reindex")


@pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.99])
def test_truncated_ros1_bag_names_what_reindexes_it(make_bag, drive, tmp_path, part):
    path = make_bag(tmp_path / "drive", "ros1", drive)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refuse(path, "drive.bag is damaged or was not closed", "rosbag reindex drive.bag")


def test_unindexed_ros1_bag(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Ros1Writer(tmp_path / "open.bag")
    writer.open()
    writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
    writer.bio.flush()
    refuse(tmp_path / "open.bag", "not indexed", "rosbag reindex")


def test_malformed_sqlite(make_bag, drive, tmp_path):
    folder = make_bag(tmp_path / "drive", "sqlite3", drive)
    file = folder / "drive.db3"
    content = bytearray(file.read_bytes())
    file.write_bytes(content[:4096])
    refuse(folder, "drive.db3 is damaged or was not closed", "recover")
    content[100:] = b"\x5a" * (len(content) - 100)
    file.write_bytes(content)
    refuse(folder, "drive.db3 is damaged or was not closed", "recover")
    (folder / "drive.db3-wal").write_bytes(b"log")
    refuse(folder, "drive.db3-wal", "wal_checkpoint")


def test_sqlite_that_is_no_recording(tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.db3")
    connection.execute("CREATE TABLE customers(name TEXT)")
    connection.commit()
    connection.close()
    refuse(tmp_path / "shop.db3", "shop.db3", "missing tables")


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ros1"])
def test_one_corrupt_message_costs_only_itself(tmp_path, kind):
    store = get_typestore(Stores.ROS1_NOETIC if kind == "ros1" else Stores.ROS2_JAZZY)
    path = tmp_path / ("torn.bag" if kind == "ros1" else "torn")
    writer = (
        Ros1Writer(path)
        if kind == "ros1"
        else Writer(path, version=9, storage_plugin=StoragePlugin[kind.upper()])
    )
    serialize = store.serialize_ros1 if kind == "ros1" else store.serialize_cdr
    with writer:
        connection = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        for index in range(5):
            good = bytes(
                serialize(store.types["std_msgs/msg/String"](data=f"text {index}"), "std_msgs/msg/String")
            )
            writer.write(connection, index, good[: len(good) // 2] if index == 2 else good)
    with open_bags(path) as bag:
        items = list(bag.messages(["/text"]))
        assert [item.error is None for item in items] == [True, True, False, True, True]
        assert items[3].message.data == "text 3"
        with pytest.raises(BagError, match="std_msgs/msg/String"):
            _ = items[2].message
        assert items[2].error == items[2].error
        assert bag.damaged == 1


def write_blocks(path: Path, kind: str, compressed: bool = False) -> Path:
    """Record 40 messages of BLOCK noisy bytes on /a, and a short one on /b beside each."""
    noise = np.random.default_rng(1)
    store = get_typestore(Stores.ROS1_NOETIC if kind == "ros1" else Stores.ROS2_JAZZY)
    path = path.with_suffix(".bag") if kind == "ros1" else path
    if kind == "ros1":
        writer = Ros1Writer(path)
        if compressed:
            writer.set_compression(Ros1Writer.CompressionFormat.LZ4)
    else:
        writer = Writer(path, version=9, storage_plugin=StoragePlugin[kind.upper()])
        if compressed:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    serialize = store.serialize_ros1 if kind == "ros1" else store.serialize_cdr
    make = store.types["std_msgs/msg/String"]
    with writer:
        connections = [
            writer.add_connection(topic, "std_msgs/msg/String", typestore=store) for topic in ("/a", "/b")
        ]
        for index in range(40):
            now = 10**18 + index * 50_000_000
            text = noise.bytes(BLOCK // 2).hex()
            writer.write(connections[0], now, serialize(make(data=text), "std_msgs/msg/String"))
            writer.write(connections[1], now + 7, serialize(make(data=str(index)), "std_msgs/msg/String"))
    return path


@pytest.mark.parametrize(
    ("kind", "compressed"),
    [("mcap", False), ("mcap", True), ("ros1", False), ("ros1", True)],
)
def test_reading_goes_on_behind_a_damaged_place(tmp_path, kind, compressed):
    path = write_blocks(tmp_path / "blocks", kind, compressed)
    file = path if kind == "ros1" else next(path.glob("blocks.*"))
    content = bytearray(file.read_bytes())
    # Hits records' own headers or the compressed stream of one chunk or two. A ROS 1 reader needs the
    # headers of all chunks, so there the damage stays within one.
    middle, length = len(content) // 2, 300_000 if kind == "ros1" else 1_200_000
    content[middle : middle + length] = b"\xee" * length
    file.write_bytes(content)
    with open_bags(path) as bag:
        items = list(bag.messages(["/a", "/b"]))
        good = [item for item in items if item.error is None]
        bad = [item for item in items if item.error is not None]
        assert bag.damaged >= 1
        assert {item.topic for item in bad} <= {"/a", "/b"}
        assert bad
        assert any("damaged" in item.error or "String" in item.error for item in bad)
        assert [item.receive_ns for item in items] == sorted(item.receive_ns for item in items)
        numbers = [int(item.message.data) for item in good if item.topic == "/b"]
        assert numbers[0] == 0
        assert numbers[-1] == 39
        assert numbers == sorted(set(numbers))
        assert len(numbers) >= 30, "only what was overwritten is lost"


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ros1"])
def test_random_damage_never_escapes_as_another_error(make_bag, drive, tmp_path, kind):
    path = make_bag(tmp_path / "drive", kind, drive)
    file = path if kind == "ros1" else next(path.glob("drive.*"))
    whole = np.frombuffer(file.read_bytes(), dtype=np.uint8)
    noise = np.random.default_rng(5)
    clean, refusals = 0, []
    for _ in range(60):
        content = whole.copy()
        for at in noise.integers(0, len(content) - 8, noise.integers(1, 6)):
            content[at : at + 8] = noise.integers(0, 256, 8)
        file.write_bytes(content.tobytes())
        try:
            with open_bags(path) as bag:
                count = sum(item.error is None for item in bag.messages())
                assert count <= 4 * len(drive)
                clean += not bag.damaged
        except BagError as error:
            refusals.append(str(error))
    assert clean
    assert refusals
    assert all(str(path) in refusal for refusal in refusals)


def test_damage_behind_the_last_message_ends_the_reading(tmp_path):
    path = write_blocks(tmp_path / "blocks", "mcap", compressed=True)
    with open_bags(path) as bag:
        file = bag._files[0]
        wanted = file.connections

        def stumble(connections, start=None, stop=None, read=file._reader.messages):
            yield from read(connections, start=start, stop=stop)
            message = "garbage behind the last message"
            raise ValueError(message)

        file._reader.messages = stumble
        items = list(file.messages(wanted))
    assert len(items) == 81
    assert "garbage" in items[-1].reason


def test_damage_up_to_the_end(tmp_path):
    path = write_blocks(tmp_path / "blocks", "mcap", compressed=True)
    file = next(path.glob("blocks.*"))
    content = bytearray(file.read_bytes())
    start, end = len(content) // 2, len(content) - 20_000
    content[start:end] = bytes(end - start)
    file.write_bytes(content)
    with open_bags(path) as bag:
        items = list(bag.messages(["/b"]))
        assert 10 <= sum(item.error is None for item in items) <= 25
        assert bag.damaged >= 1


def test_unknown_types_disturb_nobody(tmp_path):
    store = get_typestore(Stores.ROS2_JAZZY)
    definitions = {
        "/sane": ("acme_msgs/msg/Known", "int32 x\n"),
        "/odd": ("acme_msgs/msg/Odd", "this is @@ no definition"),
        "/half": ("acme_msgs/msg/Half", "acme_msgs/Absent thing\n"),
    }
    with Writer(tmp_path / "mixed", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        text = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        writer.write(
            text, 1, store.serialize_cdr(store.types["std_msgs/msg/String"]("x"), "std_msgs/msg/String")
        )
        for topic, (msgtype, definition) in definitions.items():
            connection = writer.add_connection(topic, msgtype, msgdef=definition, rihs01="RIHS01_x")
            writer.write(connection, 2, b"\0\1\0\0\7\0\0\0")
    with open_bags(tmp_path / "mixed") as bag:
        by_topic = {item.topic: item for item in bag.messages()}
        assert by_topic["/text"].message.data == "x"
        assert by_topic["/sane"].message.x == 7
        assert "deserialise acme_msgs/msg/Odd" in by_topic["/odd"].error
        assert by_topic["/half"].error is not None
        assert bag.damaged == 2
