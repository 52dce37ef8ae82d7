"""Frames taken from a recording at even distances."""

import numpy as np
import pytest
from support.bags import PERIOD, T0, image, scene, write_bag

from internimage_perception.bags.sampling import sample_frames
from internimage_perception.bags.types import make_message
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.errors import BagError


def test_frames_are_spread_over_time_and_cameras(tmp_path):
    bag = write_bag(tmp_path / "bag", frames=6)
    found = sample_frames([bag], 4)
    assert [(item.topic, (item.receive_ns - T0) // PERIOD) for item in found] == [
        ("/cam/front/image_raw", 0), ("/cam/front/image_raw", 2), ("/cam/left/image_raw", 3),
        ("/cam/left/image_raw", 5),
    ]  # fmt: skip
    assert (found[2].image == scene(301)).all()
    bgr = sample_frames([bag], 4, channel_order="bgr")
    assert (bgr[2].image == scene(301)[..., ::-1]).all()
    left = sample_frames([bag], 99, topics=["cam/left/image_raw"])
    assert [item.topic for item in left] == ["/cam/left/image_raw"] * 6


def test_damaged_frames_are_passed_over(tmp_path):
    with SegmentedBagWriter(tmp_path / "bag") as writer:
        writer.add_topic("/a", "sensor_msgs/msg/Image")
        for index in range(6):
            good = image(scene(index), T0 + index)
            bad = make_message(
                "sensor_msgs/msg/Image", header=good.header, height=48, width=64, encoding="rgb8",
                is_bigendian=0, step=192, data=np.zeros(5, np.uint8),
            )  # fmt: skip
            writer.write("/a", bad if index in {0, 3} else good, T0 + index)
    assert [item.receive_ns - T0 for item in sample_frames([tmp_path / "bag"], 3)] == [1, 2, 5]


def test_what_holds_no_frames_is_refused(tmp_path):
    with SegmentedBagWriter(tmp_path / "words") as writer:
        writer.add_topic("/chatter", "std_msgs/msg/String")
        writer.write("/chatter", make_message("std_msgs/msg/String", data="x"), T0)
    with pytest.raises(BagError, match="words holds no images"):
        sample_frames([tmp_path / "words"], 3)
    bag = write_bag(tmp_path / "bag", frames=1)
    with pytest.raises(BagError, match="/cam/rear"):
        sample_frames([bag], 3, topics=["/cam/rear"])
