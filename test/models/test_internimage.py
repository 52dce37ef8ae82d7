"""The backbone against the official one."""

import json
import math

import numpy as np
import pytest
import torch

from internimage_perception.errors import ConfigError
from internimage_perception.models import create_model, load_config

NANO = {"channels": 16, "depths": [1, 1, 2, 1], "groups": [1, 2, 4, 8]}


@pytest.mark.parametrize("variant", ["T", "Tseg", "LXL", "H"])
@pytest.mark.parametrize("suffix", ["", "_odd"])
def test_feature_maps_agree_with_the_official_backbone(golden, recipe, build, variant, suffix):
    stored = np.load(golden / f"internimage_tiny_seg_{variant}.npz")
    model = build(recipe.config(stored))
    with torch.no_grad():
        features = model(torch.from_numpy(recipe.array(stored, f"input{suffix}")))
    for index, feature in enumerate(features):
        np.testing.assert_allclose(feature, stored[f"feat{index}{suffix}"], atol=5e-5, rtol=1e-4)


def test_full_size_tiny_agrees_with_the_official_backbone(golden, recipe, build):
    stored = np.load(golden / "internimage_t_full_seg_recipe.npz")
    model = build(recipe.config(stored))
    with torch.no_grad():
        features = model(torch.from_numpy(recipe.array(stored, "input")))
    for index, feature in enumerate(features):
        np.testing.assert_allclose(feature, stored[f"feat{index}"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("with_cp", [False, True])
def test_gradients_agree_with_the_official_backbone(golden, recipe, build, with_cp):
    stored = np.load(golden / "internimage_tiny_seg_Tseg_grads.npz")
    features_of = np.load(golden / "internimage_tiny_seg_Tseg.npz")
    configuration = recipe.config(features_of) | {"drop_path_rate": 0.0, "with_cp": with_cp}
    model = build(configuration).train()
    features = model(torch.from_numpy(recipe.array(features_of, "input")))
    weights = [torch.from_numpy(recipe.normal(tuple(f.shape), 70 + i)) for i, f in enumerate(features)]
    loss = sum((feature * weight).sum() for feature, weight in zip(features, weights, strict=True))
    loss.backward()
    assert loss.item() == pytest.approx(float(stored["loss"]), abs=2e-3)
    names, parameters = zip(*model.named_parameters(), strict=True)
    assert list(names) == [str(name) for name in stored["param_names"]]
    norms = np.array([parameter.grad.norm().item() for parameter in parameters])
    np.testing.assert_allclose(norms, stored["param_grad_l2"], rtol=1e-4)


def test_keys_and_shapes_are_the_official_ones_in_order(golden):
    expected = json.loads((golden / "internimage_t_seg_det_keys.json").read_text())["keys"]
    with torch.device("meta"):
        model = create_model("internimage_t")
    assert [(key, list(value.shape)) for key, value in model.state_dict().items()] == list(expected.items())
    assert sum(parameter.numel() for parameter in model.parameters()) == 28_754_672


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("s", 48_502_560), ("b", 94_909_920), ("l", 218_952_370), ("xl", 328_971_228), ("h", 1_073_122_480),
     ("g", 3_052_781_184)],
)  # fmt: skip
def test_parameter_counts_of_the_other_variants(name, parameters):
    with torch.device("meta"):
        model = create_model(f"internimage_{name}")
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("size", [(64, 96), (61, 93), (33, 32), (129, 40)])
def test_maps_have_a_quarter_to_a_thirty_second_of_any_size(size):
    model = create_model(NANO | {"channels": 8}).eval()
    with torch.no_grad():
        features = model(torch.randn(2, 3, *size))
    for stride, width, feature in zip((4, 8, 16, 32), (8, 16, 32, 64), features, strict=True):
        assert feature.shape == (2, width, math.ceil(size[0] / stride), math.ceil(size[1] / stride))


def test_only_the_wanted_stages_are_returned():
    torch.manual_seed(0)
    model = create_model(NANO | {"out_indices": [1, 3]}).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        some = model(x)
        model.config = load_config(NANO)
        every = model(x)
    assert model.widths == (32, 128)
    assert torch.equal(some[0], every[1]) and torch.equal(some[1], every[3])


def test_drop_path_rises_over_the_blocks_and_acts_only_in_training():
    model = create_model(NANO | {"drop_path_rate": 0.8})
    rates = [block.drop_path.rate for stage in model.levels for block in stage.blocks]
    np.testing.assert_allclose(rates, [0, 0.2, 0.4, 0.6, 0.8])
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        torch.manual_seed(1)
        first = model(x)[3]
        torch.manual_seed(2)
        assert not torch.equal(model(x)[3], first)
        model.eval()
        assert torch.equal(model(x)[3], model(x)[3])


def test_drop_path_keeps_the_mean():
    block = create_model(NANO | {"drop_path_rate": 0.5}).levels[3].blocks[0]
    torch.manual_seed(0)
    kept = block.drop_path(torch.ones(4000, 1))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chanels": 16}, ("chanels", "channels")),
        ({"depths": [1, 1, 1]}, ("depths", "(1, 1, 1)")),
        ({"groups": [1, 2, 5, 8]}, ("groups[2] = 5", "64")),
        ({"channels": "16"}, ("channels", "'16'")),
        ({"channels": True}, ("channels", "True")),
        ({"post_norm": 1}, ("post_norm", "bool")),
        ({"drop_path_rate": 1.0}, ("drop_path_rate",)),
        ({"mlp_ratio": float("nan")}, ("mlp_ratio",)),
        ({"out_indices": [0, 4]}, ("out_indices",)),
        ({"level2_post_norm": True, "level2_post_norm_block_ids": [2]}, ("level2_post_norm_block_ids",)),
        ({"norm_layer": "BN"}, ("norm_layer", "'BN'", "'LN'")),
        ({"use_clip_projector": True}, ("num_classes",)),
        ({"head_channels": 8}, ("num_classes",)),
        ({"aux_channels": None}, ("head_channels, num_classes",)),
        ({"head_channels": 8, "num_classes": 3, "kind": "x"}, ("'x'", "upernet", "segformer")),
        ({"head_channels": 8, "num_classes": 0}, ("num_classes", "0")),
        ({"head_channels": 8, "num_classes": 3, "out_indices": [3]}, ("out_indices",)),
    ],
    ids=str,
)
def test_wrong_configurations_are_refused_by_name(change, words):
    with pytest.raises(ConfigError) as caught:
        create_model(NANO | change)
    for word in words:
        assert word in str(caught.value)


def test_missing_fields_are_named():
    with pytest.raises(ConfigError, match="channels, groups"):
        create_model({"depths": [1, 1, 1, 1]})
