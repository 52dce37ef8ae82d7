"""nuScenes' tables: those of a real key frame rebuilt, and what is wrong with them said."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.dataset_files import picture, write
from support.nuscenes_tables import CATEGORIES, save, tables_of

from internimage_perception.data.datasets.nuscenes import NuScenes
from internimage_perception.data.datasets.nuscenes_boxes import Box3D, box_in_picture
from internimage_perception.errors import DatasetError
from internimage_perception.geometry import PinholeCamera
from internimage_perception.geometry.poses import invert, pose, rpy_to_matrix, transform


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write(tmp_path / "samples/CAM_FRONT/a.png", picture(height=60, width=80))
    write(tmp_path / "samples/CAM_BACK/b.png", picture(1, height=60, width=80))
    write(tmp_path / "sweeps/CAM_FRONT/c.png", picture(2, height=60, width=80))
    forward = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    base = pose((100.0, 200.0, 0.0), rpy_to_matrix(0.0, 0.0, 0.5))
    k = [[40.0, 0.0, 39.5], [0.0, 40.0, 29.5], [0.0, 0.0, 1.0]]
    turned = pose(rotation=rpy_to_matrix(0.0, 0.0, np.pi)) @ forward
    cameras = [
        {"file": file, "channel": channel, "k": k, "base_from_camera": camera, "global_from_base": base,
         "size": (60, 80), "key": file.startswith("samples")}
        for file, channel, camera in (
            ("samples/CAM_FRONT/a.png", "CAM_FRONT", forward), ("samples/CAM_BACK/b.png", "CAM_BACK", turned),
            ("sweeps/CAM_FRONT/c.png", "CAM_FRONT", forward),
        )
    ]  # fmt: skip
    boxes = [
        {"category": category, "global_from_box": base @ pose(centre), "wlh": wlh, "points": points}
        for category, centre, wlh, points in (
            ("vehicle.car", (10.0, 1.0, 0.0), [2, 4, 1], 9), ("animal", (10.0, 1.0, 0.0), [1, 1, 1], 9),
            ("vehicle.bus.bendy", (0.0, 3.0, 0.0), [2, 10, 3], 1),
        )
    ]  # fmt: skip
    return save(tmp_path, tables_of(cameras, boxes))


def test_pictures_lenses_poses_and_boxes(small: Path) -> None:
    dataset = NuScenes(small, "v1.0-mini", objects="projected")
    assert list(dataset.names) == ["samples/CAM_FRONT/a", "samples/CAM_BACK/b"]
    sample = dataset[0]
    assert sample.camera.fx == 40.0 and (sample.image == picture(height=60, width=80)).all()
    global_from_base, base_from_camera = dataset.poses(0)
    assert np.allclose(global_from_base[:2, 3], [100.0, 200.0]) and np.allclose(
        base_from_camera[:3, 2], [1, 0, 0]
    )
    car, bus = dataset.boxes(0)
    assert np.allclose(car.base_from_box[:3, 3], [10.0, 1.0, 0.0]) and car.size.tolist() == [4.0, 2.0, 1.0]
    assert [dataset.classes[item.class_id] for item in (car, bus)] == ["car", "bus"]
    assert (car.num_lidar_pts, car.instance_id, bus.instance_id) == (9, 1, 3)
    # The car's rear is 8 m ahead, from 0 to 2 m on the left, half a metre up and down.
    seen_car, seen_bus = sample.objects
    assert np.allclose(seen_car.box, [29.5, 27.0, 39.5, 32.0])
    # The bus stands beside the camera and reaches 5 m ahead: cut at the picture's left border.
    assert np.allclose(
        seen_bus.box, [-0.5, 29.5 - 40 * 1.5 / 2, 39.5 - 40 * 2 / 5, 29.5 + 40 * 1.5 / 2], atol=10
    )
    assert seen_bus.box[0] == pytest.approx(-0.5) and seen_bus.box[2] == pytest.approx(39.5 - 40 * 2 / 5)
    back = dataset[1].objects
    assert [dataset.classes[item.class_id] for item in back] == ["bus"]


def test_choices(small: Path) -> None:
    assert NuScenes(small, "v1.0-mini", ("CAM_BACK",)).names == ["samples/CAM_BACK/b"]
    dataset = NuScenes(small, "v1.0-mini", sweeps=True, objects="projected")
    assert dataset.names[2] == "sweeps/CAM_FRONT/c"
    assert dataset[2].objects is None and dataset.boxes(2) is None
    assert len(NuScenes(small, "v1.0-mini", min_points=2).boxes(0)) == 1
    assert NuScenes(small, "v1.0-mini")[0].objects is None
    assert (
        NuScenes(small, "v1.0-mini", scenes=("scene-0061",), label_map="nuscenes_to_dacon12").classes[11]
        == "Car"
    )
    again = pickle.loads(pickle.dumps(dataset))
    assert again[0].objects[0].box.tolist() == dataset[0].objects[0].box.tolist()


def test_mistakes(small: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"no folder .*v1\.0-trainval, where the tables .*holds samples, sweeps"
    ):
        NuScenes(small)
    with pytest.raises(DatasetError, match="has no scene scene-1; it has 1, such as scene-0061"):
        NuScenes(small, "v1.0-mini", scenes=("scene-1",))
    with pytest.raises(DatasetError, match="has no camera CAM_TOP; it has CAM_BACK, CAM_FRONT"):
        NuScenes(small, "v1.0-mini", ("CAM_FRONT", "CAM_TOP"))
    file = small / "v1.0-mini" / "ego_pose.json"
    file.write_text("[")
    with pytest.raises(DatasetError, match=r"ego_pose\.json is damaged"):
        NuScenes(small, "v1.0-mini")
    file.write_text("[]")
    with pytest.raises(DatasetError, match="a table lacks '0'"):
        NuScenes(small, "v1.0-mini")
    file.unlink()
    with pytest.raises(DatasetError, match=r"ego_pose\.json cannot be read: No such file"):
        NuScenes(small, "v1.0-mini")


def test_boxes_by_their_rendered_sides() -> None:
    """Against a picture of each box, drawn side by side from many points on its surface."""
    rng = np.random.default_rng(0)
    lens = PinholeCamera(width=320, height=240, fx=150.0, fy=160.0, cx=150.0, cy=125.0)
    steps = np.linspace(-0.5, 0.5, 81)
    a, b = (item.reshape(-1) for item in np.meshgrid(steps, steps))
    sides = [
        np.roll(np.stack([np.full_like(a, end), a, b], 1), axis, 1)
        for axis in range(3)
        for end in (-0.5, 0.5)
    ]
    surface = np.concatenate(sides)
    shown_count = 0
    for _ in range(40):
        place = pose(rng.uniform((-6, -4, -2), (6, 4, 15)), rpy_to_matrix(*rng.uniform(-3, 3, 3)))
        size = rng.uniform(0.5, 6.0, 3)
        found = box_in_picture(Box3D(0, place, size, 0, 0, 0), lens, np.eye(4))
        points = transform(place, surface * size)
        points = points[points[:, 2] > 0.1]
        u = lens.fx * points[:, 0] / points[:, 2] + lens.cx
        v = lens.fy * points[:, 1] / points[:, 2] + lens.cy
        inside = (u >= -0.5) & (u <= 319.5) & (v >= -0.5) & (v <= 239.5)
        if inside.sum() < 50:
            continue
        shown_count += 1
        drawn = np.array([u[inside].min(), v[inside].min(), u[inside].max(), v[inside].max()])
        # Points on the surface lie inside, and reach the border but for their distance from each other.
        assert (found[:2] <= drawn[:2] + 1e-9).all() and (found[2:] >= drawn[2:] - 1e-9).all()
        assert np.abs(found - drawn).max() < 25
        assert np.median(np.abs(found - drawn)) < 2
    assert shown_count > 12


@pytest.mark.shared
def test_real_key_frame(shared_data: Path, tmp_path: Path) -> None:
    """Its calibration and boxes as tables give the 2-D boxes that the set's own tools computed."""
    source = shared_data / "nuscenes_frame"
    frame = json.loads((source / "frame.json").read_text())
    global_from_lidar = np.array(frame["ego2global"]) @ np.array(frame["lidar"]["lidar2ego"])
    cameras = []
    for channel, item in frame["cameras"].items():
        base_from_camera = np.array(item["cam2ego"])
        # Where the vehicle was when this camera fired follows from the lidar's pose in it.
        global_from_base = global_from_lidar @ invert(base_from_camera @ np.array(item["lidar2cam"]))
        cameras.append(
            {
                "file": item["file"], "channel": channel, "k": item["cam2img"],
                "base_from_camera": base_from_camera, "global_from_base": global_from_base,
                "size": (900, 1600),
            }
        )  # fmt: skip
    boxes = []
    for item in frame["boxes_lidar"]:
        (x, y, z), (length, width, height) = item["centre"], item["size_lwh"]
        # The set's boxes stand upright in the world; this file has them rounded to a turn about the lidar.
        ahead = (global_from_lidar @ pose((x, y, z), rpy_to_matrix(0.0, 0.0, item["yaw"])))[:, [0, 3]]
        upright = rpy_to_matrix(0.0, 0.0, np.arctan2(ahead[1, 0], ahead[0, 0]))
        boxes.append(
            {
                "category": CATEGORIES[item["class"]], "wlh": [width, length, height],
                "points": item["num_lidar_pts"],
                "global_from_box": pose(ahead[:3, 1], upright),
            }
        )  # fmt: skip
    for item in cameras:
        (tmp_path / item["file"]).symlink_to(source / item["file"])
    dataset = NuScenes(save(tmp_path, tables_of(cameras, boxes)), "v1.0-mini", objects="projected")
    assert len(dataset) == 6
    compared = 0
    for index, (channel, name) in enumerate(zip(frame["cameras"], dataset.names, strict=True)):
        sample = dataset[index]
        assert sample.image.shape == (900, 1600, 3) and name == Path(frame["cameras"][channel]["file"]).stem
        found = {item.instance_id: item for item in sample.objects}
        for wanted in frame["boxes_cam"][channel]:
            if wanted["class"] == "other":
                assert wanted["lidar_box_index"] + 1 not in found
                continue
            item = found[wanted["lidar_box_index"] + 1]
            assert dataset.classes[item.class_id] == wanted["class"]
            # Theirs are cut at 0 and 1600, half a pixel off this package's borders.
            assert np.abs(item.box - wanted["bbox_xyxy"]).max() < 1.0
            compared += 1
    assert compared > 50
