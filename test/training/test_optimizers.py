"""Optimisers: their steps by formula, who trains what, and exact resumption."""

import copy
import io

import pytest
import torch
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

from internimage_perception.models import create_model
from internimage_perception.training.config import OptimizerConfig
from internimage_perception.training.muon import Muon, orthogonal
from internimage_perception.training.optimizers import create_optimizers, set_learning_rate


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(0)
    return create_model("upernet_internimage_nano")


def learn(model, optimizers, seed):
    """Do one step with gradients that follow from the seed."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    for optimizer in optimizers:
        optimizer.step()


def names_of(optimizer):
    return [name for group in optimizer.param_groups for name in group["param_names"]]


def test_first_step_of_adamw(nano):
    model = copy.deepcopy(nano)
    config = OptimizerConfig(learning_rate=1e-2, weight_decay=0.1, layer_decay=0.8, betas=(0.8, 0.95))
    optimizers = create_optimizers(model, config)
    assert [type(optimizer).__name__ for optimizer in optimizers] == ["AdamW"]
    learn(model, optimizers, 1)
    last = sum(model.config.backbone.depths) + 1
    before, after = dict(nano.named_parameters()), dict(model.named_parameters())
    checked = {
        "decode_head.conv_seg.weight": (0, 0.1),
        "backbone.patch_embed.conv1.weight": (last, 0.1),
        "backbone.patch_embed.conv1.bias": (last, 0.0),
        "backbone.levels.3.norm.0.weight": (model.config.backbone.depths[3], 0.0),
    }
    for name, (layers, decay) in checked.items():
        rate, gradient = 1e-2 * 0.8**layers, after[name].grad
        # Both moments, freed of their start at zero, are the gradient and its square.
        expected = before[name] * (1 - rate * decay) - rate * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(after[name], expected)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_each_parameter_is_trained_once_at_its_layers_rate(nano, kind):
    config = OptimizerConfig(kind=kind, learning_rate=2.0, layer_decay=0.5)
    optimizers = create_optimizers(nano, config)
    names = [name for optimizer in optimizers for name in names_of(optimizer)]
    assert sorted(names) == sorted(name for name, _ in nano.named_parameters())
    parameters = dict(nano.named_parameters())
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        assert group["lr"] == group["initial_lr"] == 2.0 * group["lr_scale"]
        assert group["weight_decay"] == (
            0.05 if group["name"].endswith("_decay") and "no" not in group["name"] else 0
        )
        assert all(parameters[n] is p for n, p in zip(group["param_names"], group["params"], strict=True))
    scales = {name: g["lr_scale"] for o in optimizers for g in o.param_groups for name in g["param_names"]}
    assert scales["decode_head.fpn_bottleneck.conv.weight"] == 1.0
    assert scales["backbone.levels.0.blocks.0.mlp.fc1.weight"] == 0.5 ** sum(nano.config.backbone.depths)
    block = "backbone.levels.0.blocks.0"
    assert scales[f"{block}.norm1.0.weight"] == scales[f"{block}.dcn.dw_conv.0.weight"]


def test_muon_trains_what_mixes_channels(nano):
    muon, adam = create_optimizers(nano, OptimizerConfig(kind="muon"))
    assert isinstance(muon, Muon)
    matrices, others = set(names_of(muon)), set(names_of(adam))
    block = "backbone.levels.2.blocks.0"
    assert matrices >= {
        "backbone.patch_embed.conv1.weight", "backbone.levels.0.downsample.conv.weight",
        f"{block}.dcn.input_proj.weight", f"{block}.dcn.offset.weight", f"{block}.mlp.fc2.weight",
        "decode_head.fpn_bottleneck.conv.weight",
    }  # fmt: skip
    assert others >= {
        f"{block}.dcn.dw_conv.0.weight", f"{block}.dcn.input_proj.bias", f"{block}.norm1.0.weight",
        "decode_head.conv_seg.weight", "decode_head.conv_seg.bias", "decode_head.bottleneck.bn.weight",
    }  # fmt: skip
    assert all(group["weight_decay"] == 0.05 for group in muon.param_groups)


def test_tables_and_classifiers_stay_with_adam():
    model = nn.Module()
    model.names = nn.Embedding(5, 4)
    model.level_embeds = nn.Parameter(torch.zeros(4, 8))
    model.cls_embed = nn.Linear(4, 3)
    model.mask_embed = nn.Linear(4, 4)
    muon, adam = create_optimizers(model, OptimizerConfig(kind="muon"))
    assert names_of(muon) == ["mask_embed.weight"]
    assert set(names_of(adam)) == {
        "names.weight", "level_embeds", "cls_embed.weight", "cls_embed.bias", "mask_embed.bias",
    }  # fmt: skip


def test_no_empty_optimizers():
    config = OptimizerConfig(kind="muon")
    assert [type(o).__name__ for o in create_optimizers(nn.LayerNorm(4), config)] == ["AdamW"]
    assert [type(o).__name__ for o in create_optimizers(nn.Linear(4, 4, bias=False), config)] == ["Muon"]


@pytest.mark.parametrize("shape", [(6, 6), (4, 30), (30, 4)])
def test_orthogonal(shape):
    torch.manual_seed(0)
    # The iteration needs singular values that are not many times smaller than the largest.
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = left * torch.linspace(0.2, 1.0, min(shape)) @ right
    found = orthogonal(matrix)
    assert found.shape == matrix.shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    # Same singular vectors: seen through them, it is diagonal.
    inside = left.T @ found @ right.T
    assert (inside - inside.diagonal().diag()).abs().max() < 0.05


def test_first_steps_of_muon():
    torch.manual_seed(0)
    model = nn.Conv2d(8, 6, 3, bias=False)
    before = model.weight.detach().clone()
    (muon,) = create_optimizers(model, OptimizerConfig(kind="muon", learning_rate=0.1, weight_decay=0.5))
    model.weight.grad = torch.randn_like(model.weight)
    muon.step()
    # Momentum 0.05 g, looked ahead: a multiple of g, whose size does not matter. 72 inputs, 6 outputs.
    first = orthogonal(model.weight.grad.flatten(1)).view_as(before)
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 72**0.5 * first
    torch.testing.assert_close(model.weight.detach(), expected, atol=2e-3, rtol=0)
    assert (model.weight.detach() - before).square().mean().sqrt().item() == pytest.approx(0.1 * 0.2, rel=0.3)

    before, old = model.weight.detach().clone(), model.weight.grad
    model.weight.grad = torch.randn_like(old)
    muon.step()
    momentum = 0.95 * 0.05 * old + 0.05 * model.weight.grad
    ahead = 0.05 * model.weight.grad + 0.95 * momentum
    expected = before * 0.95 - 0.1 * 0.2 * 72**0.5 * orthogonal(ahead.flatten(1)).view_as(before)
    torch.testing.assert_close(model.weight.detach(), expected, atol=2e-3, rtol=0)


def test_learning_rates_follow_one_factor(nano):
    optimizers = create_optimizers(nano, OptimizerConfig(kind="muon", learning_rate=0.2, layer_decay=0.9))
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for factor in (0.5, 0.25, 1.0, 0.0):
        set_learning_rate(optimizers, factor)
        assert [g["lr"] for g in groups] == [pytest.approx(0.2 * g["lr_scale"] * factor) for g in groups]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_resumes_exactly(kind):
    torch.manual_seed(0)
    small = {"channels": 16, "groups": [1, 2, 4, 8], "depths": [1, 1, 1, 1], "head_channels": 8}
    fresh = create_model({"base": "upernet_internimage_nano", **small})
    config = OptimizerConfig(kind=kind, learning_rate=1e-2, layer_decay=0.9)
    whole = copy.deepcopy(fresh)
    optimizers = create_optimizers(whole, config)
    for step in range(3):
        set_learning_rate(optimizers, 1 / (step + 1))
        learn(whole, optimizers, step)
    file = io.BytesIO()
    torch.save([whole.state_dict(), *(optimizer.state_dict() for optimizer in optimizers)], file)
    file.seek(0)
    weights, *states = torch.load(file, weights_only=True)
    resumed = copy.deepcopy(fresh)
    resumed.load_state_dict(weights)
    others = create_optimizers(resumed, config)
    for optimizer, state in zip(others, states, strict=True):
        optimizer.load_state_dict(state)
    for step in range(3, 5):
        for model, each in ((whole, optimizers), (resumed, others)):
            set_learning_rate(each, 1 / (step + 1))
            learn(model, each, step)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert not torch.equal(whole.decode_head.conv_seg.weight, fresh.decode_head.conv_seg.weight)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_gradients_may_be_clipped_under_loss_scaling(kind):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    inputs = torch.randn(7, 6)
    scaled = copy.deepcopy(plain)
    config = OptimizerConfig(kind=kind, learning_rate=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    for model in (plain, scaled):
        optimizers = create_optimizers(model, config)
        # Small against Adam's epsilon, so that a gradient scaled or clipped wrongly shows.
        loss = 1e-6 * model(inputs).square().sum()
        (loss if model is plain else scaler.scale(loss)).backward()
        for optimizer in optimizers:
            if model is scaled:
                precision.unscale_gradients(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1e-8)
        for optimizer in optimizers:
            if model is plain:
                optimizer.step()
            else:
                scaler.step(optimizer)
    for ours, theirs in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4 if kind == "muon" else 1e-7, rtol=0)


def test_loss_scaling_skips_steps_that_overflow():
    model = nn.Linear(3, 3)
    before = copy.deepcopy(model.state_dict())
    (optimizer,) = create_optimizers(model, OptimizerConfig())
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.full((1, 3), float("inf"))).sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
