"""The DACON Samsung AI Challenge 2023, camera-invariant domain adaptation."""

import csv
from pathlib import Path
from typing import Literal

from internimage_perception.data.datasets.dataset import Entry, FileDataset
from internimage_perception.data.datasets.label_map_file import LabelMapLike, load_label_map
from internimage_perception.errors import DatasetError


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
        rows = _rows(root / f"{split}.csv", labelled=split.endswith("_source"))
        entries = [Entry(name, root / image, root / label if label else None) for name, image, label in rows]
        super().__init__(f"DACON 2023 {split}", entries, load_label_map(label_map))


def _rows(file: Path, *, labelled: bool) -> list[tuple[str, str, str]]:
    columns = ["id", "img_path", "gt_path"] if labelled else ["id", "img_path"]
    found: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise DatasetError(
                    f"{file} lacks the column {missing[0]}; it has {reader.fieldnames or 'none'}"
                )
            for row in reader:
                values = [(row[name] or "").strip() for name in columns]
                if "" in values:
                    empty = columns[values.index("")]
                    raise DatasetError(f"{file}, line {reader.line_num}: {empty} is empty")
                if values[0] in seen:
                    raise DatasetError(f"{file}, line {reader.line_num}: the id {values[0]} appears twice")
                seen.add(values[0])
                found.append((values[0], values[1], values[2] if labelled else ""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as the contest's list of pictures: {error}") from error
    if not found:
        raise DatasetError(f"{file} lists no pictures")
    return found
