"""Bags: every camera's pictures found again, with truth, lens and regions; damage spoils single samples."""

import dataclasses
import json
import pickle
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.dataset_files import ids, picture, write

from internimage_perception.data.camera_bag import CameraBagWriter
from internimage_perception.data.datasets import load_dataset
from internimage_perception.errors import BagError, ConfigError, DatasetError
from internimage_perception.geometry import KannalaBrandtCamera, Rig, RigCamera

START = 1_700_000_000_000_000_000
LENS = KannalaBrandtCamera(width=32, height=24, fx=10.0, fy=10.0, cx=15.5, cy=11.5, theta_max=1.2)
STEP = 100_000_000


def rig_of(*, compressed: bool = False) -> Rig:
    suffix = "/compressed" if compressed else ""
    return Rig(
        {
            name: RigCamera(
                name=name, image_topic=f"/{name}/image_raw{suffix}", info_topic=f"/{name}/camera_info",
                frame_id=name, camera=LENS,
            )
            for name in ("front", "rear")
        }
    )  # fmt: skip


def shot(camera: str, index: int) -> np.ndarray:
    return picture(100 * (camera == "rear") + index, 24, 32)


def record(folder: Path, rig: Rig, count: int = 3) -> Path:
    with CameraBagWriter(folder, rig) as bag:
        for index in range(count):
            for name, camera in rig.cameras.items():
                image: object = shot(name, index)
                if camera.image_topic.endswith("compressed"):
                    image = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
                # Both cameras are received at one time.
                bag.write(name, image, START + index * STEP, START + index * STEP + 5)
    return folder


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    folder = tmp_path / "drive"
    rig = rig_of()
    mask = np.zeros((24, 32), bool)
    mask[20:] = True
    cameras = {**rig.cameras, "front": dataclasses.replace(rig.cameras["front"], ego_mask=mask)}
    record(folder / "bag", rig)
    Rig(cameras).save(folder / "rig.yaml")
    for index in range(2):
        for name in cameras:
            write(folder / f"truth/classes/{name}/{START + index * STEP}.png", ids([index, 11, 255], 24, 32))
    view = [{"number": 1, "instance_id": 42, "class_id": 11, "box": [1.5, 2.5, 5.5, 6.5], "pixels": 9,
             "outlines": [[[2, 3], [5, 3], [5, 6]]]}]  # fmt: skip
    content = {"stamp_ns": START, "cameras": {"front": view, "rear": []}, "objects_3d": []}
    (folder / "truth/objects").mkdir()
    (folder / f"truth/objects/{START}.json").write_text(json.dumps(content))
    return folder


def test_a_recording_with_truth(drive: Path) -> None:
    dataset = load_dataset("bag", bag=drive)
    assert list(dataset.names) == [f"{name}/{START + i * STEP}" for name in ("front", "rear") for i in (0, 1)]
    assert "(front 2, rear 2), 13 classes; 2 pictures without truth left out" in dataset.description
    for place, (name, index) in enumerate((n, i) for n in ("front", "rear") for i in (0, 1)):
        sample = dataset[place]
        assert (sample.image == shot(name, index)).all() and sample.image.flags.writeable
        assert (sample.labels == ids([index, 11, 255], 24, 32)).all()
        assert sample.camera == LENS
    (car,) = dataset[0].objects
    assert (car.class_id, car.instance_id, car.box.tolist()) == (11, 42, [1.5, 2.5, 5.5, 6.5])
    assert car.polygons[0].tolist() == [[2, 3], [5, 3], [5, 6]]
    assert dataset[2].objects == () and dataset[1].objects is None
    front, rear = dataset[0].regions, dataset[2].regions
    assert front.ego_body[20:].all() and front.ego_body.sum() == 4 * 32 and not rear.ego_body.any()
    assert (front.outside_lens == ~LENS.valid_mask()).all() and front.outside_lens.any()


