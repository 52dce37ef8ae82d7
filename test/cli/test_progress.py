"""The progress line on a terminal and in a log."""

import io

import pytest

from internimage_perception.bags.report import Progress
from internimage_perception.cli import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_gets_a_bar_that_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = Terminal()
    line = progress.ProgressLine(stream)
    now[0] = 101.0
    line(Progress(25, 100, 5))
    now[0] = 101.01
    line(Progress(26, 100, 5))
    said = stream.getvalue()
    assert said.count("\r") == 1
    assert "[######......" in said and "25/100 images" in said and "3 s left" in said
    line.close()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    line = progress.ProgressLine(stream)
    for second in range(1, 26):
        now[0] = 100.0 + second
        line(Progress(second, 25, second))
    line.close()
    assert len(stream.getvalue().splitlines()) == 2
    assert "\r" not in stream.getvalue()


def test_resumed_work_counts_its_rate_from_where_it_goes_on(monkeypatch, capsys) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = progress.ResumableProgress("images per camera", ("images", 4))
    line(40, 100)
    now[0] = 105.0
    line(50, 100)
    now[0] = 110.0
    line(60, 100)
    line.close()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "going on behind 40 of 100 images per camera",
        "60/100 images per camera, 8.0 images/s, 20 s left",
    ]
