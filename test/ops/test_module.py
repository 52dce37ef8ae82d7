"""The DCNv3 layer against the official one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from internimage_perception.ops import DCNv3, OperatorError

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("dcnv3_module_*.npz"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem.removeprefix("dcnv3_module_"))
def test_agrees_with_the_official_layer_and_its_gradients(path):
    stored = np.load(path)
    layer = DCNv3(**json.loads(bytes(stored["config_json"])))
    state = {key.removeprefix("sd/"): stored[key] for key in stored.files if key.startswith("sd/")}
    assert list(layer.state_dict()) == list(state)
    layer.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    x = torch.from_numpy(stored["input"]).requires_grad_()
    y = layer(x)
    y.backward(torch.from_numpy(stored["grad_output"]))
    np.testing.assert_allclose(y.detach(), stored["output"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(x.grad, stored["grad_input"], atol=5e-5, rtol=1e-5)
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.grad, stored[f"grad/{name}"], atol=1e-4, rtol=1e-4)


def test_all_golden_files_are_there():
    assert len(GOLDEN) >= 5


def test_starts_as_an_average_over_the_grid():
    layer = DCNv3(8, group=2)
    with torch.no_grad():
        for projection in (layer.input_proj, layer.output_proj):
            projection.weight.copy_(torch.eye(8))
        x = torch.randn(1, 6, 7, 8)
        expected = torch.nn.functional.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 10, "group": 4}, ("channels 10", "group 4")),
        ({"stride": 2}, ("stride 2",)),
        ({"pad": 2}, ("pad 2", "kernel_size 3")),
        ({"kernel_size": 4}, ("kernel_size 4",)),
        ({"act_layer": "Mish"}, ("Mish", "GELU")),
        ({"norm_layer": "BN"}, ("BN", "LN")),
    ],
    ids=str,
)
def test_arguments_that_cannot_work_are_named(arguments, words):
    with pytest.raises(OperatorError) as caught:
        DCNv3(**arguments)
    for word in words:
        assert word in str(caught.value)


def test_runs_under_autocast():
    layer = DCNv3(16, group=2)
    x = torch.randn(1, 8, 9, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), atol=0.05, rtol=0.05)
