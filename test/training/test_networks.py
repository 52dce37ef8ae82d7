"""The network that a run trains, and what it begins from."""

import logging
import re

import pytest
import torch
from support.training_runs import ARCHITECTURE, differences, settings
from torch import nn

from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.models import create_model
from internimage_perception.models.checkpoints import save_checkpoint
from internimage_perception.training.networks import architecture_of, build_network, check_parts

BACKBONE = {key: ARCHITECTURE[key] for key in ("channels", "depths", "groups", "mlp_ratio", "drop_path_rate")}


def config(**changes):
    return settings({"kind": "folders", "images": "a"}, **changes)


def build(**changes):
    return build_network(config(**changes), 13)


def parts(network, prefix):
    return {key: value for key, value in network.state_dict().items() if key.startswith(prefix)}


def test_weights_follow_from_the_seed():
    assert differences(build(seed=1).state_dict(), build(seed=1).state_dict()) == []
    assert differences(build(seed=1).state_dict(), build(seed=2).state_dict())


def test_options_of_training():
    network = build(gradient_checkpointing=True, drop_out=0.25)
    assert all(stage.with_cp for stage in network.backbone.levels)
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout2d)]
    assert rates == [0.25] * len(rates) and len(rates) == 2
    assert not any(stage.with_cp for stage in build().backbone.levels)
    assert {module.p for module in build().modules() if isinstance(module, nn.Dropout2d)} == {0.1}


def test_every_parameter_learns():
    """A parameter without a gradient would keep several processes waiting."""
    for auxiliary in (0.4, 0.0):
        network = build(loss__auxiliary=auxiliary)
        assert (network.auxiliary_head is not None) == (auxiliary > 0)
        logits = network.head_logits(torch.rand(2, 3, 64, 64))
        sum(head.square().sum() for head in logits if head is not None).backward()
        assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_architectures_that_do_not_fit():
    with pytest.raises(ConfigError, match="internimage_t_1k is no segmentation network; take one such as"):
        build(model="internimage_t_1k")
    with pytest.raises(ConfigError, match=r"no segmentation network.*head_channels"):
        build(model=BACKBONE)
    with pytest.raises(ConfigError, match=r"the data has 19 classes, .* 13; write model: .*num_classes: 19"):
        build_network(config(), 19)
    with pytest.raises(ConfigError, match="there is no model 'upernet_internimage_q'"):
        architecture_of(config(model="upernet_internimage_q"))


@pytest.fixture
def classifier(tmp_path):
    """A checkpoint as those that ImageNet classifiers are published in."""
    torch.manual_seed(7)
    network = create_model({**BACKBONE, "num_classes": 10})
    path = tmp_path / "classifier.pth"
    torch.save({"model": network.state_dict()}, path)
    return path, network


def test_a_classifier_gives_the_backbone(classifier, caplog):
    path, network = classifier
    with caplog.at_level(logging.INFO):
        built = build(initial_weights=path)
    backbone = parts(built, "backbone.")
    given = {f"backbone.{key}": value for key, value in network.state_dict().items()}
    assert differences(backbone, {key: given[key] for key in backbone}) == []
    assert differences(parts(built, "decode_head."), parts(build(), "decode_head.")) == []
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"began from {path}: ") and "missing: decode_head." in said


def test_other_numbers_of_classes_keep_all_but_the_classifier(tmp_path, caplog):
    path = tmp_path / "nineteen.safetensors"
    given = create_model({**ARCHITECTURE, "num_classes": 19})
    save_checkpoint(path, given.state_dict())
    with caplog.at_level(logging.INFO):
        built = build(initial_weights=path)
    theirs = given.state_dict()
    taken = [key for key, value in built.state_dict().items() if torch.equal(value, theirs[key])]
    left = {key for key in theirs if key not in taken}
    assert left == {
        f"{head}.conv_seg.{kind}" for head in ("decode_head", "auxiliary_head") for kind in ("weight", "bias")
    }
    assert "4 of another shape: " in caplog.text
    assert "decode_head.conv_seg.weight: (19, 8, 1, 1), model has (13, 8, 1, 1)" in caplog.text


def test_a_bundle_gives_its_weights(tiny_bundle):
    architecture = {**ARCHITECTURE, "head_channels": 16, "mlp_ratio": 4.0}
    built = build(model=architecture, initial_weights=tiny_bundle)
    before = build(model=architecture)
    # A bundle has no auxiliary head.
    assert differences(parts(built, "auxiliary_head."), parts(before, "auxiliary_head.")) == []
    assert len(differences(parts(built, "backbone."), parts(before, "backbone."))) > 20


def test_weights_that_do_not_fit_at_all(tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, {"layer.weight": torch.zeros(2, 2)})
    with pytest.raises(BundleError, match=f"{re.escape(str(path))}: none of the weights fits the network"):
        build(initial_weights=path)
    with pytest.raises(BundleError, match=r"missing\.pth"):
        build(initial_weights=tmp_path / "missing.pth")
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        build(initial_weights=tmp_path)


def test_parts_of_one_picture():
    network = build()
    check_parts(config(batch=4, accumulate=2), network, 2)
    check_parts(config(batch=4, accumulate=4), build(model__kind="segformer"), 2)
    check_parts(config(batch=4), network, 4)
    for changes, processes, name in (
        ({"batch": 1}, 1, "batch 1 in 1 parts"),
        ({"batch": 4, "accumulate": 4}, 1, "batch 4 in 4 parts"),
        ({"batch": 4, "accumulate": 2, "sync_batch_norm": False}, 2, "batch 4 in 4 parts"),
        (
            {"average": 0.9, "self_training": {"sources": [{"dataset": "a"}], "batch": 1}},
            1,
            "self_training.batch 1 in 1 parts",
        ),
    ):
        with pytest.raises(ConfigError, match=f"{name} leaves a single picture to the batch norms"):
            check_parts(config(**changes), network, processes)
    # Which is what they themselves say.
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network.head_logits(torch.rand(1, 3, 64, 64))
