"""What a replay's output folder says of itself: which replay it holds, and whether it is complete."""

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from internimage_perception.errors import BagError
from internimage_perception.files import write_text
from internimage_perception.geometry import Rig
from internimage_perception.inference.bundle import Bundle, sha256_of
from internimage_perception.inference.sources import CameraSource

if TYPE_CHECKING:
    from internimage_perception.bags.replay import ReplayOptions

STATE = "replay.json"
_RESULTS = ("bag", "report.json", "report.html")
_OWN = (STATE, *_RESULTS)


class ReplayState:
    """The identity of a replay, kept in its output folder.

    `open` looks at the folder and changes nothing, `claim` takes it, `finish` marks the replay complete.

    Attributes:
        complete: the report of the same replay, when it was finished before.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, object],
        complete: dict[str, object] | None,
        *,
        overwrite: bool,
    ) -> None:
        self.complete = complete
        self._overwrite = overwrite
        self._folder = folder
        self._identity = identity

    @classmethod
    def open(cls, options: "ReplayOptions", bundle: Bundle, sources: Sequence[CameraSource]) -> "ReplayState":
        """Find out what the output folder holds. Raises BagError when it is something else."""
        folder = options.out
        identity = _identity(options, bundle, sources)
        if folder.exists() and not folder.is_dir():
            raise BagError(f"{folder} is a file; give a folder for the results")
        found = _read(folder / STATE)
        if options.overwrite and found is not None:
            if any(path.name not in _OWN and not _is_torn_state(path) for path in folder.iterdir()):
                raise BagError(f"{folder} holds other files beside a replay; choose another folder")
        elif found is not None and found.get("replay") == identity:
            if found.get("complete") is True:
                report = _read(folder / "report.json")
                if report is not None:
                    return cls(folder, identity, report, overwrite=False)
            elif options.real_time:
                message = (
                    f"{folder} holds an unfinished replay in real time, which cannot resume; use --overwrite"
                )
                raise BagError(message)
        elif found is not None and any((folder / name).exists() for name in _RESULTS):
            message = f"{folder} holds another replay (see {STATE}); choose another folder or use --overwrite"
            raise BagError(message)
        elif found is None and folder.is_dir() and not all(map(_is_torn_state, folder.iterdir())):
            raise BagError(f"{folder} is not empty and holds no replay; choose another folder")
        return cls(folder, identity, None, overwrite=options.overwrite)

    def claim(self) -> None:
        """Take the folder for this replay; an earlier one's results go, where they may be overwritten.

        Raises BagError when it cannot be written.
        """
        if self._overwrite:
            _clear(self._folder)
        self._write(complete=False)

    def finish(self) -> None:
        """Mark the replay complete."""
        self._write(complete=True)

    def _write(self, *, complete: bool) -> None:
        content = {"complete": complete, "replay": self._identity}
        write_text(self._folder / STATE, json.dumps(content, indent=2) + "\n")


def _identity(options: "ReplayOptions", bundle: Bundle, sources: Sequence[CameraSource]) -> dict[str, object]:
    """Return everything that decides what the results are, as JSON gives it back."""
    config = options.collector
    return {
        "bags": [[str(path.absolute()), _stamp_of(path)] for path in options.bags],
        "bundle": bundle.identity(),
        "rig": options.rig.read_text(encoding="utf-8") if options.rig else None,
        "ego_masks": _ego_masks(options.rig) if options.rig else None,
        "cameras": [[item.name, item.image_topic] for item in sources],
        "backend": options.backend,
        "real_time": options.real_time,
        "collector": {name: getattr(config, name) for name in config.__slots__},
        "set_log": sha256_of(options.set_log) if options.set_log else None,
        "overlay_width": options.overlay_width,
        "confidence": options.confidence,
    }


def _ego_masks(rig: Path) -> dict[str, str]:
    """Return a fingerprint of each camera's ego mask; the rig's text names their files only."""
    masks = {name: camera.ego_mask for name, camera in Rig.load(rig).cameras.items()}
    return {name: sha256(mask.tobytes()).hexdigest()[:16] for name, mask in masks.items() if mask is not None}


def _stamp_of(path: Path) -> list[int]:
    """Return size and time of the last change: a bag of the same name may be another recording."""
    files = [item.stat() for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path.stat()]
    return [sum(item.st_size for item in files), max((item.st_mtime_ns for item in files), default=0)]


def _is_torn_state(path: Path) -> bool:
    """Say whether `path` is what a kill left of writing the state for the first time."""
    return path.name.startswith(f".{STATE}.") and path.suffix == ".part"


def _read(path: Path) -> dict[str, object] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _clear(folder: Path) -> None:
    """Remove an earlier replay's results, and nothing else."""
    if _read(folder / STATE) is None:
        return
    for name in _OWN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
