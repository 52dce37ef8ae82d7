"""Output folders of commands that make several things: what they made before is replaced, nothing else."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from internimage_perception.errors import PerceptionError
from internimage_perception.files import write_text


def claim_folder(out: Path, command: str, names: Sequence[str]) -> None:
    """Make `out` and remove what an earlier run of `command` left there under `names`.

    A marker file tells that the command made them. Raises PerceptionError when something else has one of
    the names, or the folder cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise PerceptionError(f"{out} is a file; give a folder for the results")
    marker = out / f".{command}.json"
    taken = [name for name in names if (out / name).exists() or (out / name).is_symlink()]
    if taken and _made_by(marker) != command:
        raise PerceptionError(
            f"{out} holds {', '.join(taken)}, which {command} did not make; choose another folder"
        )
    # First the marker: a run that is interrupted later can still be repeated.
    write_text(marker, json.dumps({"made_by": command, "names": list(names)}) + "\n")
    for name in taken:
        path = out / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise PerceptionError(f"cannot replace {path}: {error.strerror or error}") from error


def _made_by(marker: Path) -> object:
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("made_by") if isinstance(content, dict) else None
