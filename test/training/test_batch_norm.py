"""Batch norms over two processes against one batch norm over the joined batch."""

import pytest
import torch
from support.processes import in_processes
from support.shared_batches import NORMS, SHARES, new_norm, normalise, norms_task
from torch import nn

from internimage_perception.training import batch_norm
from internimage_perception.training.batch_norm import SynchronisedBatchNorm2d, synchronise_batch_norm


def test_two_processes_normalise_as_one(tmp_path):
    found = in_processes(norms_task, tmp_path)
    for number, options in enumerate(NORMS):
        expected = normalise(new_norm(**options), slice(None))
        results = [result["exact"][number] for result in found]
        for share, result in zip(SHARES, results, strict=True):
            close(result["outputs"], [output[share] for output in expected["outputs"]])
            close(result["towards"], expected["towards"][share])
            close(result["state"], expected["state"])
            close(result["last"], expected["last"][share])
        first, second = (result["gradients"] for result in results)
        close({key: first[key] + second[key] for key in first}, expected["gradients"])
    expected = normalise(new_norm(), slice(None))
    for share, result in zip(SHARES, (result["bfloat16"] for result in found), strict=True):
        assert all(output.dtype == torch.bfloat16 for output in result["outputs"])
        assert result["towards"].dtype == torch.bfloat16
        # The channel far from 0 has but a few values in this format.
        near = [output[:, :2].double() for output in result["outputs"]]
        close(near, [output[share][:, :2] for output in expected["outputs"]], rtol=0.02, atol=0.02)
        towards = result["towards"][:, :2].double()
        close(towards, expected["towards"][share][:, :2], rtol=0.02, atol=0.02)
        assert result["state"]["0.running_mean"].dtype == torch.float32


def close(found, expected, rtol=1e-8, atol=1e-8):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def test_alone_nothing_changes():
    model = new_norm()
    assert synchronise_batch_norm(model) is model
    assert type(model[0]) is nn.BatchNorm2d


def test_parameters_buffers_and_keys_stay(monkeypatch):
    monkeypatch.setattr(batch_norm, "process_count", lambda: 2)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.BatchNorm2d(3, eps=1e-3, momentum=0.3)))
    model[1].eval()
    before = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    keys = list(model.state_dict())
    assert synchronise_batch_norm(model) is model
    norm = model[1][0]
    assert isinstance(norm, SynchronisedBatchNorm2d)
    assert (norm.eps, norm.momentum, norm.training) == (1e-3, 0.3, False)
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert list(model.state_dict()) == keys
    assert all(after[key] is value for key, value in before.items())
    assert synchronise_batch_norm(model)[1][0] is norm


@pytest.mark.parametrize("training", [True, False])
def test_without_others_it_is_an_ordinary_one(training):
    norm = new_norm()[0].train(training)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(SynchronisedBatchNorm2d.like(norm)(x), norm(x))
