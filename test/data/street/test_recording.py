"""`scene`: the same bytes whatever the number of processes and interruptions; truth that fits its images."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the street needs the extra `sim`")

from rosbags.highlevel import AnyReader

from internimage_perception.cli.main import main
from internimage_perception.data.street import recording
from internimage_perception.data.street.birds_eye import GridSpec, birds_eye
from internimage_perception.data.street.classes import IGNORED, StreetClass
from internimage_perception.data.street.recording import RecordingSpec, record_street
from internimage_perception.data.street.rig_view import fit_ego, with_ego_masks
from internimage_perception.data.street.street import Street
from internimage_perception.data.street.truth import TruthReader
from internimage_perception.errors import BagError, CalibrationError
from internimage_perception.geometry import Rig
from internimage_perception.resources import share_path

SPEC = RecordingSpec(seed=3, frames=5, samples=1)


def small(rig: Rig, names=("front", "left"), width=64, height=48) -> Rig:
    cameras = {
        name: dataclasses.replace(rig.cameras[name], camera=rig.cameras[name].camera.resized(width, height))
        for name in names
    }
    return Rig(cameras, rig.base_frame)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return small(Rig.load(share_path("config/rigs/four_fisheye.yaml")))


@pytest.fixture(scope="module")
def recorded(rig, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scene") / "drive"
    record_street(folder, rig, SPEC)
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def messages(folder: Path):
    with AnyReader([folder / "bag"]) as reader:
        for connection, receive_ns, raw in reader.messages():
            yield connection.topic, receive_ns, reader.deserialize(raw, connection.msgtype)


def stamp_of(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_bag_holds_images_calibration_poses_and_odometry(recorded) -> None:
    counts = {}
    for topic, receive_ns, message in messages(recorded):
        counts[topic] = counts.get(topic, 0) + 1
        if hasattr(message, "header"):
            assert 0 < receive_ns - stamp_of(message) <= 30_000_000
    assert counts == {
        "/camera/front/image_raw": 5, "/camera/front/camera_info": 5, "/camera/left/image_raw": 5,
        "/camera/left/camera_info": 5, "/tf": 25, "/odom": 25, "/tf_static": 1,
    }  # fmt: skip


def test_truth_belongs_to_each_image(recorded) -> None:
    truth = TruthReader(recorded)
    checked = 0
    for topic, _, message in messages(recorded):
        if not topic.endswith("image_raw"):
            continue
        name, stamp = topic.split("/")[2], stamp_of(message)
        labels = truth.class_ids(name, stamp)
        image = message.data.reshape(message.height, message.width, 3)
        assert labels.shape == image.shape[:2] and not image[labels == IGNORED][:50].all()
        assert stamp in truth.stamps()
        instances, depth = truth.instance_ids(name, stamp), truth.depth(name, stamp)
        assert np.isnan(depth[labels == StreetClass.SKY]).all()
        assert (depth[labels == StreetClass.ROAD] > 0.2).mean() > 0.99
        for item in truth.objects(stamp)["cameras"][name]:
            own = instances == item["instance_id"]
            v, u = np.nonzero(own)
            assert item["box"] == [u.min() - 0.5, v.min() - 0.5, u.max() + 0.5, v.max() + 0.5]
            assert item["pixels"] == own.sum() and (labels[own] == item["class_id"]).all()
        checked += 1
    assert checked == 10 and truth.birds_eye(stamp)[0].shape == (200, 200)
    assert (recorded / "truth" / "classes" / "front" / f"{stamp}.png").is_file()


def test_boxes_3d_are_where_their_pixels_are(recorded, rig) -> None:
    truth, checked = TruthReader(recorded), 0
    lens, pose = rig.camera("front").camera, rig.camera("front").base_from_camera
    rays, _ = lens.unproject(lens.pixel_grid())
    for stamp in truth.stamps():
        instances, depth = truth.instance_ids("front", stamp), truth.depth("front", stamp)
        for item in truth.objects(stamp)["objects_3d"]:
            own = instances == item["instance_id"]
            points = (rays[own] * depth[own][:, None]) @ pose[:3, :3].T + pose[:3, 3]
            if not len(points):
                continue
            c, s = np.cos(item["yaw"]), np.sin(item["yaw"])
            local = (points - item["centre"]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            assert (np.abs(local) < np.array(item["size"]) / 2 + 0.25).all()
            checked += 1
    assert checked > 5


def test_odometry_follows_the_street(recorded) -> None:
    poses = {stamp_of(m): m for topic, _, m in messages(recorded) if topic == "/odom"}
    stamps = sorted(poses)
    street = Street.generate(SPEC.seed)
    for stamp in stamps[::6]:
        position = poses[stamp].pose.pose.position
        expected = street.ego_pose((stamp - stamps[0]) * 1e-9)[:3, 3]
        np.testing.assert_allclose([position.x, position.y, position.z], expected, atol=1e-9)
    first, last = poses[stamps[0]], poses[stamps[-1]]
    seconds = (stamps[-1] - stamps[0]) * 1e-9
    moved = np.hypot(last.pose.pose.position.x - first.pose.pose.position.x,
                     last.pose.pose.position.y - first.pose.pose.position.y)  # fmt: skip
    assert moved / seconds == pytest.approx(first.twist.twist.linear.x, rel=0.03)


def test_more_processes_same_bytes(recorded, rig, tmp_path) -> None:
    record_street(tmp_path / "two", rig, SPEC, workers=2)
    assert digests(tmp_path / "two") == digests(recorded)


def test_interrupted_recording_goes_on_to_the_same_bytes(rig, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(recording, "_SETS_PER_SEGMENT", 2)
    record_street(tmp_path / "whole", rig, SPEC)
    calls = []

    def stop(done: int) -> None:
        calls.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_street(tmp_path / "part", rig, SPEC, on_set=stop)
    torn = tmp_path / "part" / "truth" / "objects" / ".1.json.abc.part"
    torn.write_text("torn by a kill")
    rest = []
    record_street(tmp_path / "part", rig, SPEC, on_set=rest.append)
    assert not torn.exists()
    assert calls == [0, 1, 2, 3] and rest == [2, 3, 4, 5]
    assert digests(tmp_path / "part") == digests(tmp_path / "whole")
    again = []
    record_street(tmp_path / "part", rig, SPEC, on_set=again.append)
    assert again == [5] and digests(tmp_path / "part") == digests(tmp_path / "whole")


def test_another_recording_in_the_folder_is_refused(recorded, rig) -> None:
    before = digests(recorded)
    with pytest.raises(BagError):
        record_street(recorded, rig, dataclasses.replace(SPEC, seed=4))
    assert digests(recorded) == before


def test_compressed_images_are_jpeg_on_their_own_topics(rig, tmp_path) -> None:
    record_street(tmp_path / "jpeg", rig, dataclasses.replace(SPEC, frames=1, compressed=True))
    images = [
        m for topic, _, m in messages(tmp_path / "jpeg") if topic == "/camera/front/image_raw/compressed"
    ]
    assert len(images) == 1 and images[0].format == "jpeg" and bytes(images[0].data[:2]) == b"\xff\xd8"
    assert Rig.load(tmp_path / "jpeg" / "rig.yaml").camera("front").image_topic.endswith("/compressed")


def test_ego_mask_is_where_the_labels_show_the_own_car(recorded, rig, tmp_path) -> None:
    assert Rig.load(recorded / "rig.yaml").camera("left").ego_mask is None
    masked = tmp_path / "masked"
    record_street(masked, rig, dataclasses.replace(SPEC, frames=1, ego_masks=True))
    saved, truth = Rig.load(masked / "rig.yaml"), TruthReader(masked)
    labels = truth.class_ids("left", truth.stamps()[0])
    mask = saved.camera("left").ego_mask
    assert mask.sum() > 30 and (labels[mask] == StreetClass.BACKGROUND).all()


@pytest.mark.parametrize("place", [(1.4, 0.0, 1.3), (3.5, 0.0, 0.6), (-0.7, 0.1, 0.7), (1.5, 0.8, 0.6)])
def test_no_camera_is_inside_the_own_car(rig, place) -> None:
    camera = rig.camera("front")
    pose = camera.base_from_camera.copy()
    pose[:3, 3] = place
    moved = Rig({"front": dataclasses.replace(camera, base_from_camera=pose)}, rig.base_frame)
    mask = with_ego_masks(moved).camera("front").ego_mask
    # From inside, nothing but the body would be seen.
    assert mask.sum() < 0.8 * camera.camera.valid_mask().sum()
    assert fit_ego(moved) != fit_ego(rig)


def test_a_rig_without_poses_is_refused(rig, tmp_path) -> None:
    bare = Rig({"front": dataclasses.replace(rig.camera("front"), base_from_camera=None)}, rig.base_frame)
    with pytest.raises(CalibrationError, match="camera 'front'"):
        record_street(tmp_path / "bare", bare, SPEC)


def test_grid_shows_the_own_car_and_hides_what_is_behind_a_house() -> None:
    moment = Street.generate(3).at(0.0)
    wide = small(Rig.load(share_path("config/rigs/four_fisheye.yaml")), ("front", "left", "rear", "right"))
    grid = birds_eye(moment, wide, seen=())
    spec = GridSpec()
    i, j = int((0.0 + spec.extent) / spec.cell), int((1.2 + spec.extent) / spec.cell)
    assert grid.class_ids[i, j] == StreetClass.BACKGROUND and not grid.visible[i, j]
    ahead = int((8.0 + spec.extent) / spec.cell)
    assert grid.class_ids[i, ahead] == StreetClass.ROAD and grid.visible[i, ahead]
    houses = grid.class_ids == StreetClass.CONSTRUCTION
    assert houses.sum() > 500 and grid.visible[houses].mean() < 0.3
    cars = [
        item
        for item in moment.objects
        if item.class_id == StreetClass.CAR and np.abs(item.pose[:2, 3]).max() < 45
    ]
    for item in cars:
        x, y = item.pose[:2, 3]
        assert (
            grid.class_ids[int((y + spec.extent) / spec.cell), int((x + spec.extent) / spec.cell)]
            == StreetClass.CAR
        )
    assert cars
    seen = birds_eye(moment, wide, seen={cars[0].instance_id})
    assert seen.visible[seen.instance_ids == cars[0].instance_id].all()


def test_command_records_and_explains_wrong_options(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    words = [
        "scene",
        "--out",
        str(out),
        "--frames",
        "1",
        "--size",
        "48x36",
        "--samples",
        "1",
        "--split",
        "test",
    ]
    assert main(words) == 0
    assert "truth:" in capsys.readouterr().out
    content = json.loads(next((out / "truth" / "objects").glob("*.json")).read_text())
    assert set(content["cameras"]) == {"front", "left", "rear", "right"}
    assert main([*words, "--seed", "1"]) == 1
    assert "scene: " in capsys.readouterr().err
    for option, value in (("frames", "0"), ("size", "9x9"), ("rate", "0"), ("seed", "-1"), ("speed", "99")):
        assert main(["scene", "--out", str(tmp_path / "no"), f"--{option}", value]) == 1
        assert f"--{option} is" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_missing_truth_says_which_file(recorded) -> None:
    with pytest.raises(BagError, match=r"classes/front/1\.png is missing"):
        TruthReader(recorded).class_ids("front", 1)
