"""The DACON Samsung AI Challenge 2023, camera-invariant domain adaptation."""

from pathlib import Path
from typing import Literal

from internimage_perception.data.datasets.dataset import FileDataset
from internimage_perception.data.datasets.label_map_file import LabelMapLike, load_label_map
from internimage_perception.data.datasets.picture_list import read_picture_list


class Dacon(FileDataset):
    """The pictures that a CSV file lists; those of the source domain have labels.

    `ROOT/train_source.csv` and `val_source.csv` have the columns id, img_path and gt_path, `train_target.csv`
    and `test.csv` id and img_path; paths start from the CSV's folder.

    Args:
        root: folder of the CSV files.
        split: which of them.
        label_map: from the ids in the label files; by default 255 becomes Background, as in the contest.

    Raises:
        DatasetError: the CSV is missing, empty, lacks a column, or has an id twice.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train_source", "val_source", "train_target", "test"] = "train_source",
        label_map: LabelMapLike = "dacon_255_to_12",
    ) -> None:
        entries = read_picture_list(root / f"{split}.csv", labelled=split.endswith("_source"))
        super().__init__(f"DACON 2023 {split}", entries, load_label_map(label_map))
