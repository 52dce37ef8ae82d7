"""Writing a submission: by the ids of a list, in its order, whatever order files have."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.data.submission.layout import CLASSES, HEADER, row_id
from internimage_perception.data.submission.runs import EMPTY, encode_classes
from internimage_perception.data.submission.shrinking import shrink
from internimage_perception.files import atomic_path

Ids = npt.NDArray[np.uint8]


def write_submission(
    out: Path,
    pictures: Sequence[str],
    read: Callable[[str], Ids],
    *,
    nearest: str = "pillow",
    on_picture: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[int, int]:
    """Write the CSV of a list of pictures, atomically: twelve rows each, in the order of the list.

    Args:
        out: the file; one that is there is replaced when all of the new one is written.
        pictures: ids.
        read: returns the class ids of a picture's mask, uint8 of any size; those above 11 are in no row.
        nearest: how masks are made 960x540, see `shrink`.
        on_picture: called with how many pictures are written, and of how many.

    Returns:
        How many rows there are, and how many of them are empty.

    Raises:
        PerceptionError: what `read` raises; the folder cannot be written.
    """
    rows = empty = 0
    with atomic_path(out) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        for done, picture in enumerate(pictures):
            on_picture(done, len(pictures))
            texts = encode_classes(shrink(read(picture), nearest), CLASSES)
            writer.writerows((row_id(picture, number), text) for number, text in enumerate(texts))
            rows += len(texts)
            empty += texts.count(EMPTY)
    on_picture(len(pictures), len(pictures))
    return rows, empty
