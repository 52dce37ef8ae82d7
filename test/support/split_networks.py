"""A network split over processes, trained beside a whole one; in a file that fresh processes can import."""

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from internimage_perception.training.averaging import WeightAverage
from internimage_perception.training.config import OptimizerConfig
from internimage_perception.training.optimizers import create_optimizers


def build():
    torch.manual_seed(0)
    # Five rows do not split evenly.
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4, bias=False))


def split_and_compare(rank, meeting):
    """Train whole and split over two processes: both must end at the same weights and averages."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    whole, split = build(), fully_shard(build(), mesh=mesh)
    with pytest.raises(ValueError, match="laid out as"):
        WeightAverage(split, 0.9, build())
    averages = [WeightAverage(whole, 0.9), WeightAverage(split, 0.9, fully_shard(build(), mesh=mesh))]
    config = OptimizerConfig(learning_rate=0.1)
    everything = [
        (model, create_optimizers(model, config)[0], average)
        for model, average in zip((whole, split), averages, strict=True)
    ]
    for step in range(4):
        inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        for model, optimizer, average in everything:
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
            average.update()
    for a, b in ((whole, split), (averages[0].module, averages[1].module)):
        for name, value in a.state_dict().items():
            torch.testing.assert_close(value, b.state_dict()[name].full_tensor())
    assert not torch.equal(averages[0].module[0].weight, whole[0].weight)
    state = averages[1].state_dict()
    other = WeightAverage(split, 0.9, fully_shard(build(), mesh=mesh))
    other.load_state_dict(state)
    assert other.updates == 4
    for name, value in state["module"].items():
        assert torch.equal(value.to_local(), other.module.state_dict()[name].to_local())
    distributed.destroy_process_group()
