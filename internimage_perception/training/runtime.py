"""Processes, devices and number formats of a run, by Lightning Fabric."""

import inspect
import os
import warnings
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from internimage_perception.errors import PerceptionError
from internimage_perception.models.internimage import Block
from internimage_perception.training.config import TrainingConfig


def start_fabric(config: TrainingConfig) -> Fabric:
    """Return the launched Fabric of this process: alone, or one of those that `torchrun` started.

    Every process takes one GPU where there are some, else the CPU.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Of depthwise kernels, whose strides can be told in two ways.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    with warnings.catch_warnings():
        # It advises a launcher where there is none to advise.
        warnings.filterwarnings("ignore", module="lightning_fabric")
        processes = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
        per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes > 1 else 1
        fabric = Fabric(
            accelerator=device,
            devices=per_node,
            num_nodes=processes // per_node,
            strategy=_strategy(config.strategy, processes),
            # Asked for by name, fp16 would tacitly be bf16 on a CPU.
            plugins=[_precision(config.precision, device)],
        )
        fabric.launch()
    return fabric


def explained(error: RuntimeError) -> PerceptionError | None:
    """Return what an error of PyTorch's means to people, None where that is not known."""
    said = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in said:
        return PerceptionError(
            "the memory is full: raise accumulate or lower batch, set gradient_checkpointing or precision "
            f"bf16, or split the network over processes (strategy fsdp); {said.splitlines()[0]}"
        )
    if isinstance(error, torch.distributed.DistError) or "/gloo/" in said:
        return PerceptionError(
            "another process of this run has ended, or cannot be reached any more; what it said tells why "
            f"(nothing, if the system killed it for its memory); {said.splitlines()[0]}"
        )
    return None


def place_copy(fabric: Fabric, network: nn.Module) -> nn.Module:
    """Bring a network that is not trained to the device, split as the trained one is."""
    if isinstance(fabric.strategy, ModelParallelStrategy):
        network = split_network(network, fabric.strategy.device_mesh)
    return network.to(fabric.device)


def split_network(network: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Split parameters over the processes, block by block: one block at a time is whole in memory (FSDP2)."""
    data = mesh["data_parallel"]
    for block in network.modules():
        if isinstance(block, Block):
            fully_shard(block, mesh=data)
    for name, child in network.named_children():
        if name != "backbone":
            fully_shard(child, mesh=data)
    # Split again at once: between steps, the moving average works on the parts.
    fully_shard(network, mesh=data, reshard_after_forward=True)
    register_fsdp_forward_method(network, "head_logits")
    return network


def _precision(kind: str, device: str) -> Precision:
    if kind == "fp32":
        return Precision()
    return MixedPrecision("bf16-mixed" if kind == "bf16" else "16-mixed", device)


def _strategy(kind: str, processes: int) -> str | Strategy:
    if processes == 1:
        return "auto"
    if kind == "fsdp":
        return ModelParallelStrategy(split_network, data_parallel_size=processes, tensor_parallel_size=1)
    # Batch norms are synchronised or kept apart by us; the first process's are saved.
    known = inspect.signature(DistributedDataParallel).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {option: False}
    return DDPStrategy(gradient_as_bucket_view=True, **options)
