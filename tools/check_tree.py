"""Check what no linter does: no file is too long, and no file names a folder of somebody's machine."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 400
# Data, not text that anybody reads.
DATA_FOLDERS = ("test/golden/", "bench/results/")
MACHINE_PATH = re.compile(r"(?<![\w.~$}>-])/(?:home|root|Users|work)/\w[\w./-]*")


def tree() -> list[Path]:
    """List the files under version control or about to be; every file where there is no git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        everything = sorted(ROOT.rglob("*"))
        return [path for path in everything if path.is_file() and path.relative_to(ROOT).parts[0][0] != "."]
    return [path for name in sorted(set(listed.split("\0"))) if name and (path := ROOT / name).is_file()]


def complaints(name: str, content: bytes) -> Iterator[str]:
    """Yield what is wrong with one file.

    Args:
        name: path relative to the checkout, with forward slashes.
        content: its bytes; binary files and data folders are never complained about.
    """
    if b"\0" in content or name.startswith(DATA_FOLDERS):
        return
    lines = content.decode("utf-8", errors="replace").splitlines()
    if len(lines) > MAX_LINES:
        yield f"{name}: {len(lines)} lines; split it, the limit is {MAX_LINES}"
    for number, line in enumerate(lines, start=1):
        for found in MACHINE_PATH.finditer(line):
            yield f"{name}:{number}: names a folder of one machine: {found.group()}"


def main() -> int:
    """Run as a program; return 1 when there are complaints."""
    files = tree()
    found: list[str] = []
    for path in files:
        found += complaints(path.relative_to(ROOT).as_posix(), path.read_bytes())
    print("\n".join([*found, f"check_tree: {len(files)} files, {len(found)} complaints"]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
