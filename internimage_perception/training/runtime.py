"""Processes, devices and number formats of a run, by Lightning Fabric."""

import os
import warnings

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from internimage_perception.models.internimage import Block
from internimage_perception.training.config import TrainingConfig

_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def start_fabric(config: TrainingConfig) -> Fabric:
    """Return the launched Fabric of this process: alone, or one of those that `torchrun` started.

    Every process takes one GPU where there are some, else the CPU.
    """
    with warnings.catch_warnings():
        # It advises a launcher where there is none to advise.
        warnings.filterwarnings("ignore", module="lightning_fabric")
        processes = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
        per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes > 1 else 1
        fabric = Fabric(
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=per_node,
            num_nodes=processes // per_node,
            strategy=_strategy(config.strategy, processes),
            precision=_PRECISION[config.precision],  # type: ignore[arg-type]  # a literal of theirs
        )
        fabric.launch()
    return fabric


def is_sharded(fabric: Fabric) -> bool:
    """Return whether the processes split the network among them."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


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
    fully_shard(network, mesh=data)
    return network


def _strategy(kind: str, processes: int) -> str | Strategy:
    if processes == 1:
        return "auto"
    if kind == "fsdp":
        return ModelParallelStrategy(split_network, data_parallel_size=processes, tensor_parallel_size=1)
    # Batch norms are synchronised or kept apart by us; the first process's are saved.
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
