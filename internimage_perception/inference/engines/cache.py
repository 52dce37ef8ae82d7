"""The folder in which engines are kept, one plan with its description each.

`MODEL-DIGEST.plan` is the engine, `MODEL-DIGEST.json` says in the clear what it was built for,
`timing-*.cache` are TensorRT's own measurements of kernels, which make the next build faster, `*.lock` keep
builders apart.
Everything there can be deleted at any time; it is built again.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from internimage_perception.errors import BackendError
from internimage_perception.files import try_lock, write_bytes, write_text
from internimage_perception.inference.engines.key import EngineKey

CACHE_ENVIRONMENT = "INTERNIMAGE_PERCEPTION_CACHE"
"""Variable that names the folder of everything this package keeps; engines lie in its folder ENGINES."""

ENGINES = "engines"

_FORMAT = 1
_LONGEST_NAME = 60

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """An engine in the cache.

    Attributes:
        path: its plan.
        key: what it was built for.
        sha256: checksum of the plan.
        about: what else is known of it, such as the seconds that building took; for people.
    """

    path: Path
    key: EngineKey
    sha256: str
    about: Mapping[str, object]

    def read(self) -> bytes | None:
        """Return the plan; None when the file is damaged or gone."""
        try:
            plan = self.path.read_bytes()
        except OSError:
            return None
        return plan if hashlib.sha256(plan).hexdigest() == self.sha256 else None


def cache_folder() -> Path:
    """Return the folder of engines: in CACHE_ENVIRONMENT, else in the user's cache folder (XDG)."""
    if given := os.environ.get(CACHE_ENVIRONMENT):
        return Path(given).expanduser() / ENGINES
    # XDG Base Directory Specification: a relative path is to be ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = base if base.is_absolute() else Path("~/.cache").expanduser()
    return base / "internimage_perception" / ENGINES


class EngineCache:
    """Engines in a folder, which need not exist. Damaged descriptions count as none.

    Args:
        folder: where the engines lie; None: `cache_folder()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()

    def plan_path(self, model: str, key: EngineKey) -> Path:
        """Return where the plan of that key lies, or would lie."""
        name = re.sub(r"[^\w.-]+", "_", model)[:_LONGEST_NAME]
        return self.folder / f"{name}-{key.digest}.plan"

    def find(self, model: str, key: EngineKey) -> CachedEngine | None:
        """Return the engine of exactly that key."""
        entry = self._entry(self.plan_path(model, key).with_suffix(".json"))
        return entry[1] if entry and entry[0] == model and entry[1].key == key else None

    def engines(self, model: str) -> list[CachedEngine]:
        """Return every engine of the model, the newest first."""
        found = [
            (path.stat().st_mtime_ns, entry[1])
            for path in self.folder.glob("*.json")
            if (entry := self._entry(path)) and entry[0] == model
        ]
        return [engine for _, engine in sorted(found, key=lambda item: item[0], reverse=True)]

    def store(self, model: str, key: EngineKey, plan: bytes, about: Mapping[str, object]) -> CachedEngine:
        """Keep an engine. The plan takes its name last, so that whatever is found is whole."""
        path = self.plan_path(model, key)
        engine = CachedEngine(path, key, hashlib.sha256(plan).hexdigest(), dict(about))
        content = {
            "format": _FORMAT, "model": model, "key": key.to_dict(), "sha256": engine.sha256,
            "about": dict(about),
        }  # fmt: skip
        write_text(path.with_suffix(".json"), json.dumps(content, indent=2) + "\n")
        write_bytes(path, plan)
        return engine

    @contextmanager
    def lock(self, model: str, key: EngineKey) -> Iterator[None]:
        """Keep other processes from building the same engine; wait for one that does, and say so.

        Raises BackendError when the folder cannot be written.
        """
        path = self.plan_path(model, key).with_suffix(".lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError as error:
            message = (
                f"engines cannot be kept in {self.folder}: {error.strerror or error}; "
                f"name another folder in {CACHE_ENVIRONMENT}"
            )
            raise BackendError(message) from error
        # The file stays: removed, a third process could lock a new one while a second waits for the old.
        with file:
            if not try_lock(file.fileno()):
                _log.info("another process builds the engine of %s; waiting for it", model)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def timing_path(self, key: EngineKey) -> Path:
        """Return the file of kernel timings for the key's TensorRT and GPU."""
        parts = (key.tensorrt, key.gpu, key.compute_capability)
        return self.folder / (
            "timing-" + "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts) + ".cache"
        )

    def _entry(self, path: Path) -> tuple[str, CachedEngine] | None:
        """Return model and engine that a description names; None when it or its plan is no good."""
        plan = path.with_suffix(".plan")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT or not plan.is_file():
                return None
            key = EngineKey.from_dict(content["key"])
            return str(content["model"]), CachedEngine(plan, key, str(content["sha256"]), content["about"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
