"""Names of classes as a plain text file: UTF-8, one per line, in the order of the ids.

For the thousands of classes of a classifier, which YAML takes seconds to read.
"""

from collections.abc import Sequence
from pathlib import Path

from internimage_perception.errors import ConfigError
from internimage_perception.files import write_text


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of a file, without blanks around them.

    Raises ConfigError when it cannot be read, holds nothing, or has an empty line between names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as names of classes: {error}") from error
    names = tuple(line.strip() for line in text.rstrip().split("\n"))
    if "" in names:
        where = "holds no names" if len(names) == 1 else f"has no name in line {names.index('') + 1}"
        raise ConfigError(f"{path} {where}; write one class per line, in the order of their ids")
    return names


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write names so that `read_names` returns the same. Raises ConfigError for one that no line can hold."""
    for index, name in enumerate(names):
        if not name or name != name.strip() or "\n" in name or "\r" in name or name.startswith("\ufeff"):
            raise ConfigError(
                f"class {index} cannot be called {name!r}: a name is one line without blanks around it"
            )
    write_text(path, "\n".join(names) + "\n")
