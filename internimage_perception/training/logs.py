"""What a run writes down: CSV tables, TensorBoard curves, a line for people."""

import csv
import io
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from internimage_perception.files import write_text
from internimage_perception.training.validation import Validation

_LOSSES = (
    "loss", "cross_entropy", "dice", "auxiliary", "target", "target_share", "learning_rate", "pictures_per_s",
)  # fmt: skip


class Table:
    """A CSV file with a row per step, in which a resumed run goes on where its checkpoint is.

    Args:
        path: the file.
        columns: after `step`.
        step: rows behind this step are dropped: the run repeats them.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self._path, self._columns = path, ("step", *columns)
        rows: list[Sequence[object]] = []
        if step and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                content = list(csv.reader(file))[1:]
            # A line cut short by a kill is no row.
            whole = (row for row in content if len(row) == len(self._columns) and row[0].isdecimal())
            rows = [row for row in whole if int(row[0]) <= step]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self._columns, *rows])
        write_text(path, text.getvalue())

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write a row; columns without a value stay empty."""
        row = [step, *(_short(values.get(name)) for name in self._columns[1:])]
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(row)


class RunLog:
    """`log.csv`, `validation.csv`, `skipped.csv` and `tensorboard/` of a run's folder, and standard error.

    Args:
        folder: the run's.
        step: where the run goes on.
        steps: of the whole run.
        validation: names the scores; None: there are none.
        speaks: whether this process writes; the others keep silent.
    """

    def __init__(
        self, folder: Path, step: int, steps: int, validation: Validation | None, *, speaks: bool
    ) -> None:
        self._speaks, self._on_terminal = speaks, sys.stderr.isatty()
        self._first, self._steps, self._start = step, steps, time.monotonic()
        if not speaks:
            return
        self._losses = Table(folder / "log.csv", _LOSSES, step)
        self._scores: Table | None = None
        if validation is not None:
            self._scores = Table(folder / "validation.csv", validation.names, step)
        self._skipped = folder / "skipped.csv"
        self._curves = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Write the losses since the last call, and show how far the run has come."""
        if not self._speaks:
            return
        self._losses.add(step, values)
        for name, value in values.items():
            self._curves.add_scalar(f"train/{name}", value, step)
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
        for name, value in values.items():
            self._curves.add_scalar(f"validation/{name}", value, step)
        self.say(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))

    def skipped(self, step: int, failures: Sequence[tuple[str, str, str]]) -> None:
        """Write down samples that could not be read: dataset, name, reason."""
        if not self._speaks or not failures:
            return
        new = not self._skipped.exists()
        with self._skipped.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(("step", "dataset", "name", "reason"))
            writer.writerows((step, *failure) for failure in failures)

    def say(self, text: str) -> None:
        """Print a line for people."""
        sys.stderr.write(f"\r\x1b[K{text}\n" if self._on_terminal else f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Write what is still in memory."""
        if self._speaks:
            self._curves.close()


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
