"""Cityscapes and DACON in their published layouts, in miniature."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.dataset_files import ids, picture, write

from internimage_perception.data.datasets import load_dataset
from internimage_perception.errors import DatasetError

FRAMES = ("aachen/aachen_000000_000019", "aachen/aachen_000001_000019", "bochum/bochum_000000_000313")
# A camera file as published; its pictures have 2048x1024 pixels.
CAMERA = {
    "extrinsic": {
        "baseline": 0.209313, "pitch": 0.038, "roll": 0.0, "x": 1.7, "y": 0.1, "yaw": -0.0195, "z": 1.22,
    },
    "intrinsic": {"fx": 2262.52, "fy": 2265.3017905988554, "u0": 1096.98, "v0": 513.137},
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, frame in enumerate(FRAMES):
        write(tmp_path / f"leftImg8bit/train/{frame}_leftImg8bit.png", picture(index))
        stem = tmp_path / f"gtFine/train/{frame}_gtFine"
        write(Path(f"{stem}_labelIds.png"), ids([7, 26, 1, 33, 23, index + 11]))
        write(Path(f"{stem}_labelTrainIds.png"), ids([0, 13, 255]))
        write(Path(f"{stem}_color.png"), picture())
        write(Path(f"{stem}_instanceIds.png"), ids([7]).astype(np.uint16) * 1000)
        Path(f"{stem}_polygons.json").write_text("{}")
    return tmp_path


def test_layout_and_default_classes(root: Path) -> None:
    dataset = load_dataset("cityscapes", root=root)
    assert list(dataset.names) == [f"train/{frame}" for frame in FRAMES]
    assert dataset.classes[0] == "Road" and len(dataset.classes) == 12
    for index, sample in enumerate(dataset):
        assert (sample.image == picture(index)).all() and sample.camera is None and sample.objects is None
        assert (sample.labels == ids([0, 11, 255, 255, 8, (2, 2, 3)[index]])).all()
    assert dataset.description == (
        "Cityscapes train: 3 pictures, 3 with labels, 12 classes (label map cityscapes_to_dacon12)"
    )


def test_train_ids_and_other_maps(root: Path) -> None:
    train = load_dataset("cityscapes", root=root, labels="labelTrainIds")
    assert (train[0].labels == ids([0, 11, 255])).all()
    own = load_dataset("cityscapes", root=root, label_map="cityscapes_to_cityscapes19")
    assert (own[0].labels == ids([0, 13, 255, 18, 10, 2])).all() and len(own.classes) == 19
    changed = {"base": "cityscapes_to_dacon13", "change": {"bicycle": "Rider"}}
    sample = load_dataset("cityscapes", root=root, label_map=changed)[0]
    assert (sample.labels == ids([0, 11, 12, 10, 8, 2])).all()
    with pytest.raises(
        DatasetError, match=r"labelIds\.png holds label id 26 .*cityscapes_trainids_to_dacon12"
    ):
        _ = load_dataset("cityscapes", root=root, label_map="cityscapes_trainids_to_dacon12")[0]


def test_camera_files(root: Path) -> None:
    for frame in FRAMES[:2]:
        file = root / f"camera/train/{frame}_camera.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(CAMERA))
    dataset = load_dataset("cityscapes", root=root)
    camera = dataset[0].camera
    assert (camera.model, camera.fx, camera.cy, camera.width) == ("pinhole", 2262.52, 513.137, 8)
    file.write_text(json.dumps({"intrinsic": {"fx": 1.0}}))
    with pytest.raises(
        DatasetError, match=r"aachen_000001_000019_camera\.json cannot be used .*KeyError: 'fy'"
    ):
        dataset[1]
    with pytest.raises(DatasetError, match=r"no folder .*camera/train/bochum"):
        dataset[2]


def test_without_labels_or_incomplete(root: Path) -> None:
    write(root / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", picture())
    test = load_dataset("cityscapes", root=root, split="test", annotations="none")
    assert test[0].labels is None and test.names == ["test/berlin/berlin_000000_000019"]
    with pytest.raises(DatasetError, match=r"no folder .*gtFine/test, where Cityscapes labels should be"):
        load_dataset("cityscapes", root=root, split="test")
    (root / f"gtFine/train/{FRAMES[2]}_gtFine_labelIds.png").unlink()
    with pytest.raises(DatasetError, match=r"bochum_000000_000313_leftImg8bit\.png is without label file"):
        load_dataset("cityscapes", root=root)
    with pytest.raises(DatasetError, match=r"no folder .*leftImg8bit/dev.*holds test, train"):
        load_dataset("cityscapes", root=root, split="dev")
    write(root / "leftImg8bit/train_extra/ulm/ulm_000000_000019_leftImg8bit.png", picture())
    with pytest.raises(DatasetError, match=r"leftImg8bit/train_extra has no fine labels: .* gtCoarse"):
        load_dataset("cityscapes", root=root, split="train_extra")
    write(root / "gtCoarse/train_extra/ulm/ulm_000000_000019_gtCoarse_labelIds.png", ids([7]))
    extra = load_dataset("cityscapes", root=root, split="train_extra", annotations="gtCoarse")
    assert extra[0].labels.max() == 0


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    write(tmp_path / "train_source_image/TRAIN_SOURCE_0000.png", picture(0))
    write(tmp_path / "train_source_gt/TRAIN_SOURCE_0000.png", ids([0, 11, 255]))
    write(tmp_path / "test_image/TEST_0000.png", picture(1))
    (tmp_path / "train_source.csv").write_text(
        "id,img_path,gt_path\nTRAIN_SOURCE_0000,./train_source_image/TRAIN_SOURCE_0000.png,"
        "./train_source_gt/TRAIN_SOURCE_0000.png\n"
    )
    (tmp_path / "test.csv").write_text("id,img_path\nTEST_0000,./test_image/TEST_0000.png\n")
    return tmp_path


def test_contest_lists(contest: Path) -> None:
    source = load_dataset("dacon", root=contest)
    assert (source[0].labels == ids([0, 11, 12])).all() and source.classes[12] == "Background"
    ignored = load_dataset("dacon", root=contest, label_map="dacon_255_ignored")
    assert (ignored[0].labels == ids([0, 11, 255])).all() and len(ignored.classes) == 12
    test = load_dataset("dacon", root=contest, split="test")
    assert test.names == ["TEST_0000"] and test[0].labels is None and (test[0].image == picture(1)).all()
    assert "without labels" in test.description


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,img_path\na,b\n", "lacks the column gt_path"),
        ("", "lacks the column id; it has none"),
        ("id,img_path,gt_path\n", "lists no pictures"),
        ("id,img_path,gt_path\na,b,\n", "line 2: gt_path is empty"),
        ("id,img_path,gt_path\na,b\n", "line 2: gt_path is empty"),
        ("id,img_path,gt_path\na,b,c\na,d,e\n", "line 3: the id a appears twice"),
    ],
)
def test_wrong_lists(contest: Path, content: str, message: str) -> None:
    (contest / "train_source.csv").write_text(content)
    with pytest.raises(DatasetError, match=r"train_source\.csv.*" + message):
        load_dataset("dacon", root=contest)
    with pytest.raises(DatasetError, match=r"val_source\.csv cannot be read"):
        load_dataset("dacon", root=contest, split="val_source")
