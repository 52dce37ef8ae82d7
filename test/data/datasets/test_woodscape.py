"""WoodScape in its published layout, in miniature: lens, labels, boxes, outlines."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.calibration_files import WOODSCAPE
from support.dataset_files import HEIGHT, WIDTH, ids, picture, write

from internimage_perception.data.datasets import load_dataset
from internimage_perception.errors import ConfigError, DatasetError

NAMES = ("00000_FV", "00001_MVL", "00002_MVR", "00003_RV")


def instances(name: str, annotations: list[dict]) -> dict:
    entries = [
        {"id": str(index), "z_order": index, "states": {}, **item} for index, item in enumerate(annotations)
    ]
    content = {
        "image_width": 2 * WIDTH,
        "image_height": 2 * HEIGHT,
        "image_channels": 3,
        "annotation": entries,
    }
    return {f"{name}.json": content}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        write(tmp_path / f"rgb_images/{name}.png", picture(index))
        write(tmp_path / f"semantic_annotations/gtLabels/{name}.png", ids([0, 1, 2, 3, 6, 9]))
        write(tmp_path / f"semantic_annotations/rgbLabels/{name}.png", picture())
    return tmp_path


def test_labels_by_camera(root: Path) -> None:
    dataset = load_dataset("woodscape", root=root)
    assert list(dataset.names) == list(NAMES)
    assert (dataset[3].labels == ids([255, 0, 0, 1, 11, 6])).all() and dataset[3].camera is None
    mirrors = load_dataset("woodscape", root=root, cameras=["MVL", "MVR"])
    assert list(mirrors.names) == ["00001_MVL", "00002_MVR"]
    with pytest.raises(ConfigError, match="cameras must be a list of FV or RV or MVL or MVR"):
        load_dataset("woodscape", root=root, cameras=["front"])


def test_archives_unpacked_into_folders_of_their_name(root: Path) -> None:
    inner = root / "unpacked" / "semantic_annotations" / "semantic_annotations"
    inner.parent.mkdir(parents=True)
    (root / "semantic_annotations").rename(inner)
    (root / "unpacked" / "rgb_images").mkdir()
    (root / "rgb_images").rename(root / "unpacked" / "rgb_images" / "rgb_images")
    dataset = load_dataset("woodscape", root=root / "unpacked")
    assert list(dataset.names) == list(NAMES)
    assert (dataset[0].labels == ids([255, 0, 0, 1, 11, 6])).all()


def test_lens_of_each_picture(root: Path) -> None:
    folder = root / "calibration" / "calibration"
    folder.mkdir(parents=True)
    lens = WOODSCAPE | {"intrinsic": WOODSCAPE["intrinsic"] | {"width": WIDTH, "height": HEIGHT}}
    for number, name in enumerate(NAMES[:2]):
        changed = lens | {"intrinsic": lens["intrinsic"] | {"k1": 300.0 + number}}
        (folder / f"{name}.json").write_text(json.dumps(changed))
    (folder / f"{NAMES[2]}.json").write_text(json.dumps(WOODSCAPE))
    dataset = load_dataset("woodscape", root=root)
    assert dataset[0].camera.fx == 300.0 and dataset[1].camera.fx == 301.0
    assert dataset[0].camera.cx == pytest.approx(3.942 + WIDTH / 2 - 0.5)
    with pytest.raises(DatasetError, match=r"00002_MVR\.json is a calibration for 1280x966 pixels"):
        dataset[2]
    with pytest.raises(DatasetError, match=r"00003_RV\.json: cannot be read"):
        dataset[3]


def test_boxes(root: Path) -> None:
    folder = root / "box_2d_annotations"
    folder.mkdir()
    (folder / f"{NAMES[0]}.txt").write_text("vehicles,0,1,2,5,4\nbicycle,2,0,0,1,1\nperson,1,3,5,2,0\n")
    (folder / f"{NAMES[1]}.txt").write_text("")
    (folder / f"{NAMES[3]}.txt").write_text("vehicles,0,1,2,5\n")
    dataset = load_dataset("woodscape", root=root, objects="boxes")
    car, person = dataset[0].objects
    assert car.class_id == 11 and car.box.tolist() == [0.5, 1.5, 5.5, 4.5] and car.polygons == ()
    # Corners in any order, whole pixels inclusive.
    assert person.class_id == 9 and person.box.tolist() == [1.5, -0.5, 3.5, 5.5]
    assert dataset[1].objects == () and dataset[2].objects is None
    with pytest.raises(DatasetError, match=r"00003_RV\.txt, line 1: must be name, id, x, y, x, y"):
        dataset[3]
    (folder / f"{NAMES[1]}.txt").write_text("rider,7,0,0,1,1,0,0,1,0,1,1\n")
    with pytest.raises(DatasetError, match="line 1: the id 7 is not in the label map"):
        dataset[1]
    (folder / f"{NAMES[1]}.txt").write_text("person,1,0,0,1,1,0,0,1,0,1,1\n")
    assert dataset[1].objects[0].polygons[0].tolist() == [[0, 0], [1, 0], [1, 1]]


def test_outlines(root: Path) -> None:
    folder = root / "instance_annotations" / "instance_annotations"
    folder.mkdir(parents=True)
    square = [[1, 1], [5, 1], [5, 5], [1, 5]]
    annotations = [
        {"tags": ["road_surface"], "segmentation": square},
        {"tags": ["car"], "segmentation": square, "group_id": "a"},
        {"tags": ["van"], "segmentation": [[9, 1], [11, 1], [11, 3]], "group_id": "a"},
        {"tags": ["person"], "segmentation": square},
        {"tags": ["person"], "segmentation": [[0, 0], [1, 1]]},
    ]
    file = folder / f"{NAMES[0]}.json"
    file.write_text(json.dumps(instances(NAMES[0], annotations)))
    dataset = load_dataset("woodscape", root=root, objects="instances")
    car, person = dataset[0].objects
    # Drawn at twice the size: pixel 1 of those is the right half of pixel 0 of these.
    assert person.polygons[0].tolist() == [[0.25, 0.25], [2.25, 0.25], [2.25, 2.25], [0.25, 2.25]]
    assert (car.class_id, len(car.polygons), person.class_id) == (11, 2, 9)
    assert car.box.tolist() == [-0.25, -0.25, 5.75, 2.75]
    assert dataset[1].objects is None
    file.write_text(json.dumps(instances(NAMES[0], [{"tags": ["spaceship"], "segmentation": square}])))
    with pytest.raises(DatasetError, match=r"00000_FV\.json: the tag 'spaceship' is not in label map"):
        dataset[0]
    file.write_text(json.dumps(instances(NAMES[0], [{"tags": ["car"]}])))
    with pytest.raises(DatasetError, match=r"cannot be read as outlines: KeyError: 'segmentation'"):
        dataset[0]


def test_chosen_frames_and_mistakes(root: Path) -> None:
    (root / "val.txt").write_text("00003_RV.png\n00001_MVL.png\n")
    assert load_dataset("woodscape", root=root, frames=root / "val.txt").names == ["00003_RV", "00001_MVL"]
    (root / "val.txt").write_text("00009_RV.png\n")
    with pytest.raises(DatasetError, match=r"val\.txt lists 00009_RV, of which there is no picture"):
        load_dataset("woodscape", root=root, frames=root / "val.txt")
    (root / "semantic_annotations/gtLabels/00001_MVL.png").unlink()
    with pytest.raises(DatasetError, match=r"rgb_images/00001_MVL\.png is without label file"):
        load_dataset("woodscape", root=root)
    assert load_dataset("woodscape", root=root, labelled=False)[1].labels is None
    with pytest.raises(DatasetError, match="has no folder of boxes: none of box_2d_annotations/box"):
        load_dataset("woodscape", root=root, labelled=False, objects="boxes")
    (root / "instance_annotations").mkdir()
    names = {"classes": ["car"], "labels": [{"name": "car", "to": "car"}], "unknown": "ignore"}
    write(root / "semantic_annotations/gtLabels/00001_MVL.png", ids([0]))
    with pytest.raises(ConfigError, match="have different classes"):
        load_dataset("woodscape", root=root, objects="instances", object_map=names)
    only = load_dataset("woodscape", root=root, labelled=False, objects="instances", object_map=names)
    assert only.classes == ("car",) and np.shape(only[0].image) == (HEIGHT, WIDTH, 3)
