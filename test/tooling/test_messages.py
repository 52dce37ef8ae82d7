"""The messages as colcon built them: usable by rclpy, and the same for readers of bags that have no ROS."""

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not available")

from ament_index_python.packages import get_package_share_directory
from internimage_perception.msg import LabelClass, LabelInfo, StageTimings
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.typesys import Stores, get_typestore
from std_msgs.msg import Header

from internimage_perception.bags.types import make_message, message_types
from internimage_perception.inference.results import INVALID_ID
from internimage_perception.resources import share_path

pytestmark = pytest.mark.ros

ROAD = {"id": 3, "name": "road", "r": 128, "g": 64, "b": 255}
TIMINGS = {
    "task": "segmentation",
    "set_index": 2**32 - 1,
    "cameras": ["front", "réar"],
    "errors": ["left: step is 0"],
    "missing": ["right"],
    "stages": ["decode", "infer"],
    "durations_ns": [2**63, 7],
    "latency_ns": 2**64 - 1,
}


def installed_hash(message_type: str) -> str:
    """Return the type hash that the generators wrote beside the installed definition."""
    package, folder, name = message_type.split("/")
    path = Path(get_package_share_directory(package), folder, f"{name}.json")
    hashes = json.loads(path.read_text())["type_hashes"]
    return next(entry["hash_string"] for entry in hashes if entry["type_name"] == message_type)


def as_dict(message: object) -> dict[str, object]:
    names = message.get_fields_and_field_types()
    return {name: getattr(message, name) for name in names if name != "header"}


def test_label_info_survives_serialisation():
    header = Header(frame_id="")
    header.stamp.sec, header.stamp.nanosec = 17, 999_999_999
    sent = LabelInfo(header=header, model="street-tiny", classes=[LabelClass(**ROAD), LabelClass(id=254)])
    received = deserialize_message(serialize_message(sent), LabelInfo)
    assert received == sent
    assert as_dict(received.classes[0]) == ROAD


def test_invalid_id_is_what_masks_are_published_with():
    assert LabelInfo().invalid_id == INVALID_ID


def test_stage_timings_survive_serialisation():
    received = deserialize_message(serialize_message(StageTimings(**TIMINGS)), StageTimings)
    assert {
        key: list(value) if key == "durations_ns" else value for key, value in as_dict(received).items()
    } == (TIMINGS)


def test_definitions_without_ros_are_the_installed_ones():
    own = sorted(path.stem for path in share_path("msg").glob("*.msg"))
    assert own == sorted(
        path.stem for path in Path(get_package_share_directory("internimage_perception"), "msg").glob("*.msg")
    )
    for name in own:
        message_type = f"internimage_perception/msg/{name}"
        assert message_types().hash_rihs01(message_type) == installed_hash(message_type), name


def test_bytes_written_without_ros_are_read_by_rclpy():
    header = make_message(
        "std_msgs/msg/Header",
        stamp=make_message("builtin_interfaces/msg/Time", sec=5, nanosec=6),
        frame_id="base_link",
    )
    own = "internimage_perception/msg/LabelInfo"
    label_class = make_message("internimage_perception/msg/LabelClass", **ROAD)
    written = make_message(own, header=header, model="m", classes=[label_class], invalid_id=255)
    received = deserialize_message(bytes(message_types().serialize_cdr(written, own)), LabelInfo)
    assert (received.header.stamp.sec, received.header.stamp.nanosec) == (5, 6)
    assert (received.header.frame_id, received.model, received.invalid_id) == ("base_link", "m", 255)
    assert [as_dict(entry) for entry in received.classes] == [ROAD]


def test_transforms_have_the_type_of_the_real_tf2():
    name = "tf2_msgs/msg/TFMessage"
    assert installed_hash(name) == get_typestore(Stores.ROS2_JAZZY).hash_rihs01(name)
