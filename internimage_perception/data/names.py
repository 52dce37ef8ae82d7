"""Names of samples as names of files below an output folder: nothing may lead elsewhere."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from internimage_perception.errors import DatasetError

# File systems take 255 bytes; a suffix and what a file is called while it is written come on top.
_LONGEST = 230


def check_names(names: Iterable[str]) -> None:
    """Raise DatasetError unless every name makes one file of its own below a folder.

    Args:
        names: relative paths with `/`, without suffix, such as `drive/0001`.
    """
    seen: set[str] = set()
    for name in names:
        if problem := _problem(name):
            raise DatasetError(
                f"{name!r} cannot name an output file: it {problem}; choose another id or name"
            )
        if name in seen:
            raise DatasetError(f"{name!r} appears twice; outputs are named after it, so it must be unique")
        seen.add(name)


def _problem(name: str) -> str:
    """Return what is wrong with a name, "" for nothing."""
    path = PurePosixPath(name)
    if not path.name:
        return "is empty"
    if path.is_absolute() or ".." in path.parts:
        return "leads out of the output folder"
    # Otherwise `./a` and `a` would be one file.
    if path.as_posix() != name:
        return f"is not plain: `{path.as_posix()}` would be"
    # Control characters, and what stands for bytes that are no UTF-8.
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in name):
        return "holds control characters or is not UTF-8"
    if max(len(os.fsencode(part)) for part in path.parts) > _LONGEST:
        return f"is longer than {_LONGEST} bytes"
    return ""
