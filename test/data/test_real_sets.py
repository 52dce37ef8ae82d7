"""Image sets of published data become rigs and bags; recordings are found wherever they lie."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from internimage_perception.bags.reader import open_bags
from internimage_perception.data.image_sets import LOADERS, ImageSet, load_image_set, rig_camera
from internimage_perception.data.real_sets import RealSet, find_real_sets
from internimage_perception.errors import CalibrationError, PerceptionError
from internimage_perception.geometry import Rig
from internimage_perception.geometry.poses import invert, transform


@pytest.fixture
def load(shared_data):
    def load_set(folder: str, loader: str) -> ImageSet:
        return load_image_set(shared_data / folder, LOADERS[loader])

    return load_set


@pytest.mark.shared
def test_everything_is_found(shared_data):
    found = {item.name: item for item in find_real_sets(shared_data)}
    images = {name for name, item in found.items() if item.loader is not None}
    assert images == {
        "fisheye_jeyp4_rover_surround", "fisheye_neozhaoliang_surround", "fisheye_opencalib_surround_set1",
        "fisheye_opencalib_surround_set2", "camvid_seq", "kitti_000008", "nuscenes_frame",
    }  # fmt: skip
    bags = set(found) - images
    assert len(bags) == 7
    assert all(name.startswith("bags_") for name in bags)
    alone = find_real_sets(shared_data / "fisheye" / "opencalib_surround" / "set2")
    assert [item.name for item in alone] == ["set2"]


@pytest.mark.shared
def test_rover_sees_measured_points_where_they_were_picked(load, shared_data):
    found = load("fisheye/jeyp4_rover_surround", "jeyp4_rover_surround")
    points = yaml.safe_load(
        (shared_data / "fisheye/jeyp4_rover_surround/calibration_points.yaml").read_text(encoding="utf-8")
    )
    errors = []
    for label, groups in points["image_points"].items():
        camera = found.rig.camera(label.removesuffix("Camera"))
        for group, pixels in groups.items():
            seen = transform(invert(camera.base_from_camera), points["world_points"][group])
            projected, valid = camera.camera.project(seen)
            assert valid.all()
            errors.extend(np.linalg.norm(projected - np.array(pixels), axis=1))
    assert len(errors) == 24
    assert np.mean(errors) < 2.5
    assert max(errors) < 7.5


@pytest.mark.shared
def test_opencalib_cameras_stand_where_the_calibration_says(load, shared_data):
    content = json.loads(
        (shared_data / "fisheye/opencalib_surround/calibration.json").read_text(encoding="utf-8")
    )
    rig = load("fisheye/opencalib_surround/set1", "opencalib_surround/set*").rig
    looks = {"front": (1, 0), "left": (0, 1), "back": (-1, 0), "right": (0, -1)}
    for name, camera in rig.cameras.items():
        right, forward, up = content["cameras"][name.capitalize()]["camera_centre_in_ground"]
        assert np.allclose(camera.base_from_camera[:3, 3], (forward, -right, up), atol=1e-4)
        direction = camera.base_from_camera[:2, 2]
        assert direction @ looks[name] > 0.99 * np.linalg.norm(direction)
        assert camera.base_from_camera[2, 2] < 0.0


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "loader"),
    [
        ("fisheye/neozhaoliang_surround", "neozhaoliang_surround"),
        ("fisheye/opencalib_surround/set1", "opencalib_surround/set*"),
        ("fisheye/opencalib_surround/set2", "opencalib_surround/set*"),
    ],
)
def test_valid_pixels_end_where_the_pictures_turn_black(load, folder, loader):
    found = load(folder, loader)
    for picture in found.pictures:
        lens = found.rig.camera(picture.camera).camera
        pixels = cv2.imread(str(picture.path))
        assert pixels.shape[:2] == (lens.height, lens.width)
        valid = lens.valid_mask()
        radius = round(0.04 * lens.width)
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
        inner = cv2.erode(valid.astype(np.uint8), brush, borderValue=1).astype(bool)
        outer = ~cv2.dilate(valid.astype(np.uint8), brush, borderValue=0).astype(bool)
        brightness = pixels.max(axis=-1)
        dark = np.median(brightness[outer])
        assert dark < 65
        assert np.median(brightness[valid & ~inner]) > 1.8 * dark + 10


@pytest.mark.shared
def test_nuscenes_boxes_and_times(load, shared_data):
    found = load("nuscenes_frame", "nuscenes_frame")
    frame = json.loads((shared_data / "nuscenes_frame/frame.json").read_text(encoding="utf-8"))
    assert list(found.rig.cameras) == [name.removeprefix("CAM_").lower() for name in frame["cameras"]]
    for picture in found.pictures:
        microseconds = picture.path.stem.rsplit("__", 1)[1]
        assert picture.stamp_ns == int(microseconds) * 1000
    for label, boxes in frame["boxes_cam"].items():
        camera = found.rig.camera(label.removeprefix("CAM_").lower())
        centres = np.array([box["box3d_cam"][:3] for box in boxes])
        expected = np.array([box["center_2d"] for box in boxes])
        assert np.allclose(camera.camera.project(centres)[0], expected, atol=2e-3)
    # The front camera of a car stands ahead of its rear axle, above the ground, and looks ahead.
    front = found.rig.camera("front").base_from_camera
    assert np.allclose(front[:3, 3], (1.70, 0.02, 1.51), atol=0.01)
    assert front[0, 2] > 0.99


@pytest.mark.shared
def test_kitti_projects_lidar_points_as_its_matrices_do(load, shared_data):
    rig = load("kitti_000008", "kitti_000008").rig
    values = json.loads((shared_data / "kitti_000008/frame.json").read_text(encoding="utf-8"))["frame"][
        "images"
    ]["CAM2"]
    projection = np.array(values["cam2img"]) @ np.array(values["lidar2cam"])
    points = np.array([(12.0, 3.0, -1.5), (30.0, -8.0, 0.5), (6.0, 0.5, -1.0)])
    rows = np.c_[points, np.ones(3)] @ projection.T
    camera = rig.camera("front")
    pixels, _ = camera.camera.project(transform(invert(camera.base_from_camera), points))
    assert rig.base_frame == "velodyne"
    assert np.allclose(pixels, rows[:, :2] / rows[:, 2:3], atol=0.02)


@pytest.mark.shared
def test_camvid_is_a_sequence_without_its_labels(load):
    found = load("camvid_seq", "camvid_seq")
    assert [picture.path.name for picture in found.pictures][:2] == [
        "Seq05VD_f04770.png",
        "Seq05VD_f04800.png",
    ]
    assert np.diff([picture.stamp_ns for picture in found.pictures]).tolist() == [1_000_000_000] * 9
    assert found.rig.camera("front").camera is None


@pytest.mark.shared
def test_pictures_go_into_the_bag_byte_by_byte(shared_data, tmp_path):
    source = shared_data / "fisheye" / "jeyp4_rover_surround"
    bag, rig_file = RealSet("rover", source, LOADERS["jeyp4_rover_surround"]).prepare(tmp_path)
    rig = Rig.load(rig_file)
    with open_bags(bag) as reader:
        messages = {item.topic: item.message for item in reader.messages()}
    for name, camera in rig.cameras.items():
        message = messages[camera.image_topic]
        assert message.data.tobytes() == (source / f"{name}.jpg").read_bytes()
        assert message.format == "jpeg"
        assert message.header.frame_id == camera.frame_id
        assert messages[camera.info_topic].width == camera.camera.width


# --- without the real data ----------------------------------------------------------------------------------


def picture(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def camvid(folder: Path, numbers=(30, 0, 60)) -> Path:
    for number in numbers:
        picture(folder / f"Seq_f{number:05}.png", number + 40)
        picture(folder / f"Seq_f{number:05}_label.png")
    return folder


def test_a_sequence_is_recorded_in_order_of_time(tmp_path):
    (item,) = find_real_sets(camvid(tmp_path / "data" / "camvid_seq").parent)
    bag, rig = item.prepare(tmp_path / "out")
    with open_bags(bag) as reader:
        brightness = [
            int(cv2.imdecode(message.message.data, cv2.IMREAD_COLOR)[0, 0, 0])
            for message in reader.messages(["/front/image_raw/compressed"])
        ]
        assert set(reader.topics) == {"/front/image_raw/compressed"}
    assert brightness == [40, 70, 100]
    assert Rig.load(rig).camera("front").camera is None


def test_a_missing_calibration_is_named(tmp_path):
    folder = tmp_path / "jeyp4_rover_surround"
    folder.mkdir()
    with pytest.raises(CalibrationError, match=r"jeyp4_rover_surround.*cannot be used.*camerasParam"):
        find_real_sets(tmp_path)[0].prepare(tmp_path / "out")


@pytest.mark.parametrize(
    ("loader", "file", "text"),
    [
        ("jeyp4_rover_surround", "camerasParam.yaml", "frontCamera: {ros__parameters: {image_width: 10}}"),
        ("jeyp4_rover_surround", "camerasParam.yaml", "a: [b"),
        ("kitti_000008", "frame.json", "{}"),
        ("nuscenes_frame", "frame.json", "not json"),
        ("neozhaoliang_surround", "front.yaml", "%YAML:1.0\n---\nresolution: 5\n"),
    ],
)
def test_a_wrong_calibration_is_named(tmp_path, loader, file, text):
    folder = tmp_path / loader
    folder.mkdir()
    (folder / file).write_text(text)
    with pytest.raises(CalibrationError, match=f"{loader}: its calibration files cannot be used"):
        load_image_set(folder, LOADERS[loader])


def test_a_missing_picture_is_named(tmp_path):
    def loader(folder: Path) -> ImageSet:
        found = LOADERS["camvid_seq"](folder)
        found.pictures[1].path.unlink()
        return found

    with pytest.raises(PerceptionError, match=r"camera front: cannot read .*Seq_f00030.png: No such file"):
        RealSet("x", camvid(tmp_path / "camvid_seq"), loader).prepare(tmp_path / "out")


def test_a_set_without_pictures_is_no_set(tmp_path):
    (tmp_path / "camvid_seq").mkdir()
    with pytest.raises(CalibrationError, match=r"holds no pictures"):
        load_image_set(tmp_path / "camvid_seq", LOADERS["camvid_seq"])


def test_bags_of_every_kind_are_found_once(tmp_path):
    (item,) = find_real_sets(camvid(tmp_path / "camvid_seq").parent)
    bag, _ = item.prepare(tmp_path / "made")
    root = tmp_path / "root"
    shutil.copytree(bag, root / "deep" / "recorded")
    (root / "a-b").mkdir()
    shutil.copy(next(bag.glob("*.mcap")), root / "a-b" / "x.mcap")
    shutil.copy(next(bag.glob("*.mcap")), root / "a_b_x.mcap")
    (root / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (root / "notes").mkdir()
    (root / "notes" / "metadata.yaml").write_text("title: not a bag\n")
    found = {item.name: item.source.relative_to(root).as_posix() for item in find_real_sets(root)}
    assert found == {
        "deep_recorded": "deep/recorded",
        "a_b_x_mcap": "a-b/x.mcap",
        "a_b_x_mcap_2": "a_b_x.mcap",
        "old_bag": "old.bag",
    }
    assert find_real_sets(root)[0].prepare(tmp_path / "unused") == (root / "deep" / "recorded", None)
    assert not (tmp_path / "unused").exists()
    assert [item.name for item in find_real_sets(root / "deep" / "recorded")] == ["recorded"]


def test_results_within_the_folder_are_left_out(tmp_path):
    camvid(tmp_path / "camvid_seq")
    find_real_sets(tmp_path)[0].prepare(tmp_path / "out")
    assert len(find_real_sets(tmp_path)) == 2
    assert [item.name for item in find_real_sets(tmp_path, besides=tmp_path / "out")] == ["camvid_seq"]


def test_nothing_to_find_is_said(tmp_path):
    with pytest.raises(PerceptionError, match="there is no folder"):
        find_real_sets(tmp_path / "absent")
    with pytest.raises(PerceptionError, match=r"holds no bags .* and none of jeyp4_rover_surround"):
        find_real_sets(tmp_path)


def test_names_become_topics_and_frames():
    camera = rig_camera("left")
    assert (camera.image_topic, camera.info_topic, camera.frame_id) == (
        "/left/image_raw/compressed", "", "left_optical",
    )  # fmt: skip
