"""Camera names and topics from rig files, topic lists and bare topic names."""

import pytest

from internimage_perception.errors import ConfigError
from internimage_perception.geometry import Rig, RigCamera
from internimage_perception.inference.sources import (
    CameraSource,
    camera_name_of,
    camera_sources,
    info_topic_of,
    parse_topics,
)


@pytest.mark.parametrize(
    ("topic", "name", "info"),
    [
        ("/cam/front/image_raw", "front", "/cam/front/camera_info"),
        ("/cam/front/image_raw/compressed", "front", "/cam/front/camera_info"),
        ("raspicam_node/image/compressed", "raspicam_node", "raspicam_node/camera_info"),
        ("/image", "image", "/camera_info"),
        ("/camera0", "camera0", "/camera_info"),
        ("/left-cam/image_rect_color", "left_cam", "/left-cam/camera_info"),
        ("/0/image_raw", "camera_0", "/0/camera_info"),
        ("/größe/image_raw", "gr__e", "/größe/camera_info"),
    ],
)
def test_names_of_topics(topic: str, name: str, info: str) -> None:
    assert camera_name_of(topic) == name
    assert info_topic_of(topic) == info


def test_topics_that_share_their_last_word_are_told_apart() -> None:
    found = parse_topics(["/a/front/image_raw", "/b/front/image_raw", "rear=/c/image"])
    assert [item.name for item in found] == ["a_front_image_raw", "b_front_image_raw", "rear"]


def test_a_given_name_stays_and_others_give_way() -> None:
    found = parse_topics(["/b/front/image_raw", "front=/a/x"])
    assert [item.name for item in found] == ["b_front_image_raw", "front"]
    with pytest.raises(ConfigError, match="camera front is given two topics"):
        parse_topics(["front=/a", "front=/b"])


@pytest.mark.parametrize("entry", ["", "front=", "=/topic", "a b=/topic", "1st=/topic", "größe=/topic"])
def test_incomplete_entries_are_refused(entry: str) -> None:
    with pytest.raises(ConfigError):
        parse_topics([entry])


def test_a_rig_gives_cameras_and_topics_replace_its_own() -> None:
    rig = Rig(
        {
            "front": RigCamera(name="front", image_topic="/f/image_raw", info_topic="/f/info"),
            "rear": RigCamera(name="rear", image_topic="/r/image_raw"),
        }
    )
    assert camera_sources(rig, ["rear=/other/image"]) == [
        CameraSource("front", "/f/image_raw", "/f/info"),
        CameraSource("rear", "/other/image", "/other/camera_info"),
    ]
    with pytest.raises(ConfigError, match="'top' is not in the rig"):
        camera_sources(rig, ["top=/t"])
    with pytest.raises(ConfigError, match="no cameras"):
        camera_sources(None, [])
    with pytest.raises(ConfigError, match="has no image_topic"):
        camera_sources(Rig({"x": RigCamera(name="x", image_topic="")}), [])
