"""The whole golden set beside the project, where it is there: every file the networks can take."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from internimage_perception.models import create_model
from internimage_perception.ops import DCNv3, dcnv3

pytestmark = pytest.mark.shared

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "internimage"


def files(*patterns):
    """Return the matching files; one parameter that skips, with its reason, when the set is not there."""
    found = sorted(path for pattern in patterns for path in FOLDER.glob(pattern))
    return found or [pytest.param(FOLDER, marks=pytest.mark.skip("golden set not beside the project"))]


def named(path):
    return path.stem


@pytest.mark.parametrize("path", files("dcnv3_op_*.npz"), ids=named)
def test_operator(path):
    stored = np.load(path)
    pair = lambda key: (int(stored[f"{key}_h"]), int(stored[f"{key}_w"]))
    tensors = [torch.from_numpy(stored[name]).requires_grad_() for name in ("input", "offset", "mask")]
    arguments = {
        "kernel_size": pair("kernel"), "stride": pair("stride"), "padding": pair("pad"),
        "dilation": pair("dilation"), "group": int(stored["group"]),
        "offset_scale": float(stored["offset_scale"]), "remove_center": bool(stored["remove_center"]),
    }  # fmt: skip
    output = dcnv3(*tensors, **arguments)
    output.backward(torch.from_numpy(stored["grad_output"]))
    np.testing.assert_allclose(output.detach(), stored["output"], atol=2e-5, rtol=1e-5)
    for name, tensor in zip(("input", "offset", "mask"), tensors, strict=True):
        if name != "offset" or stored["check_grad_offset"]:
            np.testing.assert_allclose(tensor.grad, stored[f"grad_{name}"], atol=5e-5, rtol=1e-5)
    exact = dcnv3(*(tensor.detach().double() for tensor in tensors), **arguments)
    np.testing.assert_allclose(exact, stored["output_f64_direct"], atol=1e-13)


@pytest.mark.parametrize("path", files("dcnv3_module_*.npz"), ids=named)
def test_layer(path):
    stored = np.load(path)
    layer = DCNv3(**json.loads(bytes(stored["config_json"])))
    layer.load_state_dict({key: torch.from_numpy(stored[f"sd/{key}"]) for key in layer.state_dict()})
    x = torch.from_numpy(stored["input"]).requires_grad_()
    layer(x).backward(torch.from_numpy(stored["grad_output"]))
    np.testing.assert_allclose(layer(x).detach(), stored["output"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(x.grad, stored["grad_input"], atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "path", files("internimage_tiny_seg_*[!s].npz", "internimage_*_full_seg_*.npz"), ids=named
)
def test_backbone(path, recipe, build):
    stored = np.load(path)
    model = build(recipe.config(stored))
    for suffix in ("", "_odd"):
        if f"input{suffix}" not in stored:
            continue
        with torch.no_grad():
            features = model(torch.from_numpy(stored[f"input{suffix}"]))
        for index, feature in enumerate(features):
            np.testing.assert_allclose(feature, stored[f"feat{index}{suffix}"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "path", files("internimage_tiny_cls_*.npz", "internimage_*_full_cls_*.npz"), ids=named
)
def test_classifier(path, recipe, build):
    stored = np.load(path)
    model = build(recipe.config(stored))
    x = torch.from_numpy(stored["input"])
    with torch.no_grad():
        np.testing.assert_allclose(model(x), stored["logits"], atol=1e-4, rtol=1e-4)
        if "input_odd" in stored:
            logits = model(torch.from_numpy(stored["input_odd"]))
            np.testing.assert_allclose(logits, stored["logits_odd"], atol=1e-4, rtol=1e-4)
            np.testing.assert_allclose(model.pre_logits(x), stored["pre_logits"], atol=1e-4, rtol=1e-4)
            for index, feature in enumerate(model.stage_maps(x)):
                np.testing.assert_allclose(feature, stored[f"feat{index}_nhwc"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("path", files("internimage_tiny_seg_*_grads.npz"), ids=named)
def test_backbone_gradients(path, recipe, build):
    stored = np.load(path)
    inputs = np.load(path.with_name(path.name.replace("_grads", "")))
    model = build(recipe.config(inputs) | {"drop_path_rate": 0.0})
    x = torch.from_numpy(inputs["input"]).requires_grad_()
    features = model(x)
    weights = [torch.from_numpy(recipe.normal(tuple(f.shape), 70 + i)) for i, f in enumerate(features)]
    loss = sum((feature * weight).sum() for feature, weight in zip(features, weights, strict=True))
    loss.backward()
    scale = np.abs(stored["grad_input"]).max()
    np.testing.assert_allclose(x.grad / scale, stored["grad_input"] / scale, atol=1e-4)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert list(gradients) == [str(name) for name in stored["param_names"]]
    norms = [gradient.norm().item() for gradient in gradients.values()]
    np.testing.assert_allclose(norms, stored["param_grad_l2"], rtol=1e-4)
    for key in stored.files:
        if key.startswith("grad/"):
            scale = np.abs(stored[key]).max()
            np.testing.assert_allclose(gradients[key[5:]] / scale, stored[key] / scale, atol=1e-4)


@pytest.mark.parametrize("path", files("upernet_*_tiny.npz", "segformer_*_tiny.npz"), ids=named)
def test_segmentor(path, recipe, build):
    stored = np.load(path)
    model = build(recipe.config(stored))
    for suffix in ("", "_odd"):
        x = torch.from_numpy(stored[f"input{suffix}"])
        with torch.no_grad():
            np.testing.assert_allclose(
                model.low_logits(x), stored[f"logits_low{suffix}"], atol=1e-5, rtol=1e-4
            )
            assert np.array_equal(model(x).argmax(1), stored[f"argmax_full{suffix}"])


@pytest.mark.parametrize(
    "path", files("internimage_*_seg_det_keys.json", "internimage_*_cls_*_keys.json"), ids=named
)
def test_backbone_and_classifier_keys(path):
    stored = json.loads(path.read_text())
    with torch.device("meta"):
        model = create_model(stored["config"])
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == stored["keys"]
    assert list(model.state_dict()) == list(stored["keys"])


@pytest.mark.parametrize(
    "path",
    files(
        "upernet_*_keys.json", "seg_upernet_*_keys.json", "segformer_*_keys.json", "seg_segformer_*_keys.json"
    ),
    ids=named,
)  # fmt: skip
def test_segmentor_keys(path):
    stored = json.loads(path.read_text())
    name = re.search(r"(upernet|segformer)_internimage_[a-z]+", path.stem).group()
    with torch.device("meta"):
        model = create_model(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == stored["keys"]
    assert list(model.state_dict()) == list(stored["keys"])
    assert sum(parameter.numel() for parameter in model.parameters()) == stored["params"]
