"""What a step does with its gradients: rates, clipping, overflows."""

from types import SimpleNamespace

import pytest
import torch
from support.training_runs import differences, settings
from torch import nn

from internimage_perception.training.optimizers import AdamW
from internimage_perception.training.updates import Updates


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2))


def updates_of(network, scaler=None, copy=None, **changes):
    config = settings({"kind": "folders", "images": "a"}, **changes)
    fabric = SimpleNamespace(strategy=SimpleNamespace(precision=SimpleNamespace(scaler=scaler)))
    return Updates(config, fabric, network, copy)


def give_gradients(network, scale=1.0, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * scale


def copied(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_rates_follow_the_schedule_and_gradients_go():
    network = build()
    changes = {"optimizer__learning_rate": 1.0, "optimizer__kind": "muon", "steps": 10}
    updates = updates_of(network, **changes, schedule={"kind": "poly", "warm_up": 0})
    for step, rate in ((0, 1.0), (5, 0.5), (9, 0.1)):
        give_gradients(network)
        updates.apply(step)
        assert updates.learning_rate == pytest.approx(rate)
        rates = {group["lr"] for optimizer in updates.optimizers for group in optimizer.param_groups}
        assert rates == {updates.learning_rate}
        assert all(parameter.grad is None for parameter in network.parameters())


def test_gradients_are_clipped_all_together(monkeypatch):
    seen = []
    network = build()
    monkeypatch.setattr(
        AdamW, "step", lambda self: seen.append([p.grad for g in self.param_groups for p in g["params"]])
    )
    updates = updates_of(network, optimizer__clip=0.5)
    give_gradients(network)
    before = [parameter.grad.clone() for parameter in network.parameters()]
    norm = torch.cat([gradient.flatten() for gradient in before]).norm()
    updates.apply(0)
    by_size = sorted(seen[0], key=lambda gradient: gradient.norm().item())
    expected = sorted((gradient * (0.5 / norm) for gradient in before), key=lambda gradient: gradient.norm())
    for mine, theirs in zip(by_size, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_the_average_follows():
    network, copy = build(), build()
    updates = updates_of(network, copy=copy, average=0.9)
    assert updates.average is not None and updates.average.module is copy
    give_gradients(network)
    updates.apply(0)
    assert updates.average.updates == 1
    assert differences(copied(copy), copied(build()))
    assert updates_of(build()).average is None


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_scaled_gradients_give_the_same_step(kind, clip):
    plain, scaled = build(), build()
    changes = {"optimizer__kind": kind, "optimizer__clip": clip}
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    one, other = updates_of(plain, **changes), updates_of(scaled, scaler, **changes)
    for step in range(3):
        give_gradients(plain, seed=step)
        one.apply(step)
        # As `backward` from a scaled loss leaves them.
        scaler.scale(torch.ones(()))
        give_gradients(scaled, scale=2.0**14, seed=step)
        other.apply(step)
    assert differences(copied(plain), copied(scaled)) == []


@pytest.mark.parametrize("clip", [None, 0.1])
def test_after_an_overflow_no_optimizer_does_a_step(clip):
    network = build()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    updates = updates_of(network, scaler, optimizer__kind="muon", optimizer__clip=clip)
    assert len(updates.optimizers) == 2
    before = copied(network)
    scaler.scale(torch.ones(()))
    give_gradients(network, scale=2.0**14)
    # In a bias, which is AdamW's; Muon's matrices are as they should be.
    network[0].bias.grad[3] = torch.inf
    updates.apply(0)
    assert differences(before, copied(network)) == []
    assert scaler.get_scale() == 2.0**13
    give_gradients(network, scale=2.0**13)
    updates.apply(1)
    assert len(differences(before, copied(network))) == len(before)
