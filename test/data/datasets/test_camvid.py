"""CamVid: colours, ids, and ten real frames."""

from pathlib import Path

import numpy as np
import pytest
from support.dataset_files import ids, picture, write

from internimage_perception.data.datasets import load_dataset
from internimage_perception.data.real_truth import camvid_classes, camvid_truth
from internimage_perception.errors import DatasetError


def test_colours_as_published(tmp_path: Path) -> None:
    colors = np.array([[128, 64, 128], [64, 0, 128], [0, 0, 0], [128, 0, 192]], np.uint8)
    write(tmp_path / "701_StillsRaw_full/0001TP_006690.png", picture())
    file = write(tmp_path / "LabeledApproved_full/0001TP_006690_L.png", colors[ids([0, 1, 2, 3])])
    folders = {"images": tmp_path / "701_StillsRaw_full", "labels": tmp_path / "LabeledApproved_full"}
    dataset = load_dataset("camvid", **folders)
    assert dataset.names == ["0001TP_006690"] and (dataset[0].labels == ids([0, 11, 255, 0])).all()
    write(file, colors[ids([0, 1, 2, 3])] // 2)
    with pytest.raises(DatasetError, match=r"_L\.png has the colour \[64, 32, 64\]"):
        dataset[0]
    with pytest.raises(DatasetError, match="is a colour picture"):
        _ = load_dataset("camvid", **folders, form="ids", label_ending="_L")[0]


def test_ids_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "train/0001TP_006690.png", picture())
    write(tmp_path / "trainannot/0001TP_006690.png", ids(range(12)))
    dataset = load_dataset("camvid", images=tmp_path / "train", labels=tmp_path / "trainannot", form="ids")
    assert (dataset[0].labels == ids([8, 2, 4, 0, 1, 7, 6, 3, 11, 9, 10, 255])).all()


@pytest.mark.shared
def test_real_frames(shared_data: Path) -> None:
    folder = shared_data / "camvid_seq"
    dataset = load_dataset("camvid", images=folder, form="ids")
    assert len(dataset) == 10 and dataset.names[0] == "Seq05VD_f04770"
    seen: set[int] = set()
    for sample in dataset:
        assert sample.image.shape == (360, 480, 3)
        assert (sample.labels == camvid_truth(folder / f"{sample.name}.png")).all()
        seen |= set(np.unique(sample.labels).tolist())
    assert seen == {*camvid_classes(), 255}
