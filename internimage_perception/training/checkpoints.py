"""Checkpoints of a run: written whole or not at all, the newest valid one found again."""

import logging
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from internimage_perception.errors import PerceptionError
from internimage_perception.files import atomic_path
from internimage_perception.training.averaging import WeightAverage

_log = logging.getLogger(__name__)
_NAME = re.compile(r"step_(\d+)\.pt")
_GATHERED = StateDictOptions(full_state_dict=True, cpu_offload=True)
_DAMAGED = (
    OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, struct.error, zlib.error,
    pickle.PickleError,
)  # fmt: skip
_UNFIT = (RuntimeError, KeyError, ValueError, TypeError, AssertionError)


class RunState:
    """What a checkpoint holds of a run: network, average, optimisers, loss scale; the step is its name.

    Random numbers need no state: each step seeds its own. A checkpoint is the same whatever the number of
    processes, and can be read as weights by `bundle` and `convert-checkpoint`.

    Args:
        fabric: of this process.
        network: as trained, unwrapped.
        average: of its weights, or None.
        optimizers: of its parameters.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        average: WeightAverage | None,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        self._fabric, self._network, self._average = fabric, network, average
        self._optimizers = tuple(optimizers)
        self._scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)

    def gather(self) -> dict[str, Any]:
        """Return everything, on the CPU; all processes must call it, only the first one's answer is whole."""
        content: dict[str, Any] = {
            "state_dict": get_model_state_dict(self._network, options=_GATHERED),
            "optimizers": [
                get_optimizer_state_dict(self._network, optimizer, options=_GATHERED)
                for optimizer in self._optimizers
            ],
        }
        if self._average is not None:
            content["average"] = {
                "updates": self._average.updates,
                "state_dict": get_model_state_dict(self._average.module, options=_GATHERED),
            }
        if self._scaler is not None:
            content["scaler"] = self._scaler.state_dict()
        return content

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the averaged weights, or the last step's without an average; all processes must call it."""
        network = self._network if self._average is None else self._average.module
        found = get_model_state_dict(network, options=_GATHERED)
        return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}

    def spread(self, content: Mapping[str, Any]) -> None:
        """Take what `gather` returned; all processes must call it, the first one's is what counts."""
        if not self._fabric.is_global_zero:
            optimizers: list[dict[str, Any]] = [{} for _ in self._optimizers]
            average = {"state_dict": {}, "updates": 0}
            content = {"state_dict": {}, "average": average, "optimizers": optimizers, "scaler": {}}
        several = self._fabric.world_size > 1
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=several)
        set_model_state_dict(self._network, content["state_dict"], options=options)
        if self._average is not None:
            set_model_state_dict(self._average.module, content["average"]["state_dict"], options=options)
            self._average.updates = int(self._fabric.broadcast(content["average"]["updates"]))
        for optimizer, state in zip(self._optimizers, content["optimizers"], strict=True):
            set_optimizer_state_dict(self._network, optimizer, state, options=options)
        if self._scaler is not None:
            self._scaler.load_state_dict(self._fabric.broadcast(content["scaler"]))


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie, `step_00001000.pt`.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def save(self, fabric: Fabric, state: RunState, step: int) -> None:
        """Write a checkpoint after so many steps; all processes must call it.

        Raises PerceptionError, and leaves the older ones as they are, when weights are no numbers.
        """
        content = state.gather()
        if fabric.is_global_zero:
            _check_finite(content["state_dict"], step)
            with atomic_path(self._folder / f"step_{step:08d}.pt") as path:
                torch.save(content, path)
            # Those of later steps were damaged, or the run would have gone on from there.
            whole = [(number, old) for number, old in self._newest_first() if number <= step]
            for _, old in {*self._newest_first()} - {*whole[: self._keep]}:
                old.unlink()
        fabric.barrier()

    def resume(self, fabric: Fabric, state: RunState) -> int:
        """Take the newest checkpoint that is whole; returns its step, 0 without one.

        Damaged ones are named in the log and passed over. Raises PerceptionError when one does not fit.
        """
        step, content = self._read() if fabric.is_global_zero else (0, {})
        step = int(fabric.broadcast(step))
        if step:
            try:
                state.spread(content)
            except _UNFIT as error:
                message = (
                    f"the checkpoint of step {step} in {self._folder} does not fit this network or these "
                    f"optimisers: {error}"
                )
                raise PerceptionError(message) from error
        return step

    def _read(self) -> tuple[int, dict[str, Any]]:
        for step, path in self._newest_first():
            try:
                _check_sums(path)
                content = torch.load(path, map_location="cpu", weights_only=True)
            except _DAMAGED as error:
                _log.warning("%s is damaged and passed over: %s", path, error)
            else:
                return step, content
        return 0, {}

    def _newest_first(self) -> Iterator[tuple[int, Path]]:
        found = ((_NAME.fullmatch(path.name), path) for path in self._folder.glob("step_*.pt"))
        yield from sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def _check_sums(path: Path) -> None:
    """Raise BadZipFile for a damaged file: PyTorch does not look at its checksums."""
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} has another checksum")


def _check_finite(weights: Mapping[str, torch.Tensor], step: int) -> None:
    for name, value in weights.items():
        if not value.isfinite().all():
            raise PerceptionError(
                f"weights are no numbers after step {step}, such as {name}: lower optimizer.learning_rate "
                "or set optimizer.clip; older checkpoints are as they were"
            )
