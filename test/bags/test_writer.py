"""Segments: each safe once finished, all of them one bag, whatever ends the writer."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from internimage_perception.bags import segments
from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.types import make_header, make_message, message_types
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.errors import BagError, PerceptionError

IMAGE = "sensor_msgs/msg/Image"
STRING = "std_msgs/msg/String"
LABELS = "internimage_perception/msg/LabelInfo"
STORAGES = ("mcap", "sqlite3")


def mask(value: int, stamp_ns: int = 0, side: int = 4) -> object:
    return image(np.full((side, side), value, dtype=np.uint8), stamp_ns)


def image(pixels: np.ndarray, stamp_ns: int = 0) -> object:
    height, width = pixels.shape
    return make_message(
        IMAGE, header=make_header(stamp_ns, "front"), height=height, width=width, encoding="mono8",
        is_bigendian=0, step=width, data=pixels.reshape(-1),
    )  # fmt: skip


def labels() -> object:
    road = make_message("internimage_perception/msg/LabelClass", id=3, name="road", r=128, g=64, b=128)
    return make_message(LABELS, header=make_header(7, ""), model="tiny", classes=[road], invalid_id=255)


def write_three(folder: Path, storage: str = "mcap") -> None:
    with SegmentedBagWriter(folder, storage=storage, metadata={"bundle": "tiny"}) as writer:
        writer.add_topic("/mask", IMAGE)
        writer.add_topic("labels", LABELS, latched=True)
        writer.write("/labels", labels(), 10)
        for index in range(6):
            writer.write("/mask", mask(index), 10 + index)
            if index % 2:
                writer.roll(json.dumps({"next_set": index + 1}))


def mask_values(folder: Path) -> list[int]:
    with open_bags(folder) as bag:
        return [int(item.message.data[0]) for item in bag.messages(["/mask"])]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("storage", STORAGES)
def test_segments_are_one_bag(tmp_path, storage):
    folder = tmp_path / "out"
    write_three(folder, storage)
    suffix = {"mcap": "mcap", "sqlite3": "db3"}[storage]
    assert files(folder) == ["metadata.yaml", *[f"out_{index}.{suffix}" for index in range(3)]]
    assert mask_values(folder) == list(range(6))
    with AnyReader([folder]) as reader:
        assert (reader.start_time, reader.end_time - 1) == (10, 15)
        assert reader.topics["/mask"].msgcount == 6
        assert reader.topics["/labels"].msgcount == 3
        assert len(list(reader.messages())) == reader.message_count == 9
        quality = reader.topics["/labels"].connections[0].ext.offered_qos_profiles[0]
        assert (quality.durability, quality.depth) == (QosDurability.TRANSIENT_LOCAL, 1)
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["version"] == 8
    assert [file["path"] for file in metadata["files"]] == metadata["relative_file_paths"]
    assert [file["starting_time"]["nanoseconds_since_epoch"] for file in metadata["files"]] == [10, 12, 14]
    assert metadata["custom_data"]["bundle"] == "tiny"
    assert all(isinstance(value, str) for value in metadata["custom_data"].values())


@pytest.mark.parametrize("storage", STORAGES)
def test_every_segment_stands_alone(tmp_path, storage):
    write_three(tmp_path / "out", storage)
    for path in (tmp_path / "out").glob("out_*"):
        with open_bags(path) as bag:
            assert bag.topics["/labels"].latched
            assert next(bag.messages(["/labels"])).message.classes[0].name == "road"
            assert bag.start_ns == next(bag.messages(["/labels"])).receive_ns
            assert len(list(bag.messages(["/mask"]))) == 2


def test_a_new_latched_message_replaces_the_repeated_one(tmp_path):
    with SegmentedBagWriter(tmp_path / "out") as writer:
        writer.add_topic("/state", STRING, latched=True)
        writer.add_topic("/mask", IMAGE)
        writer.write("/state", make_message(STRING, data="one"), 1)
        writer.roll()
        writer.write("/state", make_message(STRING, data="two"), 2)
        writer.roll()
        writer.write("/mask", mask(1), 3)
    with open_bags(tmp_path / "out") as bag:
        assert [item.message.data for item in bag.messages(["/state"])] == ["one", "two", "two"]


def test_limits_of_time_and_size(tmp_path):
    with SegmentedBagWriter(tmp_path / "time", max_segment_ns=100) as writer:
        writer.add_topic("/mask", IMAGE)
        for now in (0, 50, 99, 100, 150, 500):
            writer.write("/mask", mask(now % 256), now)
    assert len(list((tmp_path / "time").glob("*.mcap"))) == 3
    assert mask_values(tmp_path / "time") == [0, 50, 99, 100, 150, 244]
    with SegmentedBagWriter(tmp_path / "size", max_segment_bytes=25_000) as writer:
        writer.add_topic("/mask", IMAGE)
        for now in range(6):
            writer.write("/mask", mask(now, side=100), now)
    assert len(list((tmp_path / "size").glob("*.mcap"))) == 2


@pytest.mark.parametrize("storage", STORAGES)
def test_continues_behind_finished_segments(tmp_path, storage):
    folder = tmp_path / "out"
    write_three(folder, storage)
    with SegmentedBagWriter(folder, storage=storage, metadata={"bundle": "tiny", "more": "yes"}) as writer:
        assert [json.loads(note)["next_set"] for note in writer.notes] == [2, 4, 6]
        assert writer.last_receive_ns == 15
        assert writer.metadata == {"bundle": "tiny", "more": "yes"}
        writer.add_topic("/mask", IMAGE)
        writer.add_topic("/extra", STRING)
        writer.write("/mask", mask(6), 16)
        writer.write("/extra", make_message(STRING, data="x"), 17)
        assert writer.last_receive_ns == 17
        writer.roll("last")
        assert writer.notes[-1] == "last"
    assert mask_values(folder) == list(range(7))
    with AnyReader([folder]) as reader:
        assert reader.message_count == 11
        assert (reader.start_time, reader.end_time - 1) == (10, 17)


def test_an_exception_leaves_the_finished_segments(tmp_path):
    folder = tmp_path / "out"

    def fail() -> None:
        with SegmentedBagWriter(folder) as writer:
            writer.add_topic("/mask", IMAGE)
            writer.write("/mask", mask(1), 1)
            writer.roll()
            writer.write("/mask", mask(2), 2)
            message = "stop"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert files(folder) == ["metadata.yaml", "out_0.mcap"]
    assert mask_values(folder) == [1]


def test_nothing_written(tmp_path):
    with SegmentedBagWriter(tmp_path / "empty") as writer:
        writer.add_topic("/mask", IMAGE)
        writer.roll("nothing to keep")
        assert writer.notes == []
    with AnyReader([tmp_path / "empty"]) as reader:
        assert reader.message_count == 0
        assert list(reader.topics) == ["/mask"]
    with SegmentedBagWriter(tmp_path / "empty") as writer:
        writer.add_topic("/mask", IMAGE)
        writer.write("/mask", mask(9), 10**18)
    assert mask_values(tmp_path / "empty") == [9]
    with open_bags(tmp_path / "empty") as bag:
        assert bag.start_ns == bag.end_ns == 10**18
    SegmentedBagWriter(tmp_path / "aborted").abort()
    assert not (tmp_path / "aborted").exists()


@pytest.mark.parametrize("at", ["closing", "flushing", "listing"])
def test_leftovers_of_each_step_are_removed(tmp_path, monkeypatch, at):
    folder = tmp_path / "out"
    write_three(folder)
    before = (folder / "metadata.yaml").read_bytes()

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    writer = SegmentedBagWriter(folder)
    writer.add_topic("/mask", IMAGE)
    writer.write("/mask", mask(99), 99)
    with monkeypatch.context() as patch:
        if at == "closing":
            patch.setattr(Path, "replace", die)
        elif at == "flushing":
            patch.setattr(os, "fsync", die)
        else:
            patch.setattr(segments, "write_text", die)
            patch.setattr(Path, "unlink", die)
        with pytest.raises(Killed):
            writer.roll()
    assert (folder / ".part").exists()
    assert (folder / "out_3.mcap").exists() == (at == "listing"), "moved, but never listed"
    assert (folder / "metadata.yaml").read_bytes() == before
    assert mask_values(folder) == list(range(6))
    os.close(writer._folder._handle)
    with SegmentedBagWriter(folder) as again:
        assert len(again.notes) == 3
        assert files(folder) == ["metadata.yaml", *[f"out_{index}.mcap" for index in range(3)]]


def test_folders_that_are_not_ours_are_refused(tmp_path, make_bag, drive):
    recording = make_bag(tmp_path / "recording", "mcap", drive)
    content = files(recording)
    with pytest.raises(BagError, match="not written here: choose another folder"):
        SegmentedBagWriter(recording)
    (recording / "metadata.yaml").unlink()
    (recording / "recording.mcap").rename(recording / "recording_0.mcap")
    with pytest.raises(BagError, match=r"recording_0.mcap of another recording"):
        SegmentedBagWriter(recording)
    assert (recording / "recording_0.mcap").exists(), f"nothing of {content} was touched"
    (tmp_path / "file").write_text("x")
    with pytest.raises(BagError, match=r"cannot write a bag to .*file.*another folder"):
        SegmentedBagWriter(tmp_path / "file")
    with pytest.raises(BagError, match="cannot write a bag to"):
        SegmentedBagWriter(tmp_path / "file" / "below")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "readme.txt").write_text("kept")
    with SegmentedBagWriter(notes) as writer:
        writer.add_topic("/mask", IMAGE)
    assert (notes / "readme.txt").read_text() == "kept"


def test_bags_that_cannot_be_continued(tmp_path):
    folder = tmp_path / "out"
    write_three(folder)
    with pytest.raises(BagError, match="with bundle = tiny, now it is large"):
        SegmentedBagWriter(folder, metadata={"bundle": "large"})
    with pytest.raises(BagError, match="mcap bag and cannot be continued as sqlite3"):
        SegmentedBagWriter(folder, storage="sqlite3")
    with (
        SegmentedBagWriter(folder) as writer,
        pytest.raises(BagError, match="/mask as sensor_msgs/msg/Image"),
    ):
        writer.add_topic("/mask", STRING)
    (folder / "out_1.mcap").rename(tmp_path / "away.mcap")
    with pytest.raises(BagError, match=r"lacks out_1.mcap"):
        SegmentedBagWriter(folder)
    shutil.move(tmp_path / "away.mcap", folder / "out_1.mcap")
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    with pytest.raises(BagError, match=r"metadata.yaml is damaged"):
        SegmentedBagWriter(folder)
    with pytest.raises(BagError, match="storage 'zip' is unknown"):
        SegmentedBagWriter(tmp_path / "other", storage="zip")


def test_two_writers_never_share_a_folder(tmp_path):
    with (
        SegmentedBagWriter(tmp_path / "out"),
        pytest.raises(BagError, match="another process is writing"),
    ):
        SegmentedBagWriter(tmp_path / "out")


def test_misuse_is_named(tmp_path):
    writer = SegmentedBagWriter(tmp_path / "out")
    writer.add_topic("/mask", IMAGE)
    writer.add_topic("mask", IMAGE)
    with pytest.raises(BagError, match="type acme_msgs/msg/X is not known"):
        writer.add_topic("/x", "acme_msgs/msg/X")
    with pytest.raises(BagError, match="topic /other was not declared; declared are /mask"):
        writer.write("/other", mask(1), 1)
    with pytest.raises(BagError, match="/mask: the message does not fit sensor_msgs/msg/Image"):
        writer.write("/mask", SimpleNamespace(height=3), 1)
    writer.write("/mask", mask(1), 1)
    writer.close()
    writer.close()
    with pytest.raises(BagError, match="is closed"):
        writer.write("/mask", mask(1), 2)
    assert mask_values(tmp_path / "out") == [1]


def test_messages_read_from_bags_can_be_written(tmp_path, make_bag, drive):
    for kind in ("ros1", "mcap"):
        source = make_bag(tmp_path / f"in_{kind}", kind, drive)
        with open_bags(source) as bag, SegmentedBagWriter(tmp_path / kind) as writer:
            for topic in bag.topics.values():
                writer.add_topic(topic.name, topic.msgtype)
            for item in bag.messages():
                writer.write(item.topic, item.message, item.receive_ns)
        with open_bags(source) as before, open_bags(tmp_path / kind) as after:
            assert before.topics == after.topics
            for one, two in zip(before.messages(), after.messages(), strict=True):
                assert (one.topic, one.receive_ns) == (two.topic, two.receive_ns)
            info = next(after.messages(["/left/camera_info"])).message
            assert info.k[0] == 300


def test_masks_are_compressed(tmp_path):
    picture = np.zeros((960, 1280), dtype=np.uint8)
    picture[400:, 300:900] = 3
    with SegmentedBagWriter(tmp_path / "out") as writer:
        writer.add_topic("/mask", IMAGE)
        for index in range(4):
            writer.write("/mask", image(picture), index)
    assert (tmp_path / "out" / "out_0.mcap").stat().st_size < picture.nbytes / 20
    with open_bags(tmp_path / "out") as bag:
        for item in bag.messages(["/mask"]):
            np.testing.assert_array_equal(item.message.data.reshape(960, 1280), picture)


def test_own_messages_travel_with_their_definition(tmp_path):
    write_three(tmp_path / "out")
    with AnyReader([tmp_path / "out"]) as reader:
        connection = next(item for item in reader.connections if item.msgtype == LABELS)
        assert "internimage_perception/LabelClass[] classes" in connection.msgdef.data
        assert connection.digest == message_types().hash_rihs01(LABELS)


def test_helpers_name_what_is_wrong():
    with pytest.raises(BagError, match="acme/msg/X is not known"):
        make_message("acme/msg/X")
    with pytest.raises(BagError, match="wrong fields for std_msgs/msg/String"):
        make_message(STRING, text="x")
    assert issubclass(BagError, PerceptionError)
    assert make_header(-1, "f").stamp.nanosec == 999_999_999
