"""Pytest plugin: a skipped test fails unless a file lists the skip with its reason.

`--allowed-skips FILE` switches it on. A line of the file is `test | reason | why`: a pattern of node ids, a
pattern of what the skip says, and, for people, why that is acceptable. Patterns are those of a shell.
Expected failures count as skips: neither proves anything.
"""

from collections.abc import Generator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@dataclass(frozen=True, slots=True)
class AllowedSkip:
    """One line of the file."""

    nodeid: str
    reason: str
    why: str

    def covers(self, nodeid: str, reason: str) -> bool:
        """Tell whether this line allows the skip."""
        return fnmatchcase(nodeid, self.nodeid) and fnmatchcase(reason, self.reason)


def read_allowed(path: Path) -> list[AllowedSkip]:
    """Read the list; empty lines and lines that start with `#` are comments.

    Raises pytest.UsageError for a missing file and for lines without all three parts.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"--allowed-skips: cannot read {path}: {error.strerror}"
        raise pytest.UsageError(message) from error
    allowed = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts):
            message = f"{path}:{number}: expected `test | reason | why`, found {line!r}"
            raise pytest.UsageError(message)
        allowed.append(AllowedSkip(*parts))
    return allowed


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what a skip or an expected failure gives as its reason."""
    if hasattr(report, "wasxfail"):
        return f"expected failure: {report.wasxfail}"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


class SkipGuard:
    """Turns every skip that is not listed into a failure."""

    def __init__(self, allowed: list[AllowedSkip]) -> None:
        self._allowed = allowed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge the report of one test."""
        return self._judged((yield))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Judge the report of one module: `importorskip` and `skip` outside tests end up here."""
        return self._judged((yield))

    def _judged(self, report: Report) -> Report:
        if report.outcome != "skipped":
            return report
        reason = reason_of(report)
        if not any(entry.covers(report.nodeid, reason) for entry in self._allowed):
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that is not listed: {report.nodeid}: {reason}"
            if hasattr(report, "wasxfail"):
                del report.wasxfail
        return report


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--allowed-skips`."""
    group = parser.getgroup("skips")
    group.addoption("--allowed-skips", type=Path, metavar="FILE", help="fail skips that FILE does not list")


def pytest_configure(config: pytest.Config) -> None:
    """Start the guard when the option is given."""
    path: Path | None = config.getoption("--allowed-skips")
    if path is not None:
        config.pluginmanager.register(SkipGuard(read_allowed(path)), "skip-guard")
