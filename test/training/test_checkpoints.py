"""Checkpoints: whole or not at all, the newest whole one found, everything restored."""

import copy
import logging

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from support.training_runs import ARCHITECTURE, differences
from torch import nn

from internimage_perception.errors import PerceptionError
from internimage_perception.models import create_model
from internimage_perception.models.checkpoints import load_checkpoint
from internimage_perception.training.averaging import WeightAverage
from internimage_perception.training.checkpoints import Checkpoints, RunState
from internimage_perception.training.config import OptimizerConfig
from internimage_perception.training.optimizers import create_optimizers


class Run:
    """A network that learns what follows from a step's number, and its state."""

    def __init__(self, network=None, kind="adamw", keep=0.9):
        torch.manual_seed(1)
        self.fabric = Fabric(accelerator="cpu", devices=1)
        self.network = network or nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
        self.average = None if keep is None else WeightAverage(self.network, keep)
        self.optimizers = create_optimizers(self.network, OptimizerConfig(kind=kind, learning_rate=0.1))
        self.state = RunState(self.fabric, self.network, self.average, self.optimizers)

    def learn(self, first, last):
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            for parameter in self.network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            for optimizer in self.optimizers:
                optimizer.step()
            if self.average is not None:
                self.average.update()
        return self

    def save(self, checkpoints, step):
        checkpoints.save(self.fabric, self.state, step)

    def resume(self, checkpoints):
        return checkpoints.resume(self.fabric, self.state)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("keep", [0.9, None])
def test_a_run_goes_on_exactly(tmp_path, kind, keep):
    checkpoints = Checkpoints(tmp_path, 2)
    run = Run(create_model(ARCHITECTURE), kind, keep).learn(0, 3)
    run.save(checkpoints, 3)
    other = Run(create_model(ARCHITECTURE), kind, keep)
    assert other.resume(checkpoints) == 3
    assert differences(run.learn(3, 5).state.gather(), other.learn(3, 5).state.gather()) == []
    assert keep is None or other.average.updates == 5


def test_weights_are_the_averaged_ones():
    run = Run().learn(0, 3)
    assert differences(run.state.weights(), run.average.module.state_dict()) == []
    assert differences(run.state.weights(), run.network.state_dict())
    run = Run(keep=None).learn(0, 3)
    assert differences(run.state.weights(), run.network.state_dict()) == []


def test_other_commands_can_read_them(tmp_path):
    run = Run().learn(0, 1)
    run.save(Checkpoints(tmp_path, 1), 1)
    weights = load_checkpoint(tmp_path / "step_00000001.pt")
    assert differences(weights, dict(run.network.state_dict())) == []


def test_the_newest_ones_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    run = Run()
    assert run.resume(checkpoints) == 0
    for step in (5, 10, 100_000_000):
        run.learn(0, 1).save(checkpoints, step)
    assert names(tmp_path) == ["step_00000010.pt", "step_100000000.pt"]
    assert run.resume(checkpoints) == 100_000_000


def test_other_files_are_left_alone(tmp_path):
    checkpoints = Checkpoints(tmp_path, 1)
    others = ["step_5.txt", "step_.pt", "step_x.pt", "best.pt", "step_00000009.pt.bak"]
    for name in others:
        (tmp_path / name).write_text("mine")
    run = Run()
    assert run.resume(checkpoints) == 0
    run.save(checkpoints, 1)
    assert names(tmp_path) == sorted([*others, "step_00000001.pt"])


def truncated(data):
    return data[: len(data) // 2]


def flipped(data):
    changed = bytearray(data)
    # In the middle of a tensor's values.
    changed[data.index(np.float32(1.0).tobytes() * 6)] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("damage", [truncated, flipped, lambda _: b"", lambda _: b"PK nothing"])
def test_a_damaged_one_is_named_and_passed_over(tmp_path, damage, caplog):
    checkpoints = Checkpoints(tmp_path, 3)
    run = Run()
    run.save(checkpoints, 2)
    kept = copy.deepcopy(run.state.gather())
    for step in (4, 6):
        run.learn(step - 2, step).save(checkpoints, step)
        path = tmp_path / f"step_0000000{step}.pt"
        path.write_bytes(damage(path.read_bytes()))
    other = Run()
    with caplog.at_level(logging.WARNING):
        assert other.resume(checkpoints) == 2
    assert differences(other.state.gather(), kept) == []
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    for step, text in zip((6, 4), said, strict=True):
        assert f"step_0000000{step}.pt is damaged and passed over" in text
    # From here on the damaged ones are in the way of nothing, however few are kept.
    other.learn(2, 3).save(Checkpoints(tmp_path, 1), 3)
    assert names(tmp_path) == ["step_00000003.pt"]


def test_no_changed_byte_goes_unseen(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    run = Run(nn.Linear(2, 2), keep=None).learn(0, 1)
    run.save(checkpoints, 1)
    path = tmp_path / "step_00000001.pt"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    passed_over = 0
    for place in rng.choice(len(data), 300, replace=False):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        step, content = checkpoints._read()
        if step:
            assert differences(content, run.state.gather()) == [], place
        else:
            passed_over += 1
    assert passed_over > 50


def test_weights_that_are_no_numbers_are_not_stored(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    run = Run().learn(0, 1)
    run.save(checkpoints, 1)
    with torch.no_grad():
        run.network[2].bias[1] = torch.inf
    with pytest.raises(PerceptionError, match=r"no numbers after step 2, such as 2\.bias: lower optimizer"):
        run.save(checkpoints, 2)
    assert names(tmp_path) == ["step_00000001.pt"]


@pytest.mark.parametrize("other", [{"network": nn.Linear(4, 2)}, {"kind": "muon"}])
def test_one_that_does_not_fit(tmp_path, other):
    checkpoints = Checkpoints(tmp_path, 2)
    Run().learn(0, 1).save(checkpoints, 7)
    with pytest.raises(PerceptionError, match=r"checkpoint of step 7 in .* does not fit this network"):
        Run(**other).resume(checkpoints)


def test_one_without_what_is_needed(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    Run(keep=None).learn(0, 1).save(checkpoints, 7)
    with pytest.raises(PerceptionError, match="does not fit"):
        Run().resume(checkpoints)
    torch.save({"state_dict": {}, "optimizers": []}, tmp_path / "step_00000008.pt")
    with pytest.raises(PerceptionError, match="does not fit"):
        Run(keep=None).resume(checkpoints)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PerceptionError, match="cannot write"):
        Run().save(Checkpoints(tmp_path / "file", 2), 1)
