"""The folder of a run: what it was begun with, and what it leaves."""

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from internimage_perception.data.datasets.label_map_file import read_yaml
from internimage_perception.errors import ConfigError
from internimage_perception.files import try_lock, write_text
from internimage_perception.training.config import TrainingConfig

_FREE = (
    "classes", "validation", "log_every", "checkpoint_every", "keep_checkpoints", "data.workers",
    "data.failures", "gradient_checkpointing", "strategy",
)  # fmt: skip
"""Settings that may change between parts of a run: they do not decide on what it learns."""


class RunFolder:
    """Names in a run's folder, which one run at a time writes to; close it when the run ends.

    Args:
        path: the folder.
    """

    CONFIG = "config.yaml"
    WEIGHTS = "weights.safetensors"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / self.CONFIG
        self.checkpoints = path / "checkpoints"
        self.weights = path / self.WEIGHTS
        self._handle: int | None = None

    def claim(self, config: TrainingConfig) -> None:
        """Write down what the run is begun with, or check that it is begun with the same again.

        Raises ConfigError when the folder holds something else, or settings differ that decide on what is
        learned, or another process trains there. Before the first checkpoint, all settings may still change.
        """
        if self._handle is None:
            self._handle = self._lock()
        now = config.model_dump(mode="json")
        if self.config.exists():
            before = self._begun_with()
            differing = [key for key in _differing(before, now) if not key.startswith(_FREE)]
            if differing and any(self.checkpoints.glob("*.pt")):
                raise ConfigError(
                    f"{self.path} holds a run with other settings ({', '.join(differing)}); choose another "
                    "folder, or give the same settings to go on with it"
                )
        elif any(self.path.iterdir()):
            raise ConfigError(f"{self.path} is not empty and holds no run; choose another folder")
        for folder in (self.path, self.checkpoints):
            # What a kill left of files that were being written.
            for rest in folder.glob(".*.part"):
                rest.unlink()
        write_text(self.config, yaml.safe_dump(now, sort_keys=False, allow_unicode=True))

    def close(self) -> None:
        """Let another run go on here."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _lock(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self.path}: {error.strerror}; give a folder for the run"
            ) from error
        if not try_lock(handle):
            os.close(handle)
            raise ConfigError(
                f"another process trains in {self.path}: wait for it, end it, or choose another folder"
            )
        return handle

    def _begun_with(self) -> object:
        """Return the settings of the run that is there, complete: settings may have come into being since."""
        try:
            content = read_yaml(self.config, "the configuration of a run")
            return TrainingConfig.model_validate(content).model_dump(mode="json")
        except (ConfigError, ValidationError) as error:
            raise ConfigError(
                f"{self.path} is not empty and holds no run that can be gone on with; choose another folder "
                f"({error})"
            ) from error


def _differing(before: object, now: object, place: str = "") -> list[str]:
    """Return the keys under which two configurations differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys: dict[Any, None] = dict.fromkeys([*before, *now])
        inner = (
            _differing(before.get(key), now.get(key), f"{place}.{key}" if place else str(key)) for key in keys
        )
        return [key for found in inner for key in found]
    return [] if before == now else [place]
