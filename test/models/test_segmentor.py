"""UPerNet and its offline inference against mmsegmentation's."""

import json

import numpy as np
import pytest
import torch

from internimage_perception.errors import ConfigError
from internimage_perception.models import create_model
from internimage_perception.models.layers import AveragePool


@pytest.fixture(scope="module")
def stored(golden):
    return np.load(golden / "upernet_B_tiny.npz")


@pytest.fixture(scope="module")
def model(recipe, build, stored):
    return build(recipe.config(stored))


@pytest.mark.parametrize("suffix", ["", "_odd"])
def test_logits_of_both_heads_agree(recipe, model, stored, suffix):
    x = torch.from_numpy(recipe.array(stored, f"input{suffix}"))
    with torch.no_grad():
        features = model.backbone(x)
        logits = model.decode_head(features)
        auxiliary = model.auxiliary_head(features)
        full = model(x)
    np.testing.assert_allclose(logits, stored[f"logits_low{suffix}"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(auxiliary, stored[f"aux_logits_low{suffix}"], atol=1e-5, rtol=1e-5)
    assert np.array_equal(full.argmax(1), stored[f"argmax_full{suffix}"])
    if suffix:
        np.testing.assert_allclose(full[..., ::4, ::4], stored["logits_full_odd_sub"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("suffix", ["", "_odd"])
def test_logits_of_the_segformer_head_agree(golden, recipe, build, suffix):
    stored = np.load(golden / "segformer_B_tiny.npz")
    model = build(recipe.config(stored))
    with torch.no_grad():
        x = torch.from_numpy(recipe.array(stored, f"input{suffix}"))
        np.testing.assert_allclose(model.low_logits(x), stored[f"logits_low{suffix}"], atol=1e-5, rtol=1e-5)
        assert np.array_equal(model(x).argmax(1), stored[f"argmax_full{suffix}"])


def test_whole_and_sliding_inference_agree(golden, recipe, model):
    stored = np.load(golden / "upernet_B_tiny_inference.npz")
    x = torch.from_numpy(recipe.array(stored, "input"))
    sizes = {name: tuple(int(n) for n in stored[name]) for name in ("crop_size", "stride")}
    original = tuple(int(n) for n in stored["ori_shape"])
    with torch.no_grad():
        logits = model.slide_logits(x, **sizes)
        answers = {
            "slide": model.slide(x, **sizes, original_size=original),
            "whole": model.whole(x, original_size=original),
        }
    np.testing.assert_allclose(logits[..., ::4, ::4], stored["slide_logits_sub"], atol=1e-5, rtol=1e-5)
    for name, answer in answers.items():
        assert np.array_equal(answer.argmax(1), stored[f"{name}_prob_rescaled_argmax"])
        np.testing.assert_allclose(
            answer[..., ::4, ::4], stored[f"{name}_prob_rescaled_sub"], atol=1e-6, rtol=1e-4
        )


def test_padding_is_cut_before_the_last_resize(model):
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits = model(x)[..., :50, :40]
        expected = torch.nn.functional.interpolate(
            logits, (100, 80), mode="bilinear", align_corners=False
        ).softmax(1)
        answer = model.whole(x, valid_size=(50, 40), original_size=(100, 80))
    torch.testing.assert_close(answer, expected)
    torch.testing.assert_close(answer.sum(1), torch.ones(1, 100, 80))


def test_one_window_over_everything_is_whole_inference(model):
    x = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.slide(x, crop_size=(64, 64), stride=(64, 64)), model.whole(x))


def test_windows_that_leave_gaps_are_refused(model):
    with pytest.raises(ConfigError, match="stride"):
        model.slide(torch.zeros(1, 3, 64, 64), crop_size=(32, 32), stride=(33, 32))


def test_keys_and_shapes_are_the_official_ones_in_order(golden):
    expected = json.loads((golden / "upernet_internimage_t_keys.json").read_text())["keys"]
    with torch.device("meta"):
        model = create_model("upernet_internimage_t")
    assert [(key, list(value.shape)) for key, value in model.state_dict().items()] == list(expected.items())


def test_training_returns_both_heads_and_reaches_every_weight(recipe, stored):
    model = create_model(recipe.config(stored) | {"drop_path_rate": 0.0})
    logits, auxiliary = model.forward_train(torch.randn(2, 3, 64, 64))
    assert logits.shape == auxiliary.shape == (2, 19, 64, 64)
    (logits.square().mean() + auxiliary.square().mean()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_few_steps_of_training_reduce_the_loss():
    torch.manual_seed(0)
    model = create_model({"base": "upernet_internimage_nano", "num_classes": 2, "aux_channels": 8})
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    images = torch.randn(4, 3, 64, 64)
    labels = (images.mean(1) > 0).long()[:, ::16, ::16].repeat_interleave(16, 1).repeat_interleave(16, 2)
    losses = []
    for _ in range(8):
        logits, auxiliary = model.forward_train(images)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss = loss + 0.4 * torch.nn.functional.cross_entropy(auxiliary, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_compiles_without_breaks_and_with_the_same_gradients():
    torch.manual_seed(0)
    model = create_model({"base": "upernet_internimage_nano", "num_classes": 2}).eval()
    for name, parameter in model.named_parameters():
        if ".offset." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    images = torch.randn(1, 3, 64, 64)
    model(images).square().sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    torch.compile(model, fullgraph=True, backend="aot_eager")(images).square().sum().backward()
    for name, parameter in model.named_parameters():
        scale = expected[name].abs().max()
        torch.testing.assert_close(parameter.grad / scale, expected[name] / scale, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (3, 4), (1, 1), (7, 19)])
@pytest.mark.parametrize("regions", [1, 2, 3, 6])
def test_pooling_is_adaptive_average_pooling(size, regions):
    x = torch.randn(2, 5, *size)
    expected = torch.nn.functional.adaptive_avg_pool2d(x, regions)
    torch.testing.assert_close(AveragePool(regions)(x), expected)
