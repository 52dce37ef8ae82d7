"""Progress lines on the terminal; plain lines now and then where there is none."""

import sys
import time
from typing import TextIO

from internimage_perception.bags.report import Progress


class ProgressLine:
    """Shows how far a replay has come.

    Args:
        stream: where to; None takes standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._tty = self._stream.isatty()
        self._start = time.monotonic()
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        """Draw, at most ten times a second on a terminal, every ten seconds elsewhere."""
        now = time.monotonic()
        if now - self._last < (0.1 if self._tty else 10.0):
            return
        if not self._tty and self._last == 0.0:
            self._last = now
            return
        self._last = now
        share = min(1.0, progress.frames / max(1, progress.total_frames))
        elapsed = now - self._start
        left = elapsed / share - elapsed if share > 0.01 else 0.0
        text = (
            f"{progress.frames}/{progress.total_frames} images, {progress.sets} sets, "
            f"{progress.frames / max(elapsed, 1e-9):.1f} images/s, {left:.0f} s left"
        )
        if self._tty:
            bar = "#" * round(24 * share) + "." * (24 - round(24 * share))
            self._stream.write(f"\r[{bar}] {text}\x1b[K")
        else:
            self._stream.write(f"{share:4.0%} {text}\n")
        self._stream.flush()

    def close(self) -> None:
        """End the line."""
        if self._tty and self._last:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


class ResumableProgress:
    """Says how far work has come that an earlier run may have begun.

    Args:
        unit: what is counted, in the plural.
        parts: what the rate is given in, and how many of them are in one unit.
    """

    def __init__(self, unit: str, parts: tuple[str, int] | None = None) -> None:
        self._unit = unit
        self._part, self._parts = parts or (unit, 1)
        self._start = self._last = time.monotonic()
        self._first: int | None = None
        self._tty = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Take how many units are finished, and of how many; first that of an earlier run."""
        if self._first is None:
            self._first = done
            if 0 < done < total:
                print(f"going on behind {done} of {total} {self._unit}", file=sys.stderr)
            return
        now = time.monotonic()
        if now - self._last < (0.1 if self._tty else 10.0):
            return
        self._last = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        text = f"{done}/{total} {self._unit}, {rate * self._parts:.1f} {self._part}/s, {left:.0f} s left"
        sys.stderr.write(f"\r{text}\x1b[K" if self._tty else text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """End the line."""
        if self._tty:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
