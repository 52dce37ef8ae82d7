"""Running the commands of `make setup`: output into a log, and the end of it shown when one fails."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ros_environment import ROOT

LOG = ROOT / "build" / "setup.log"
TAIL_LINES = 25
TAIL_COLUMNS = 200


class StepError(Exception):
    """A step of the setup failed.

    Attributes:
        output: what the failed command wrote; empty when no command was to blame.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output

    def explained(self) -> str:
        """Return the message below the last lines of the command's output."""
        lines = [line[:TAIL_COLUMNS] for line in self.output.splitlines() if not _is_noise(line)][
            -TAIL_LINES:
        ]
        if not lines:
            return str(self)
        return "\n".join(
            [*(f"    {line}" for line in lines), f"{self} (all output: {LOG.relative_to(ROOT)})"]
        )


def pip_install(venv: Path, arguments: Sequence[str | Path], advice: str) -> None:
    """Run `pip install` in a virtual environment. Raises StepError."""
    # pip takes what lies on PYTHONPATH, a sourced ROS for one, for installed in the environment.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run([venv / "bin" / "python", "-m", "pip", "install", *arguments], advice, environ)


def run(command: Sequence[str | Path], advice: str, environ: Mapping[str, str] | None = None) -> None:
    """Run a command in the checkout, output appended to the log.

    Args:
        command: program and arguments.
        advice: what failed and what to do about it, for people.
        environ: environment variables; the present ones when None.

    Raises StepError with `advice` when the command cannot start or fails.
    """
    LOG.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    with LOG.open("a+", encoding="utf-8", errors="replace") as log:
        log.write(f"\n$ {' '.join(words)}\n")
        log.flush()
        start = log.tell()
        try:
            done = subprocess.run(
                words, cwd=ROOT, env=None if environ is None else dict(environ), check=False,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except OSError as error:
            message = f"cannot run {words[0]}: {error.strerror}. {advice}"
            raise StepError(message) from error
        if done.returncode:
            log.seek(start)
            raise StepError(advice, log.read())


def _is_noise(line: str) -> bool:
    # pip says for every package in which index folder it is not, and which pins are for other Pythons.
    return line.startswith(("WARNING: Location ", "Ignoring ")) or not line.strip()
