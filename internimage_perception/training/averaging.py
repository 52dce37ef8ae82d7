"""Moving average of a network's weights: steadier than the last step's, and the teacher of self-training."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

Place = tuple[nn.Module, str]
"""A module and the attribute that holds one of its tensors."""


class WeightAverage:
    """Exponential moving average of parameters and buffers; batch norms' statistics are averaged too.

    After n updates an update keeps min(keep, (1 + n) / (10 + n)) of the average, so that the first steps'
    weights are soon forgotten. Numbers that are counted (integer buffers) are copied.

    Attributes:
        module: the averaged network, for evaluation: no gradients, nothing shared with the one trained.
        keep: share of the average that an update keeps, in the long run.
        updates: how many there were.
    """

    def __init__(self, model: nn.Module, keep: float, average_model: nn.Module | None = None) -> None:
        """Begin with the model's weights.

        Args:
            model: what is trained, as it stays: on its device, batch norms replaced, split over processes.
            keep: in (0, 1), such as 0.999.
            average_model: a network of the same kind to hold the average; it must be split as `model` is,
                but may lie elsewhere or be more precise. None: a deep copy, which a network that is split
                or wrapped does not allow.

        Raises:
            ValueError: the networks differ in their tensors or in how these are split.
        """
        self.module = copy.deepcopy(model) if average_model is None else average_model
        self.module.requires_grad_(requires_grad=False).eval()
        self.keep = keep
        self.updates = 0
        self._pairs = _paired(model, self.module)
        self._blend(1.0)

    def update(self) -> None:
        """Take in the model's weights of now, after an optimiser's step."""
        keep = min(self.keep, (1 + self.updates) / (10 + self.updates))
        self._blend(1.0 - keep)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the number of updates."""
        return {"module": self.module.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.module.load_state_dict(state["module"])
        self.updates = int(state["updates"])

    @torch.no_grad()
    def _blend(self, share: float) -> None:
        """Move the average by a share of the way to the model."""
        averaged: list[torch.Tensor] = []
        targets: list[torch.Tensor] = []
        for mine, theirs in self._pairs:
            average, target = _local(mine), _local(theirs)
            if share == 1.0 or not average.is_floating_point():
                average.copy_(target)
            else:
                averaged.append(average)
                targets.append(target.to(average))
        if averaged:
            torch._foreach_lerp_(averaged, targets, share)  # as PyTorch's own averages do


def _paired(model: nn.Module, average: nn.Module) -> list[tuple[Place, Place]]:
    """Return the places of the same tensor in both networks; raises ValueError."""
    theirs, mine = list(_places(model)), list(_places(average))
    if len(theirs) != len(mine):
        raise ValueError(f"the averaged network has {len(mine)} tensors, the trained one {len(theirs)}")
    for (name, place), (other_name, other) in zip(theirs, mine, strict=True):
        layouts = [_layout(getattr(*item)) for item in (place, other)]
        if layouts[0] != layouts[1]:
            raise ValueError(
                f"{name} is laid out as {layouts[0]} in the trained network, and as {layouts[1]} in the "
                f"averaged one, where it is {other_name}"
            )
    return [(other, place) for (_, place), (_, other) in zip(theirs, mine, strict=True)]


def _places(model: nn.Module) -> Iterator[tuple[str, Place]]:
    """Yield the names and places of all tensors that a checkpoint holds; of shared ones, the first."""
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        path, _, leaf = name.rpartition(".")
        if isinstance(tensor, torch.Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, (model.get_submodule(path), leaf)


def _local(place: Place) -> torch.Tensor:
    """Return a tensor, looked up anew since loading and splitting replace it; or this process's shard."""
    tensor: torch.Tensor = getattr(*place)
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _layout(tensor: torch.Tensor) -> tuple[object, ...]:
    if isinstance(tensor, DTensor):
        return (*tensor.shape, *tensor.placements)
    return tuple(tensor.shape)
