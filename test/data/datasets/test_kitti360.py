"""KITTI-360 in its published layout, in miniature."""

from pathlib import Path

import pytest
from support.calibration_files import KITTI_360
from support.dataset_files import HEIGHT, WIDTH, ids, picture, write

from internimage_perception.data.datasets import load_dataset
from internimage_perception.errors import CalibrationError, ConfigError, DatasetError

SEQUENCES = ("2013_05_28_drive_0000_sync", "2013_05_28_drive_0002_sync")
PERSPECTIVE = f"""\
calib_time: 27-Jan-2019 00:00:00
S_00: 1.392000e+03 5.120000e+02
S_rect_00: {WIDTH:.6e} {HEIGHT:.6e}
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_00: 552.554261 0.000000 682.049453 0.000000 0.000000 552.554261 238.769549 0.000000 0 0 1 0
"""
MEI = KITTI_360.replace("1400", str(WIDTH)).replace("1402", str(HEIGHT))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for sequence in SEQUENCES:
        raw, drawn = tmp_path / "data_2d_raw" / sequence, tmp_path / "data_2d_semantics/train" / sequence
        for frame in range(3):
            write(raw / f"image_00/data_rect/{frame:010}.png", picture(frame))
            write(raw / f"image_02/data_rgb/{frame:010}.png", picture(10 + frame))
        for frame in (1, 2):
            write(drawn / f"image_00/semantic/{frame:010}.png", ids([7, 26, 34, 37, 38]))
            write(drawn / f"image_00/semantic_rgb/{frame:010}.png", picture())
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "perspective.txt").write_text(PERSPECTIVE)
    (tmp_path / "calibration" / "image_02.yaml").write_text(MEI)
    return tmp_path


def test_labelled_perspective_pictures(root: Path) -> None:
    dataset = load_dataset("kitti360", root=root)
    assert list(dataset.names) == [f"{seq}/image_00/000000000{i}" for seq in SEQUENCES for i in (1, 2)]
    sample = dataset[1]
    assert (sample.image == picture(2)).all() and (sample.labels == ids([0, 11, 2, 4, 255])).all()
    assert (sample.camera.model, sample.camera.fx, sample.camera.cx) == ("pinhole", 552.554261, 682.049453)
    nineteen = load_dataset("kitti360", root=root, label_map="kitti360_to_cityscapes19")
    assert (nineteen[0].labels == ids([0, 13, 2, 5, 255])).all()


def test_fisheye_pictures_have_lens_and_no_labels(root: Path) -> None:
    dataset = load_dataset("kitti360", root=root, camera="image_02", sequences=[SEQUENCES[1]])
    assert len(dataset) == 3
    sample = dataset[0]
    assert (sample.image == picture(10)).all() and sample.labels is None
    assert sample.camera.model == "mei" and sample.camera.xi == pytest.approx(2.213404750785489)
    with pytest.raises(ConfigError, match="no pixel labels of its fisheye cameras"):
        load_dataset("kitti360", root=root, camera="image_02", labelled=True)


def test_all_perspective_pictures_as_unlabelled(root: Path) -> None:
    dataset = load_dataset("kitti360", root=root, labelled=False)
    assert len(dataset) == 6 and dataset[0].labels is None


def test_lists_of_splits(root: Path) -> None:
    line = "data_2d_raw/{0}/image_00/data_rect/{1} data_2d_semantics/train/{0}/image_00/semantic/{1}\n"
    file = root / "data_2d_semantics/train/2013_05_28_drive_val_frames.txt"
    file.write_text(line.format(SEQUENCES[1], "0000000002.png"))
    dataset = load_dataset("kitti360", root=root, frames=file)
    assert dataset.names == [f"{SEQUENCES[1]}/image_00/0000000002"]
    with pytest.raises(DatasetError, match=r"lists no pictures of \.\.\./image_02/data_rgb/"):
        load_dataset("kitti360", root=root, camera="image_02", frames=file)


def test_mistakes(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder .*data_2d_raw/2013_05_28_drive_0009_sync"):
        load_dataset("kitti360", root=root, sequences=["2013_05_28_drive_0009_sync"])
    with pytest.raises(DatasetError, match=r"no folder .*data_2d_raw, where the sequences of KITTI-360"):
        load_dataset("kitti360", root=root / "data_2d_raw")
    with pytest.raises(DatasetError, match="image_03: there are no samples"):
        load_dataset("kitti360", root=root, camera="image_03")
    write(root / "data_2d_semantics/train" / SEQUENCES[0] / "image_00/semantic/0000000009.png", ids([7]))
    with pytest.raises(DatasetError, match=r"semantic/0000000009\.png is without its picture"):
        load_dataset("kitti360", root=root)
    (root / "calibration" / "perspective.txt").write_text("S_rect_00: 8 6\n")
    with pytest.raises(CalibrationError, match=r"perspective\.txt cannot be used: KeyError: 'P_rect_00'"):
        load_dataset("kitti360", root=root, sequences=[SEQUENCES[1]])
