"""Lists of pictures in CSV, as the DACON contest of 2023 hands them out: id, img_path and maybe gt_path."""

import csv
from collections.abc import Iterator
from pathlib import Path

from internimage_perception.data.datasets.dataset import Entry
from internimage_perception.errors import DatasetError

_ID, _IMAGE, _LABELS = "id", "img_path", "gt_path"


def read_picture_list(file: Path, *, labelled: bool | None = None) -> list[Entry]:
    """Return the pictures that a CSV file lists, in its order.

    Args:
        file: UTF-8, with or without byte-order mark, the columns `id`, `img_path` and, of labelled pictures,
            `gt_path`, in any order, beside others. Relative paths start from the file's folder.
        labelled: True: every picture must have a label file; False: `gt_path` is not looked at; None: label
            files are taken where there are some.

    Raises:
        DatasetError: the file cannot be read, lists nothing, lacks a column or a value, or has an id twice.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            found = _read(((reader.line_num, row) for row in reader), file, labelled)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as a list of pictures: {error}") from error
    if not found:
        raise DatasetError(f"{file} lists no pictures")
    return found


def _read(rows: Iterator[tuple[int, list[str]]], file: Path, labelled: bool | None) -> list[Entry]:
    _, names = next(rows, (1, []))
    header = [name.strip() for name in names]
    required = [_ID, _IMAGE, *([_LABELS] if labelled else [])]
    if missing := [name for name in required if name not in header]:
        have = ", ".join(header) or "none"
        raise DatasetError(f"{file} lacks the column {missing[0]}; it has {have}")
    with_labels = labelled is not False and _LABELS in header
    found: list[Entry] = []
    seen: set[str] = set()
    for line, row in rows:
        if not any(row):
            continue
        values = dict(zip(header, (value.strip() for value in row), strict=False))
        where = f"{file}, line {line}"
        if empty := [name for name in required if not values.get(name)]:
            raise DatasetError(f"{where}: {empty[0]} is empty")
        if "\0" in "".join(values.values()):
            raise DatasetError(f"{where} holds a zero byte; is the file a CSV?")
        if (name := values[_ID]) in seen:
            raise DatasetError(f"{where}: the id {name} appears twice")
        seen.add(name)
        labels = values.get(_LABELS) if with_labels else None
        found.append(Entry(name, file.parent / values[_IMAGE], file.parent / labels if labels else None))
    return found
