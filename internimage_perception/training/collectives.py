"""Sums over all processes of a training run; without a process group there is just this one."""

from typing import Any, TypeVar

import torch
from torch import distributed

Item = TypeVar("Item")


def process_count() -> int:
    """Return the number of processes of the run, 1 without a process group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of every process's tensor, with gradients; all processes must call it.

    The gradient of each process's tensor is the sum of all processes' gradients: that of the sum of their
    losses. Where gradients of weights are averaged over processes (DDP, FSDP), a loss that every process
    computes from such sums therefore trains as it does in one process.
    """
    return tensor if process_count() == 1 else _AllReduce.apply(tensor)


@torch.no_grad()
def count_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of every process's tensor, as a constant; all processes must call it."""
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    if process_count() > 1:
        distributed.all_reduce(total)
    return total


def gather_objects(found: Item) -> list[Item]:
    """Return every process's object, small ones that can be pickled; all processes must call it."""
    if process_count() == 1:
        return [found]
    gathered: list[Item | None] = [None] * process_count()
    distributed.all_gather_object(gathered, found)
    return [item for item in gathered if item is not None]


class _AllReduce(torch.autograd.Function):
    """All-reduce forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:  # noqa: ANN401, ARG004 - autograd's own
        return count_over_processes(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:  # noqa: ANN401, ARG004 - autograd's own
        return count_over_processes(gradients[0])