def test_choices(drive: Path) -> None:
    rear = load_dataset("bag", bag=drive, cameras=["rear"])
    assert len(rear) == 2 and "rear 2" in rear.description and "without picture" not in rear.description
    plain = load_dataset("bag", bag=drive, labelled=False)
    assert len(plain) == 6 and plain[0].labels is None and plain[0].objects is None
    vehicles = {"classes": ["car"], "labels": [{"id": 11, "name": "Car", "to": "car"}], "unknown": "ignore"}
    sample = load_dataset("bag", bag=drive, label_map=vehicles)[0]
    assert set(np.unique(sample.labels).tolist()) == {0, 255} and sample.objects[0].class_id == 0
    with pytest.raises(ConfigError, match="has no camera 'left'; its cameras are front, rear"):
        load_dataset("bag", bag=drive, cameras=["left"])


def test_a_plain_bag_is_unlabelled_and_knows_its_lenses(tmp_path: Path) -> None:
    folder = record(tmp_path / "images", rig_of(compressed=True))
    dataset = load_dataset("bag", bag=folder)
    assert len(dataset) == 6 and "without labels" in dataset.description
    for place in (5, 0, 3, 3):
        name, stamp = dataset.names[place].split("/")
        sample = dataset[place]
        assert (sample.image == shot(name, (int(stamp) - START) // STEP)).all()
        assert sample.camera.fx == 10.0 and sample.labels is None
    with pytest.raises(DatasetError, match=r"has no truth: no folder classes in .*/images/truth, "):
        load_dataset("bag", bag=folder, labelled=True)
    with pytest.raises(DatasetError, match=r"has no truth: no folder classes in .*/elsewhere"):
        load_dataset("bag", bag=folder, truth=tmp_path / "elsewhere")


def test_truth_that_does_not_fit(drive: Path) -> None:
    file = drive / f"truth/classes/rear/{START}.png"
    write(file, ids([13], 24, 32))
    dataset = load_dataset("bag", bag=drive)
    with pytest.raises(DatasetError, match=rf"rear/{START}\.png holds label id 13"):
        dataset[2]
    write(file, ids([0], 12, 16))
    with pytest.raises(DatasetError, match="has 16x12 pixels, but its picture 32x24"):
        dataset[2]
    (drive / f"truth/objects/{START}.json").write_text('{"cameras": {"front": [{}]}}')
    with pytest.raises(DatasetError, match=r"\.json cannot be read as the objects .*KeyError"):
        dataset[0]
    file.rename(file.with_name("123.png"))
    assert "1 files of truth without picture" in load_dataset("bag", bag=drive).description
    for camera in ("front", "rear"):
        for path in (drive / "truth/classes" / camera).glob("*.png"):
            path.rename(path.with_name(f"9{path.name}"))
    with pytest.raises(DatasetError, match="has truth for none of the pictures"):
        load_dataset("bag", bag=drive)


def test_damaged_pictures_are_single(tmp_path: Path) -> None:
    rig = rig_of(compressed=True)
    with CameraBagWriter(tmp_path / "images", rig) as bag:
        for index, data in enumerate(
            (b"\xff\xd8\xff broken", cv2.imencode(".png", shot("front", 1))[1].tobytes())
        ):
            bag.write("front", data, START + index, START + index)
    dataset = load_dataset("bag", bag=tmp_path / "images")
    with pytest.raises(DatasetError, match=rf"picture front/{START} cannot be read: .*truncated"):
        dataset[0]
    assert dataset[1].image.shape == (24, 32, 3)


def test_no_bag_and_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(BagError):
        load_dataset("bag", bag=tmp_path / "none")


def read_first(dataset) -> int:
    return int(dataset[0].image.sum())


def test_other_processes_open_the_bag_themselves(drive: Path) -> None:
    dataset = load_dataset("bag", bag=drive)
    wanted = read_first(dataset)
    assert read_first(pickle.loads(pickle.dumps(dataset))) == wanted
    # Forked with the bag open, as loaders of training do.
    with get_context("fork").Pool(2) as pool:
        assert pool.map(read_first, [dataset] * 4) == [wanted] * 4


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "ubiquity_ros2/aruco_images_mcap",
        "ubiquity_ros2/aruco_images_sqlite3",
        "ubiquity_ros1/aruco_images.bag",
    ],
)
def test_real_bags(shared_data: Path, name: str) -> None:
    dataset = load_dataset("bag", bag=shared_data / "bags" / name)
    assert len(dataset) == 1
    sample = dataset[0]
    assert sample.image.shape == (960, 1280, 3) and sample.camera.model == "pinhole"
