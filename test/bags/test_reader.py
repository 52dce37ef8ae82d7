"""Every kind of bag reads as one stream."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from internimage_perception.bags.reader import BagReader, open_bags
from internimage_perception.errors import BagError
from internimage_perception.geometry import camera_from_info
from internimage_perception.inference.messages import frame_from_message

IMAGE = "sensor_msgs/msg/Image"
KINDS = ("sqlite3", "mcap", "ros1")


def values(bag: BagReader, topics: list[str], **limits: int) -> list[tuple[str, int, int]]:
    return [
        (item.topic, item.receive_ns, int(item.message.data[0])) for item in bag.messages(topics, **limits)
    ]


def expected(events: list, topics: set[str]) -> list[tuple[str, int, int]]:
    return [(event.topic, event.receive_ns, event.value) for event in events if event.topic in topics]


@pytest.mark.parametrize("kind", KINDS)
def test_messages_in_receive_order(make_bag, drive, tmp_path, kind):
    images = {"/left/image_raw", "/right/image_raw"}
    with open_bags(make_bag(tmp_path / "drive", kind, drive)) as bag:
        assert values(bag, sorted(images)) == expected(drive, images)
        assert {name: (info.msgtype, info.count) for name, info in bag.topics.items()} == {
            "/chatter": ("std_msgs/msg/String", 10),
            "/left/camera_info": ("sensor_msgs/msg/CameraInfo", 10),
            "/left/image_raw": (IMAGE, 10),
            "/right/image_raw": (IMAGE, 10),
        }
        assert [info.name for info in bag.image_topics()] == sorted(images)
        assert [info.name for info in bag.camera_info_topics()] == ["/left/camera_info"]
        assert (bag.start_ns, bag.end_ns) == (drive[0].receive_ns, drive[-1].receive_ns)
        assert bag.duration_ns == 900_002_500
        assert bag.message_count() == 40
        assert bag.message_count(["left/image_raw", "/chatter"]) == 20
        times = [item.receive_ns for item in bag.messages()]
        assert times == sorted(event.receive_ns for event in drive)
        assert bag.damaged == 0
        assert bag.warnings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_time_limits(make_bag, drive, tmp_path, kind):
    with open_bags(make_bag(tmp_path / "drive", kind, drive)) as bag:
        got = values(bag, ["/left/image_raw"], start_ns=1_200_001_000, stop_ns=1_400_001_000)
        assert [value for _, _, value in got] == [2, 3]
        assert values(bag, ["/left/image_raw"], start_ns=5_000_000_000) == []
        assert values(bag, ["/left/image_raw"], stop_ns=5) == []


@pytest.mark.parametrize("kind", KINDS)
def test_image_data_is_a_view_and_frames_come_of_it(make_bag, drive, tmp_path, kind):
    with open_bags(make_bag(tmp_path / "drive", kind, drive)) as bag:
        item = next(bag.messages(["/right/image_raw"]))
        assert item.message is item.message, "deserialised once"
        frame = frame_from_message(item.message, "right", item.receive_ns)
        assert not frame.data.flags.owndata
        assert (frame.stamp_ns, frame.frame_id) == (1_000_000_000, "optical")
        np.testing.assert_array_equal(frame.decode(), np.full((2, 2, 3), 100))


@pytest.mark.parametrize("kind", KINDS)
def test_camera_info_has_the_field_names_of_ros_2(make_bag, drive, tmp_path, kind):
    with open_bags(make_bag(tmp_path / "drive", kind, drive)) as bag:
        info = next(bag.messages(["/left/camera_info"])).message
        assert info.k[0] == 300
        assert camera_from_info(info).fx == 300


def test_a_closed_reader_says_so(make_bag, drive, tmp_path):
    with open_bags(make_bag(tmp_path / "drive", "mcap", drive)) as bag:
        pass
    with pytest.raises(BagError, match="closed"):
        bag.messages()


@pytest.mark.parametrize("suffix", ["mcap", "db3"])
def test_bare_files_with_and_without_metadata(make_bag, drive, tmp_path, suffix):
    folder = make_bag(tmp_path / "drive", "mcap" if suffix == "mcap" else "sqlite3", drive)
    file = folder / f"drive.{suffix}"
    for path in (file, str(file), folder / "metadata.yaml"):
        with open_bags(path) as bag:
            assert bag.message_count() == 40
    shutil.copy(file, tmp_path / f"alone.{suffix}")
    with open_bags(tmp_path / f"alone.{suffix}") as bag:
        assert values(bag, ["/left/image_raw"]) == expected(drive, {"/left/image_raw"})


@pytest.mark.parametrize("content", [None, b"", b"rosbag2_bagfile_information: [unclosed"])
def test_folder_of_a_killed_recorder_reads_with_a_warning(make_bag, drive, tmp_path, content):
    folder = make_bag(tmp_path / "drive", "mcap", drive)
    whole = (folder / "drive.mcap").read_bytes()
    (folder / "drive_1.mcap").write_bytes(whole[: len(whole) // 2])
    (folder / "metadata.yaml").unlink()
    if content is not None:
        (folder / "metadata.yaml").write_bytes(content)
    with open_bags(folder) as bag:
        assert bag.message_count() == 40
        assert len(bag.warnings) == 2
        assert ("a damaged" if content is not None else "no") in bag.warnings[0]
        assert "drive_1.mcap was not closed" in bag.warnings[1]


@pytest.mark.parametrize(
    ("plugin", "mode"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
    ],
)
def test_compressed_bags(tmp_path, plugin, mode):
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(tmp_path / "small", version=8, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        for index in range(5):
            message = store.types["std_msgs/msg/String"](data="x" * index)
            writer.write(connection, index, store.serialize_cdr(message, message.__msgtype__))
    with open_bags(tmp_path / "small") as bag:
        assert [item.message.data for item in bag.messages(["/text"])] == ["x" * index for index in range(5)]


def split(make_bag, drive, folder: Path, pieces: int) -> Path:
    """Record a drive as one bag of several files, as a splitting recorder does."""
    folder.mkdir()
    names, size = [], len(drive) // pieces
    for index in range(pieces):
        part = make_bag(
            folder.parent / f"{folder.name}_{index}", "mcap", drive[index * size : (index + 1) * size]
        )
        names.append(f"{part.name}.mcap")
        shutil.move(part / names[-1], folder / names[-1])
        content = yaml.safe_load((part / "metadata.yaml").read_text())
    content["rosbag2_bagfile_information"]["relative_file_paths"] = names
    (folder / "metadata.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_split_bag_reads_through(make_bag, drive, tmp_path):
    with open_bags(split(make_bag, drive, tmp_path / "long", 5)) as bag:
        assert bag.message_count(["/left/image_raw"]) == 10
        assert values(bag, ["/left/image_raw"]) == expected(drive, {"/left/image_raw"})


def test_later_files_are_not_read_before_their_time(make_bag, drive, tmp_path, monkeypatch):
    started = []
    with open_bags(split(make_bag, drive, tmp_path / "long", 5)) as bag:
        for file in bag._files:

            def spy(*args: object, read=file.messages, name=file.path.name) -> object:
                started.append(name)
                yield from read(*args)

            monkeypatch.setattr(file, "messages", spy)
        stream = bag.messages(["/left/image_raw"])
        assert next(stream).receive_ns == 1_000_001_000
        assert started == ["long_0.mcap"]
        assert len(list(stream)) == 9
        assert started == [f"long_{index}.mcap" for index in range(5)]


def test_topics_edited_in_metadata_are_still_read(make_bag, drive, tmp_path):
    folder = make_bag(tmp_path / "drive", "mcap", drive)
    content = yaml.safe_load((folder / "metadata.yaml").read_text())
    quality = {
        "history": "keep_last", "depth": 3, "reliability": "reliable", "durability": "volatile",
        "deadline": {"sec": 0, "nsec": 0}, "lifespan": {"sec": 0, "nsec": 0}, "liveliness": "automatic",
        "liveliness_lease_duration": {"sec": 0, "nsec": 0}, "avoid_ros_namespace_conventions": False,
    }  # fmt: skip
    for topic in content["rosbag2_bagfile_information"]["topics_with_message_count"]:
        topic["topic_metadata"]["offered_qos_profiles"] = [quality]
    (folder / "metadata.yaml").write_text(yaml.safe_dump(content))
    with open_bags(folder) as bag:
        assert len(list(bag.messages(["/left/image_raw"]))) == 10


def test_several_bags_of_mixed_kinds_are_merged(make_bag, drive, tmp_path):
    by_kind = {
        "sqlite3": [event for event in drive if event.topic.startswith("/left")],
        "ros1": [event for event in drive if event.topic.startswith("/right")],
        "mcap": [event._replace(receive_ns=event.receive_ns + 10**9) for event in drive],
    }
    paths = [make_bag(tmp_path / kind, kind, events) for kind, events in by_kind.items()]
    images = ["/left/image_raw", "/right/image_raw"]
    with open_bags(paths) as bag:
        got = values(bag, images)
        assert len(got) == bag.message_count(images) == 40
        assert all(before[1] <= after[1] for before, after in pairwise(got))
        assert bag.duration_ns == 1_900_002_500


def test_topic_names_with_and_without_slash_are_one(make_bag, drive, tmp_path):
    bare = [event._replace(topic=event.topic[1:]) for event in drive]
    with open_bags(make_bag(tmp_path / "bare", "ros1", bare)) as bag:
        assert set(bag.topics) == {event.topic for event in drive}
        assert (
            len(list(bag.messages(["left/image_raw"]))) == len(list(bag.messages(["/left/image_raw"]))) == 10
        )
        assert next(bag.messages(["left/image_raw"])).topic == "/left/image_raw"


def test_latched_topics_are_recognised(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(tmp_path / "latched.bag") as writer:
        for topic, latching in (("/map", 1), ("/odom", 0)):
            connection = writer.add_connection(
                topic, "std_msgs/msg/String", typestore=store, latching=latching
            )
            writer.write(
                connection,
                1,
                store.serialize_ros1(store.types["std_msgs/msg/String"]("x"), "std_msgs/msg/String"),
            )
    with open_bags(tmp_path / "latched.bag") as bag:
        assert (bag.topics["/map"].latched, bag.topics["/odom"].latched) == (True, False)


def test_missing_topic_lists_the_image_topics(make_bag, drive, tmp_path):
    with open_bags(make_bag(tmp_path / "drive", "mcap", drive)) as bag:
        with pytest.raises(BagError) as caught:
            bag.messages(["/rear/image_raw", "/left/image_raw"])
        assert (
            "no topic /rear/image_raw; its image topics are /left/image_raw (10), /right/image_raw (10)"
            in str(caught.value)
        )
        with pytest.raises(BagError, match="no topic /x"):
            bag.message_count(["x"])
    chatter = [event for event in drive if event.topic == "/chatter"]
    with (
        open_bags(make_bag(tmp_path / "chatter", "mcap", chatter)) as bag,
        pytest.raises(BagError, match="it has no image topics, only /chatter"),
    ):
        bag.messages(["/x"])


REAL = [
    ("ubiquity_ros1/aruco_images.bag", 15, 1, (960, 1280)),
    ("ubiquity_ros1/aruco_marker.bag", 1, 1, (720, 1280)),
    ("ubiquity_ros1/fiducial_board_611.bag", 32, 1, None),
    ("ubiquity_ros2/aruco_images_mcap", 15, 1, (960, 1280)),
    ("ubiquity_ros2/aruco_images_mcap/aruco_images_mcap.mcap", 15, 1, (960, 1280)),
    ("ubiquity_ros2/aruco_images_sqlite3", 15, 1, (960, 1280)),
    ("ubiquity_ros2/aruco_images_sqlite3/aruco_images_sqlite3.db3", 15, 1, (960, 1280)),
    ("ubiquity_ros2/fiducial_board_611_sqlite3", 32, 1, None),
    ("tiny_synthetic_images_bag", 0, 3, (2, 2)),
]


@pytest.mark.parametrize(("path", "infos", "images", "shape"), REAL)
def test_real_recordings(shared_data, path, infos, images, shape):
    with open_bags(shared_data / "bags" / path) as bag:
        image_topics = [info.name for info in bag.image_topics()]
        assert bag.message_count(image_topics) == images
        assert bag.message_count([info.name for info in bag.camera_info_topics()]) == infos
        assert all(name.startswith("/") for name in bag.topics)
        for item in bag.messages(image_topics):
            pixels = frame_from_message(item.message, "camera", item.receive_ns).decode()
            assert pixels.ndim == 3
            assert shape is None or pixels.shape[:2] == shape
        for item in bag.messages([info.name for info in bag.camera_info_topics()]):
            assert camera_from_info(item.message).width > 0
        assert bag.damaged == 0


def test_ros1_and_converted_ros2_recordings_agree(shared_data):
    folder = shared_data / "bags"
    streams = []
    for path in (
        "ubiquity_ros1/aruco_images.bag",
        "ubiquity_ros2/aruco_images_mcap",
        "ubiquity_ros2/aruco_images_sqlite3",
    ):
        with open_bags(folder / path) as bag:
            streams.append(
                [(item.topic, item.receive_ns, item.message.header.stamp.sec) for item in bag.messages()]
            )
    assert streams[0] == streams[1] == streams[2]
