"""Runs a function in several processes of one training run."""

from pathlib import Path

import torch
from torch import distributed, multiprocessing

COUNT = 2


def in_processes(task, folder):
    """Return what `task(rank)` returns in each of two processes that form a group (gloo).

    `task` must be in a module that fresh processes can import; it returns tensors and plain containers.
    """
    meeting = (folder / "meeting").as_uri()
    multiprocessing.spawn(_run, args=(task, str(folder), meeting), nprocs=COUNT)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(COUNT)]


def _run(rank, task, folder, meeting):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=COUNT)
    torch.save(task(rank), Path(folder, f"{rank}.pt"))
    distributed.barrier()
    distributed.destroy_process_group()
