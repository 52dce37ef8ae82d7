"""Pictures and labels of folders: matched by name, whatever the names end in."""

from pathlib import Path

import pytest
import yaml
from support.calibration_files import ROS
from support.dataset_files import ids, picture, write

from internimage_perception.data.datasets.folders import FolderPairs
from internimage_perception.data.datasets.pictures import regions_picture
from internimage_perception.data.sample import Regions
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.geometry import KannalaBrandtCamera


def test_subfolders_endings_and_kinds_of_files(tmp_path: Path) -> None:
    for name in ("a/1_rgb.jpg", "a/2_rgb.PNG", "b/1_rgb.png", "b/.hidden_rgb.png", "b/note_rgb.txt"):
        write(tmp_path / "x" / name, picture()) if name[-3:] != "txt" else (tmp_path / "x" / name).touch()
    for name in ("a/1", "a/2", "b/1"):
        write(tmp_path / "y" / f"{name}_ids.png", ids([3]))
    dataset = FolderPairs(tmp_path / "x", tmp_path / "y", image_ending="_rgb", label_ending="_ids")
    assert list(dataset.names) == ["a/1", "a/2", "b/1"]
    assert all((sample.labels == 3).all() for sample in dataset)


@pytest.mark.parametrize(("image_ending", "label_ending"), [("", "_label"), ("_rgb", ""), ("_rgb", "_label")])
def test_pictures_and_labels_in_one_folder(tmp_path: Path, image_ending: str, label_ending: str) -> None:
    for index in range(2):
        write(tmp_path / f"{index}{image_ending}.png", picture(index))
        write(tmp_path / f"{index}{label_ending}.png", ids([index]))
    dataset = FolderPairs(tmp_path, tmp_path, image_ending, label_ending)
    assert list(dataset.names) == ["0", "1"]
    assert (dataset[1].image == picture(1)).all() and (dataset[1].labels == 1).all()


def test_links_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "x" / "a" / "0.png", picture())
    (tmp_path / "x" / "a" / "up").symlink_to(tmp_path / "x")
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "1.png", picture())
    (tmp_path / "x" / "more").symlink_to(tmp_path / "elsewhere")
    assert list(FolderPairs(tmp_path / "x").names) == ["a/0", "more/1"]


def test_labels_below_the_pictures(tmp_path: Path) -> None:
    write(tmp_path / "0.png", picture())
    write(tmp_path / "labels" / "0.png", ids([4]))
    dataset = FolderPairs(tmp_path, tmp_path / "labels")
    assert list(dataset.names) == ["0"] and (dataset[0].labels == 4).all()


def test_pictures_without_label_and_the_reverse(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "x" / f"{index}.png", picture())
    write(tmp_path / "y" / "0.png", ids([0]))
    with pytest.raises(
        DatasetError, match=r"x/1\.png and 1 more are without label file \(there are 1, such as 0"
    ):
        FolderPairs(tmp_path / "x", tmp_path / "y")
    dataset = FolderPairs(tmp_path / "x", tmp_path / "y", allow_unlabelled=True)
    assert [sample.labels is None for sample in dataset] == [False, True, True]
    write(tmp_path / "y" / "7.png", ids([0]))
    with pytest.raises(DatasetError, match=r"y/7\.png is without its picture"):
        FolderPairs(tmp_path / "x", tmp_path / "y", allow_unlabelled=True)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty holds no pictures: no file \*\.png or \*\.jpg"):
        FolderPairs(tmp_path / "empty")
    file = write(tmp_path / "x" / "0.png", picture())
    with pytest.raises(DatasetError, match="is a file, but pictures are in a folder"):
        FolderPairs(file)
    with pytest.raises(ConfigError, match="pictures and labels are the same files"):
        FolderPairs(tmp_path / "x", tmp_path / "x")
    write(tmp_path / "x" / "0.jpg", picture())
    with pytest.raises(DatasetError, match="have one name; keep one of them"):
        FolderPairs(tmp_path / "x")


def test_a_damaged_picture_leaves_the_others_usable(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / f"{index}.png", picture(index))
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    dataset = FolderPairs(tmp_path)
    skipped, read = [], []
    for index, name in enumerate(dataset.names):
        try:
            read.append(dataset[index].name)
        except DatasetError as error:
            skipped.append((name, str(error)))
    assert read == ["0", "2"] and len(skipped) == 1
    assert skipped[0][0] == "1" and str(tmp_path / "1.png") in skipped[0][1]


def test_regions_and_lens(tmp_path: Path) -> None:
    write(tmp_path / "x" / "0.png", picture(height=480, width=640))
    write(tmp_path / "x" / "1.png", picture())
    regions = Regions.none(480, 640)
    regions.ego_body[400:] = True
    write(tmp_path / "r" / "0.png", regions_picture(regions))
    (tmp_path / "lens.yaml").write_text(ROS)
    dataset = FolderPairs(tmp_path / "x", regions=tmp_path / "r", calibration=tmp_path / "lens.yaml")
    sample = dataset[0]
    assert sample.camera is not None and sample.camera.model == "pinhole" and sample.camera.fx == 430.21
    assert (sample.regions.anywhere == regions.ego_body).all() and not sample.regions.no_source.any()
    with pytest.raises(DatasetError, match=r"lens\.yaml is a calibration for 640x480 pixels, .* has 8x6"):
        dataset[1]
    write(tmp_path / "r" / "9.png", regions_picture(regions))
    with pytest.raises(DatasetError, match=r"r/9\.png belongs to no picture"):
        FolderPairs(tmp_path / "x", regions=tmp_path / "r")


def test_a_lens_for_each_picture(tmp_path: Path) -> None:
    for index in range(4):
        write(tmp_path / "x" / f"{index}.png", picture(index))
    lens = KannalaBrandtCamera(width=8, height=6, fx=3.0, fy=3.1, cx=3.5, cy=2.5, d=(0.1, 0.0, 0.0, 0.0))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.yaml").write_text(yaml.safe_dump(lens.to_dict()))
    (tmp_path / "c" / "1.yaml").write_text(yaml.safe_dump(lens.resized(16, 12).to_dict()))
    (tmp_path / "c" / "2.yaml").write_text("model: none")
    dataset = FolderPairs(tmp_path / "x", cameras=tmp_path / "c")
    assert dataset[0].camera == lens and dataset[3].camera is None
    with pytest.raises(DatasetError, match=r"c/1\.yaml is a calibration for 16x12 pixels"):
        dataset[1]
    with pytest.raises(DatasetError, match=r"c/2\.yaml: unknown camera model 'none'"):
        dataset[2]
    with pytest.raises(
        ConfigError, match="give calibration, one lens for all pictures, or cameras, one each"
    ):
        FolderPairs(tmp_path / "x", cameras=tmp_path / "c", calibration=tmp_path / "c" / "0.yaml")


def test_classes_by_name_file_and_map(tmp_path: Path) -> None:
    write(tmp_path / "x" / "0.png", picture())
    (tmp_path / "c.yaml").write_text("classes: [{id: 0, name: floor}, {id: 1, name: wall}]\n")
    assert FolderPairs(tmp_path / "x", classes=("a", "b")).classes == ("a", "b")
    assert FolderPairs(tmp_path / "x", classes=tmp_path / "c.yaml").classes == ("floor", "wall")
    with pytest.raises(ConfigError, match="give label_map, which has its classes, or classes, not both"):
        FolderPairs(tmp_path / "x", classes=("a",), label_map="dacon_255_to_12")
