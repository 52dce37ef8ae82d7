"""Messages of any origin become frames that view their bytes."""

import array
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from internimage_perception.errors import ImageError
from internimage_perception.inference.messages import frame_from_message

DATA = np.arange(24, dtype=np.uint8)


def header(sec: int = 12, nanosec: int = 345) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id="front_optical")


def raw(data: object, **changes: object) -> SimpleNamespace:
    fields = {"width": 4, "height": 2, "encoding": "rgb8", "is_bigendian": 0, "step": 12, **changes}
    return SimpleNamespace(header=header(), data=data, **fields)


def test_image_as_rclpy_delivers_it_is_viewed():
    data = array.array("B", DATA.tobytes())
    frame = frame_from_message(raw(data), "front", 99)
    assert (frame.camera, frame.frame_id, frame.receive_ns) == ("front", "front_optical", 99)
    assert frame.stamp_ns == 12_000_000_345
    assert (frame.width, frame.height, frame.encoding, frame.step) == (4, 2, "rgb8", 12)
    assert not frame.compressed
    assert not frame.big_endian
    assert np.shares_memory(frame.data, np.frombuffer(data, dtype=np.uint8))
    pixels = frame.decode()
    assert np.shares_memory(pixels, frame.data), "neither the frame nor its pixels copy the message"
    np.testing.assert_array_equal(pixels.reshape(-1), DATA)


def test_compressed_image_carries_its_format():
    message = SimpleNamespace(header=header(), format="jpeg", data=DATA.tobytes())
    frame = frame_from_message(message, "rear", 5)
    assert frame.compressed
    assert (frame.width, frame.height, frame.step, frame.encoding) == (0, 0, 0, "jpeg")
    with pytest.raises(ImageError, match="neither JPEG nor PNG"):
        frame.decode()


@pytest.mark.parametrize("store", [Stores.ROS2_HUMBLE, Stores.ROS1_NOETIC])
def test_rosbags_messages_of_both_ros_versions(store):
    typestore = get_typestore(store)
    types = typestore.types
    stamp = types["builtin_interfaces/msg/Time"](sec=3, nanosec=7)
    head_type = types["std_msgs/msg/Header"]
    head = head_type(stamp=stamp, frame_id="f", **({"seq": 1} if store == Stores.ROS1_NOETIC else {}))
    image = types["sensor_msgs/msg/Image"](
        header=head, height=2, width=4, encoding="bgr8", is_bigendian=1, step=12, data=DATA
    )
    if store == Stores.ROS1_NOETIC:
        wire = typestore.serialize_ros1(image, image.__msgtype__)
        received = typestore.deserialize_ros1(wire, image.__msgtype__)
    else:
        wire = typestore.serialize_cdr(image, image.__msgtype__)
        received = typestore.deserialize_cdr(wire, image.__msgtype__)
    frame = frame_from_message(received, "front", 1)
    assert frame.stamp_ns == 3_000_000_007
    assert frame.big_endian
    assert np.shares_memory(frame.data, np.frombuffer(wire, dtype=np.uint8))
    np.testing.assert_array_equal(frame.decode("bgr").reshape(-1), DATA)


def test_pixels_are_not_checked_before_they_are_decoded():
    frame = frame_from_message(raw(b"", encoding="nonsense", step=0), "front", 0)
    assert frame.data.size == 0
    with pytest.raises(ImageError, match="nonsense"):
        frame.decode()


def test_a_driver_without_clock_gives_stamp_zero():
    message = raw(DATA)
    message.header = header(0, 0)
    assert frame_from_message(message, "front", 1).stamp_ns == 0


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (SimpleNamespace(data="text"), "camera left: expected sensor_msgs/Image or CompressedImage"),
        (SimpleNamespace(encoding="rgb8"), "camera left: SimpleNamespace lacks a field"),
        (raw([1, 2, 3]), "camera left: image data must be a buffer of bytes, got list"),
        (None, "got NoneType"),
    ],
)
def test_other_objects_are_refused(message, words):
    with pytest.raises(ImageError, match=words):
        frame_from_message(message, "left", 0)
