"""Images of a rig as a recording: what is written comes back, and says which lens and pose it has."""

import dataclasses

import numpy as np
import pytest

from internimage_perception.bags.reader import open_bags
from internimage_perception.data.camera_bag import CameraBagWriter, camera_info
from internimage_perception.errors import BagError
from internimage_perception.geometry import (
    DoubleSphereCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    Rig,
    camera_from_info,
)
from internimage_perception.geometry.poses import quaternion_to_matrix
from internimage_perception.inference.messages import frame_from_message
from internimage_perception.resources import share_path

FRAMES = 3
START_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def rig():
    whole = Rig.load(share_path("config/rigs/four_fisheye.yaml"))
    small = {
        name: dataclasses.replace(item, camera=item.camera.resized(64, 48))
        for name, item in whole.cameras.items()
    }
    left = small["left"]
    small["left"] = dataclasses.replace(left, image_topic=f"{left.image_topic}/compressed")
    return Rig(small)


def picture(number: int, index: int) -> np.ndarray:
    """Return a smooth picture, as JPEG keeps it, unlike any other camera's and moment's."""
    rows, columns = np.mgrid[0:48, 0:64]
    channels = (2 * rows + 40 * number, 2 * columns, np.full_like(rows, 60 * index))
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def bag(rig, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cameras") / "bag"
    with CameraBagWriter(folder, rig) as writer:
        for index in range(FRAMES):
            for number, name in enumerate(rig.cameras):
                stamp_ns = START_NS + index * 10**8
                writer.write(name, picture(number, index), stamp_ns, stamp_ns + (number + 1) * 10**6)
    return folder


def messages(folder, topic):
    with open_bags(folder) as reader:
        return [(item.message, item.receive_ns) for item in reader.messages([topic])]


def test_every_camera_has_images_and_infos(bag, rig):
    with open_bags(bag) as reader:
        counts = {info.name: (info.msgtype, info.count) for info in reader.topics.values()}
        assert reader.topics["/tf_static"].latched
    for name, item in rig.cameras.items():
        kind = "CompressedImage" if name == "left" else "Image"
        assert counts[item.image_topic] == (f"sensor_msgs/msg/{kind}", FRAMES)
        assert counts[item.info_topic] == ("sensor_msgs/msg/CameraInfo", FRAMES)


def test_images_come_back_as_written(bag, rig):
    for number, (name, item) in enumerate(rig.cameras.items()):
        found = messages(bag, item.image_topic)
        assert len(found) == FRAMES
        for index, (message, receive_ns) in enumerate(found):
            frame = frame_from_message(message, name, receive_ns)
            assert frame.frame_id == f"camera_{name}_optical"
            assert frame.stamp_ns == START_NS + index * 10**8
            assert receive_ns - frame.stamp_ns == (number + 1) * 10**6
            difference = np.abs(frame.decode("rgb").astype(int) - picture(number, index))
            assert difference.max() <= (12 if name == "left" else 0)


def test_camera_info_and_transforms_are_the_rig(bag, rig):
    transforms = messages(bag, "/tf_static")[0][0].transforms
    assert [item.header.frame_id for item in transforms] == ["base_link"] * 4
    for item, transform in zip(rig.cameras.values(), transforms, strict=True):
        info = messages(bag, item.info_topic)[0][0]
        assert info.distortion_model == "equidistant"
        assert camera_from_info(info, theta_max=item.camera.theta_max) == item.camera
        assert transform.child_frame_id == item.frame_id
        moved, turned = transform.transform.translation, transform.transform.rotation
        pose = item.base_from_camera
        assert np.allclose((moved.x, moved.y, moved.z), pose[:3, 3])
        assert np.allclose(quaternion_to_matrix((turned.x, turned.y, turned.z, turned.w)), pose[:3, :3])


SIZE = {"width": 64, "height": 48, "fx": 50.0, "fy": 51.0, "cx": 31.0, "cy": 24.5}


@pytest.mark.parametrize(
    "lens",
    [
        PinholeCamera(**SIZE),
        PinholeCamera(**SIZE, d=(0.1, -0.02, 0.001, 0.002, 0.003)),
        PinholeCamera(**SIZE, d=(0.1, 0.01, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0)),
        KannalaBrandtCamera(**SIZE, d=(0.01, -0.02, 0.003, 0.0)),
        MeiCamera(**SIZE, xi=0.9),
        DoubleSphereCamera(**SIZE, xi=-0.2, alpha=0.6),
    ],
)
def test_camera_info_says_every_lens(lens):
    assert camera_from_info(camera_info(None, lens)) == lens


def test_a_folder_in_use_is_left_alone(bag, rig):
    with pytest.raises(BagError, match="is not empty"):
        CameraBagWriter(bag, rig)


def test_files_need_a_compressed_topic(rig, tmp_path):
    with (
        pytest.raises(BagError, match="end it in /compressed"),
        CameraBagWriter(tmp_path / "b", rig) as bag,
    ):
        bag.write("front", b"\xff\xd8\xff", 1, 2)
