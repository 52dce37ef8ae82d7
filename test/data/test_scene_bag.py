"""A drive through the generated street as a recording."""

import dataclasses

import numpy as np
import pytest

from internimage_perception.bags.reader import open_bags
from internimage_perception.data.camera_bag import CameraBagWriter, camera_info
from internimage_perception.data.scene import StreetScene
from internimage_perception.data.scene_bag import write_scene_bag
from internimage_perception.errors import BagError
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera, Rig, camera_from_info
from internimage_perception.geometry.poses import quaternion_to_matrix
from internimage_perception.inference.messages import frame_from_message
from internimage_perception.resources import share_path

FRAMES = 4


@pytest.fixture(scope="module")
def scene():
    rig = Rig.load(share_path("config/rigs/four_fisheye.yaml"))
    small = {
        name: dataclasses.replace(item, camera=item.camera.resized(160, 120))
        for name, item in rig.cameras.items()
    }
    left = small["left"]
    small["left"] = dataclasses.replace(left, image_topic=f"{left.image_topic}/compressed")
    return StreetScene(Rig(small))


@pytest.fixture(scope="module")
def bag(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene") / "bag"
    counts: list[int] = []
    write_scene_bag(folder, scene, frames=FRAMES, on_frame=counts.append)
    assert counts == list(range(1, FRAMES + 1))
    return folder


def messages(folder, topic):
    with open_bags(folder) as reader:
        return [(item.message, item.receive_ns) for item in reader.messages([topic])]


def test_every_camera_has_images_and_infos(bag, scene):
    with open_bags(bag) as reader:
        counts = {info.name: (info.msgtype, info.count) for info in reader.topics.values()}
        assert reader.topics["/tf_static"].latched
    for name, item in scene.rig.cameras.items():
        kind = "CompressedImage" if name == "left" else "Image"
        assert counts[item.image_topic] == (f"sensor_msgs/msg/{kind}", FRAMES)
        assert counts[item.info_topic] == ("sensor_msgs/msg/CameraInfo", FRAMES)


def test_images_come_back_as_rendered(bag, scene):
    start_ns = 1_700_000_000_000_000_000
    for name, tolerance in (("rear", 0), ("left", 6)):
        for message, receive_ns in messages(bag, scene.rig.camera(name).image_topic):
            frame = frame_from_message(message, name, receive_ns)
            assert frame.frame_id == f"camera_{name}_optical"
            rendered = scene.render(name, (frame.stamp_ns - start_ns) * 1e-9 * 8.0)
            assert np.abs(frame.decode("rgb").astype(int) - rendered).mean() <= tolerance


def test_stamps_jitter_and_messages_arrive_later(bag, scene):
    stamps, delays = [], []
    for name, item in scene.rig.cameras.items():
        for message, receive_ns in messages(bag, item.image_topic):
            frame = frame_from_message(message, name, receive_ns)
            stamps.append(frame.stamp_ns)
            delays.append(receive_ns - frame.stamp_ns)
    by_frame = np.array(stamps).reshape(4, FRAMES)
    spread = np.ptp(by_frame, axis=0)
    assert (spread > 0).all()
    assert (spread < 10_000_000).all()
    assert np.allclose(np.diff(by_frame, axis=1), 100_000_000, atol=3_000_000)
    assert min(delays) >= 10_000_000 - 1
    assert max(delays) <= 30_000_000 + 1


def test_camera_info_and_transforms_are_the_rig(bag, scene):
    transforms = messages(bag, "/tf_static")[0][0].transforms
    assert [item.header.frame_id for item in transforms] == ["base_link"] * 4
    for item, transform in zip(scene.rig.cameras.values(), transforms, strict=True):
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
    ],
)
def test_camera_info_says_every_lens(lens):
    assert camera_from_info(camera_info(None, lens)) == lens


def test_a_folder_in_use_is_left_alone(bag, scene):
    with pytest.raises(BagError, match="is not empty"):
        CameraBagWriter(bag, scene.rig)


def test_files_need_a_compressed_topic(scene, tmp_path):
    with (
        pytest.raises(BagError, match="end it in /compressed"),
        CameraBagWriter(tmp_path / "b", scene.rig) as bag,
    ):
        bag.write("front", b"\xff\xd8\xff", 1, 2)
