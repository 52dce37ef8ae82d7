"""What a run writes down: CSV tables, TensorBoard curves, a line for people."""

import csv
import io
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from torch.utils.tensorboard import SummaryWriter

from internimage_perception.files import write_text
from internimage_perception.training.validation import Validation

_LOSSES = (
    "loss", "cross_entropy", "dice", "auxiliary", "target", "target_share", "learning_rate", "pictures_per_s",
)  # fmt: skip
_SKIPPED = ("dataset", "name", "reason")


class Table:
    """A CSV file of what happened at which step, in which a resumed run goes on where its checkpoint is.

    Args:
        path: the file.
        columns: after `step`; further ones that the file has already stay, empty from now on.
        step: rows behind this step are dropped: the run repeats them.

    Attributes:
        here: the row of this very step, if there is one.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self._path = path
        before, rows = _read(path) if step and path.exists() else ([], [])
        self._columns = list(dict.fromkeys(["step", *columns, *before]))
        kept = [row for row in rows if int(row["step"]) <= step]
        self.here = next((row for row in kept if int(row["step"]) == step), dict[str, str]())
        text = io.StringIO()
        table = self._writer(text)
        table.writeheader()
        table.writerows(kept)
        write_text(path, text.getvalue())

    def add(self, step: int, *rows: Mapping[str, float | str]) -> None:
        """Write rows; columns without a value stay empty."""
        with self._path.open("a", newline="", encoding="utf-8") as file:
            for values in rows:
                self._writer(file).writerow({"step": step} | {name: _short(values[name]) for name in values})

    def _writer(self, file: TextIO) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns, restval="", lineterminator="\n")


class RunLog:
    """`log.csv`, `validation.csv`, `skipped.csv` and `tensorboard/` of a run's folder, and standard error.

    Args:
        folder: the run's.
        step: where the run goes on.
        steps: of the whole run.
        validation: names the scores; None: there are none.
        speaks: whether this process writes; the others keep silent.

    Attributes:
        known_scores: of the step where the run goes on; empty where it was ended before they were there.
    """

    def __init__(
        self, folder: Path, step: int, steps: int, validation: Validation | None, *, speaks: bool
    ) -> None:
        self._speaks, self._on_terminal = speaks, sys.stderr.isatty()
        self._first, self._steps, self._start = step, steps, time.monotonic()
        self.known_scores: dict[str, float] = {}
        if not speaks:
            return
        self._losses = Table(folder / "log.csv", _LOSSES, step)
        self._scores: Table | None = None
        if validation is not None:
            self._scores = Table(folder / "validation.csv", validation.names, step)
            given = {name: self._scores.here.get(name, "") for name in validation.names}
            if all(given.values()):
                self.known_scores = {name: float(text) for name, text in given.items()}
        self._skipped: Table | None = None
        self._skipped_file = folder / "skipped.csv"
        if self._skipped_file.exists():
            self._skipped = Table(self._skipped_file, _SKIPPED, step)
        self._curves = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Write the losses since the last call, and show how far the run has come."""
        if not self._speaks:
            return
        self._losses.add(step, values)
        self._draw("train", step, values)
        pace = (time.monotonic() - self._start) / (step - self._first)
        left = _duration((self._steps - step) * pace)
        text = f"step {step}/{self._steps}, loss {values['loss']:.4f}, {left} left"
        sys.stderr.write(f"\r{text}\x1b[K" if self._on_terminal else f"{text}\n")
        sys.stderr.flush()

    def scores(self, step: int, values: Mapping[str, float]) -> None:
        """Write a validation's scores."""
        if not self._speaks:
            return
        if self._scores is not None:
            self._scores.add(step, values)
        self._draw("validation", step, values)
        self.say(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))

    def skipped(self, step: int, failures: Sequence[tuple[str, str, str]]) -> None:
        """Write down samples that could not be read: dataset, name, reason."""
        if not self._speaks or not failures:
            return
        if self._skipped is None:
            self._skipped = Table(self._skipped_file, _SKIPPED, 0)
        self._skipped.add(step, *(dict(zip(_SKIPPED, failure, strict=True)) for failure in failures))

    def say(self, text: str) -> None:
        """Print a line for people."""
        sys.stderr.write(f"\r\x1b[K{text}\n" if self._on_terminal else f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Close the files, and the line for people."""
        if self._speaks:
            self._curves.close()
        if self._speaks and self._on_terminal:
            sys.stderr.write("\n")

    def _draw(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._curves.add_scalar(f"{group}/{name}", value, step)
        # A run may end at any moment; curves are not drawn again for steps before its checkpoint.
        self._curves.flush()


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns of a table and its rows, without one that a kill cut short."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    columns = lines[0] if lines and lines[0][:1] == ["step"] else []
    whole = (line for line in lines[1:] if len(line) == len(columns) and line[0].isdecimal())
    return columns, [dict(zip(columns, line, strict=True)) for line in whole]


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
