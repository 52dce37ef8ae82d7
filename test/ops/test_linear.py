"""Linear layers without gradients: the same values as PyTorch's own, whatever they are given."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from internimage_perception.ops import linear
from internimage_perception.ops.linear import Linear

TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float64: 1e-12}


@pytest.fixture
def fused(monkeypatch):
    """Count the calls that take the fused product."""
    calls = []
    real = linear._fused

    def counting(*arguments):
        calls.append(arguments[2])
        return real(*arguments)

    monkeypatch.setattr(linear, "_fused", counting)
    return calls


def layers(dtype, *, bias=True):
    torch.manual_seed(0)
    own = Linear(48, 36, bias=bias).to(dtype)
    other = nn.Linear(48, 36, bias=bias).to(dtype)
    other.load_state_dict(own.state_dict())
    return own, other


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(48,), (7, 48), (2, 5, 3, 48), (0, 48), (2, 0, 48)])
def test_equals_pytorch(shape, dtype, bias):
    own, other = layers(dtype, bias=bias)
    x = torch.randn(shape).to(dtype)
    with torch.inference_mode():
        for found, expected in ((own(x), other(x)), (own.gelu(x), functional.gelu(other(x)))):
            assert found.dtype == dtype and found.shape == expected.shape
            torch.testing.assert_close(found, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_takes_views(fused):
    own, other = layers(torch.float32)
    base = torch.randn(2, 48, 6, 8)
    with torch.no_grad():
        for x in (base.permute(0, 2, 3, 1), base.permute(0, 2, 3, 1)[:, ::2, 1:], torch.randn(5, 96)[:, ::2]):
            torch.testing.assert_close(own(x), other(x), atol=2e-5, rtol=2e-5)
    assert fused == ["none"] * 3


def test_follows_changed_weights():
    own, other = layers(torch.float32)
    x = torch.randn(4, 48)
    with torch.no_grad():
        own(x)
        for layer in (own, other):
            layer.weight.mul_(3.0)
        torch.testing.assert_close(own(x), other(x), atol=2e-5, rtol=2e-5)


def test_passes_on_what_is_no_number():
    own, _ = layers(torch.float32)
    x = torch.randn(3, 48)
    x[1, 5] = float("nan")
    with torch.no_grad():
        found = own.gelu(x)
    assert found[1].isnan().all() and found[[0, 2]].isfinite().all()


def test_gradients_take_the_usual_way(fused):
    own, other = layers(torch.float32)
    x = torch.randn(4, 48)
    own.gelu(x).sum().backward()
    functional.gelu(other(x)).sum().backward()
    torch.testing.assert_close(own.weight.grad, other.weight.grad)
    assert not fused


def test_autocast_meta_and_export_take_the_usual_way(fused):
    own, other = layers(torch.float32)
    x = torch.randn(4, 48)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(own(x), other(x)) and own(x).dtype == torch.bfloat16
        assert Linear(48, 36, device="meta")(x.to("meta")).shape == (4, 36)
        exported = torch.export.export(own, (x,))
        assert not any("mkldnn" in str(node.target) for node in exported.graph.nodes)
        torch.testing.assert_close(exported.module()(x), other(x))
    assert not fused


def test_can_do_without_the_operator(fused, monkeypatch):
    own, other = layers(torch.float32)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False, raising=False)
    x = torch.randn(4, 48)
    with torch.no_grad():
        torch.testing.assert_close(own(x), other(x))
    assert not fused
