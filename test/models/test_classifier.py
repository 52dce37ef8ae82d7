"""Classification heads against the official ones."""

import json

import numpy as np
import pytest
import torch

from internimage_perception.errors import ConfigError
from internimage_perception.models import Classifier, create_model, load_weights

TINY = {"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "num_classes": 5}
ATTENTION = TINY | {"use_clip_projector": True, "clip_dims": [16, 2, 4, 12]}
VARIANTS = ["T", "LXL", "remove_center", "H_smallclip", "G_clip1024"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_answers_agree_with_the_official_networks(golden, recipe, build, variant):
    stored = np.load(golden / f"internimage_tiny_cls_{variant}.npz")
    model = build(recipe.config(stored))
    with torch.no_grad():
        for suffix in ("", "_odd"):
            logits = model(torch.from_numpy(recipe.array(stored, f"input{suffix}")))
            np.testing.assert_allclose(logits, stored[f"logits{suffix}"], atol=2e-5, rtol=1e-5)
        vectors = model.pre_logits(torch.from_numpy(recipe.array(stored, "input")))
    np.testing.assert_allclose(vectors, stored["pre_logits"], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("configuration", [TINY, ATTENTION], ids=["convolution", "attention"])
def test_training_reaches_every_weight(configuration):
    model = create_model(configuration)
    assert isinstance(model, Classifier)
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_an_odd_map_is_refused_by_the_attention_head_only():
    x = torch.randn(1, 3, 80, 64)
    with pytest.raises(ConfigError, match=r"\(80, 64\) pixels give a map of \(5, 4\)"):
        create_model(ATTENTION)(x)
    assert create_model(TINY)(x).shape == (1, 5)


def test_a_classifier_takes_the_weights_of_a_whole_checkpoint_and_a_backbone_its_part():
    torch.manual_seed(0)
    trained = create_model(ATTENTION)
    fresh = create_model(ATTENTION)
    assert str(load_weights(fresh, trained.state_dict())) == "all keys match"
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), trained.eval()(x))
    backbone = create_model({key: value for key, value in TINY.items() if key != "num_classes"})
    report = load_weights(backbone, trained.state_dict())
    assert {key.split(".")[0] for key in report.ignored} == {
        "dcnv3_head_x4", "dcnv3_head_x3", "clip_projector", "fc_norm", "head",
    }  # fmt: skip
    with torch.no_grad():
        assert torch.equal(backbone(x)[3].permute(0, 2, 3, 1), trained.stage_maps(x)[3])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_classes": 0}, ("num_classes", "0")),
        ({"clip_dims": [16, 2, 4]}, ("clip_dims", "four")),
        ({"clip_dims": [16, 3, 4, 8]}, ("factor", "2")),
        ({"clip_dims": [16, 2, 5, 8]}, ("heads", "divide")),
        ({"head_channels": 8}, ("head_channels", "use_clip_projector", "classification")),
    ],
    ids=str,
)
def test_wrong_configurations_are_refused_by_name(change, words):
    with pytest.raises(ConfigError) as caught:
        create_model(ATTENTION | change)
    for word in words:
        assert word in str(caught.value)


def test_the_published_sizes_of_the_heads():
    with torch.device("meta"):
        small, large = create_model("internimage_t_22k"), create_model("internimage_h_1k")
    assert small.head.weight.shape == (21841, 768)
    shapes = {key: tuple(value.shape) for key, value in large.state_dict().items()}
    assert shapes["dcnv3_head_x4.0.weight"] == (4096, 2560, 1, 1)
    assert shapes["clip_projector.cross_dcn.proj.weight"] == (768, 1024)
    assert json.dumps(large.classifier.clip_dims) == "[1024, 2, 16, 768]"
