"""Small bags of every kind, written with rosbags itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
STRING = "std_msgs/msg/String"
KINDS = ("sqlite3", "mcap", "ros1")


class Event(NamedTuple):
    """One message to record; `value` is an image's brightness, a CameraInfo's focal length, a string."""

    topic: str
    msgtype: str
    receive_ns: int
    value: int = 0
    stamp_ns: int | None = None
    data: bytes | None = None


def build(store: Typestore, event: Event) -> object:
    """Return the event's message of the store's ROS version."""
    types = store.types
    if event.msgtype == STRING:
        return types[STRING](data=str(event.value))
    ros1 = any(name == "seq" for name, _ in store.fielddefs["std_msgs/msg/Header"][1])
    stamp_ns = event.receive_ns if event.stamp_ns is None else event.stamp_ns
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    head = types["std_msgs/msg/Header"](**({"seq": 5} if ros1 else {}), stamp=stamp, frame_id="optical")
    if event.msgtype == COMPRESSED:
        data = np.frombuffer(event.data or b"", dtype=np.uint8)
        return types[COMPRESSED](header=head, format="jpeg", data=data)
    if event.msgtype == IMAGE:
        data = np.frombuffer(event.data, np.uint8) if event.data else np.full(12, event.value % 256, np.uint8)
        return types[IMAGE](
            header=head, height=2, width=2, encoding="rgb8", is_bigendian=0, step=len(data) // 2, data=data
        )
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, do_rectify=False)
    numbers = {
        "d": np.zeros(4),
        "k": np.array([event.value, 0, 1, 0, event.value, 1, 0, 0, 1], dtype=float),
        "r": np.eye(3).reshape(-1),
        "p": np.zeros(12),
    }
    return types[INFO](
        header=head, height=2, width=2, distortion_model="equidistant",
        **({key.upper(): value for key, value in numbers.items()} if ros1 else numbers),
        binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip


class MakeBag(Protocol):
    def __call__(self, path: Path, kind: str, events: Sequence[Event]) -> Path: ...


@pytest.fixture(scope="session")
def make_bag() -> MakeBag:
    """Return a function that records events and returns the bag's path."""
    stores = {
        kind: get_typestore(Stores.ROS1_NOETIC if kind == "ros1" else Stores.ROS2_JAZZY) for kind in KINDS
    }

    def write(path: Path, kind: str, events: Sequence[Event]) -> Path:
        store = stores[kind]
        path = path.with_suffix(".bag") if kind == "ros1" else path
        if kind == "ros1":
            writer: Ros1Writer | Ros2Writer = Ros1Writer(path)
        else:
            writer = Ros2Writer(path, version=9, storage_plugin=StoragePlugin[kind.upper()])
        with writer:
            connections = {}
            for topic, msgtype in dict.fromkeys((event.topic, event.msgtype) for event in events):
                connections[topic] = writer.add_connection(topic, msgtype, typestore=store)
            for event in events:
                message = build(store, event)
                serialize = store.serialize_ros1 if kind == "ros1" else store.serialize_cdr
                writer.write(connections[event.topic], event.receive_ns, serialize(message, event.msgtype))
        return path

    return write


@pytest.fixture(scope="session")
def drive() -> list[Event]:
    """Two cameras at 10 Hz for one second, their CameraInfo, and a topic that is nobody's business."""
    events = []
    for index in range(10):
        now = 1_000_000_000 + index * 100_000_000
        events += [
            Event("/left/camera_info", INFO, now + 500, 300, now),
            Event("/left/image_raw", IMAGE, now + 1_000, index, now),
            Event("/right/image_raw", IMAGE, now + 2_000, 100 + index, now),
            Event("/chatter", STRING, now + 3_000, index),
        ]
    return events
