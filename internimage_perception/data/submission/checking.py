"""Checking a submission before it is handed in: rows, order, runs."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.data.submission.layout import CLASSES, HEADER, HEIGHT, WIDTH, row_id
from internimage_perception.data.submission.runs import EMPTY, decode_runs
from internimage_perception.errors import DatasetError

_PIXELS = WIDTH * HEIGHT
# Runs of every second pixel take 2.3 million characters.
_LONGEST_FIELD = 4 << 20
_KEPT = 20

Ints = npt.NDArray[np.int64]


@dataclass
class CheckReport:
    """What was found.

    Attributes:
        rows: in the file, the header not counted.
        empty: of them without pixels.
        wrong: how many things are wrong; 0 for a good file.
        problems: the first of them, for people.
    """

    rows: int = 0
    empty: int = 0
    wrong: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Count a problem, and keep its text if it is one of the first."""
        self.wrong += 1
        if len(self.problems) < _KEPT:
            self.problems.append(problem)


def check_submission(file: Path, pictures: Sequence[str]) -> CheckReport:
    """Compare a submission with the list of pictures it is for.

    Asked for are the header, every picture's twelve rows once and in the order of the list, runs in order
    within the 960x540 pixels, and no pixel in two classes of a picture.

    Args:
        file: the CSV.
        pictures: ids, in order.

    Raises:
        DatasetError: the file cannot be read as CSV.
    """
    report = CheckReport()
    try:
        with _long_fields(), file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            _Check(pictures, report).run((reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as a submission: {error}") from error
    return report


class _Check:
    """Goes through the rows; a picture's masks are compared as soon as all its rows have come."""

    def __init__(self, pictures: Sequence[str], report: CheckReport) -> None:
        self._report = report
        self._expected = [row_id(picture, number) for picture in pictures for number in range(CLASSES)]
        self._index = {name: index for index, name in enumerate(self._expected)}
        self._pictures = pictures
        self._masks: dict[int, dict[int, tuple[Ints, Ints]]] = {}
        self._seen: set[str] = set()
        self._in_order = True

    def run(self, rows: Iterator[tuple[int, list[str]]]) -> None:
        """Check all rows of a file, header included, with the numbers of their lines."""
        _, header = next(rows, (1, []))
        if header != list(HEADER):
            self._report.add(f"line 1 must be {','.join(HEADER)}, not {','.join(header)[:80]!r}")
        for line, row in rows:
            self._report.rows += 1
            if len(row) != len(HEADER):
                self._report.add(f"line {line} has {len(row)} columns instead of {len(HEADER)}")
                continue
            self._row(f"line {line}, {row[0][:80]}", row[0], row[1])
        for picture in list(self._masks):
            self._compare(picture)
        if missing := [name for name in self._expected if name not in self._seen]:
            more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
            self._report.add(f"of {len(self._expected)} rows, {missing[0]}{more} missing")

    def _row(self, where: str, name: str, text: str) -> None:
        index = self._index.get(name)
        if index is None:
            self._report.add(f"{where}: no such row is asked for")
            return
        if name in self._seen:
            self._report.add(f"{where}: the row is there twice")
            return
        # One row out of its place shifts all others: it is said once.
        if self._in_order and index != len(self._seen):
            self._in_order = False
            self._report.add(f"{where}: out of order, {self._expected[len(self._seen)]} should be here")
        self._seen.add(name)
        self._report.empty += text == EMPTY
        try:
            runs = decode_runs(text, _PIXELS)
        except ValueError as error:
            self._report.add(f"{where}: {error}")
            runs = decode_runs(EMPTY, _PIXELS)
        picture, number = divmod(index, CLASSES)
        masks = self._masks.setdefault(picture, {})
        masks[number] = runs
        if len(masks) == CLASSES:
            self._compare(picture)

    def _compare(self, picture: int) -> None:
        """Look for pixels in two classes of a picture, and forget its masks."""
        masks = self._masks.pop(picture)
        starts, ends = (np.concatenate([runs[side] for runs in masks.values()]) for side in (0, 1))
        numbers = np.repeat(list(masks), [runs[0].size for runs in masks.values()])
        order = np.argsort(starts, kind="stable")
        starts, ends, numbers = starts[order], ends[order], numbers[order]
        if (twice := np.flatnonzero(starts[1:] < ends[:-1])).size:
            at = int(twice[0])
            self._report.add(
                f"{self._pictures[picture]}: pixel {starts[at + 1] + 1} is in class {numbers[at]} and in "
                f"class {numbers[at + 1]}"
            )


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let the csv module read long fields for a while."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
