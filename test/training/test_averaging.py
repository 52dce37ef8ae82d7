"""The moving average of a network: by hand, resumed, and of networks split over processes."""

import copy
import io

import pytest
import torch
from support.split_networks import split_and_compare
from torch import multiprocessing, nn

from internimage_perception.models import create_model
from internimage_perception.training.averaging import WeightAverage


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("table", torch.tensor([-torch.inf, 0.0]), persistent=False)

    def forward(self, x):
        return self.norm(self.linear(x))


def fill(model, value):
    """Set all parameters and buffers, the integer ones to the integer below."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(value)


def test_early_updates_keep_little():
    model = Small()
    fill(model, 0.0)
    average = WeightAverage(model, 0.2)
    expected = 0.0
    # (1 + n) / (10 + n) is 1/10, 2/11, and from then on more than 0.2.
    for value, keep in ((1.0, 1 / 10), (5.0, 2 / 11), (-3.0, 0.2), (7.0, 0.2)):
        fill(model, value)
        average.update()
        expected = keep * expected + (1 - keep) * value
        for name in ("linear.weight", "linear.bias", "norm.weight", "norm.running_mean", "norm.running_var"):
            found = average.module.state_dict()[name]
            torch.testing.assert_close(found, torch.full_like(found, expected))
        assert average.module.count == average.module.norm.num_batches_tracked == int(value)
    assert average.updates == 4
    assert torch.equal(average.module.table, model.table)


def test_late_updates_keep_what_was_asked_for():
    model = Small()
    average = WeightAverage(model, 0.999)
    fill(model, 0.0)
    fill(average.module, 1.0)
    average.updates = 100_000
    average.update()
    assert average.module.linear.weight[0, 0].item() == pytest.approx(0.999, abs=1e-6)


def test_the_average_is_a_network_of_its_own():
    torch.manual_seed(0)
    model = create_model("upernet_internimage_nano").train()
    average = WeightAverage(model, 0.9)
    assert model.training
    assert not any(module.training for module in average.module.modules())
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    ours = {t.data_ptr() for t in model.state_dict().values()}
    assert ours.isdisjoint(t.data_ptr() for t in average.module.state_dict().values())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = average.module(image)
        torch.testing.assert_close(before, model.eval()(image))
        fill(model, 0.1)
        assert torch.equal(average.module(image), before)
        average.update()
        assert not torch.equal(average.module(image), before)


def test_shared_tensors_are_averaged_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    fill(model, 0.0)
    average = WeightAverage(model, 0.05)
    assert average.module[1].weight is average.module[0].weight
    fill(model, 1.0)
    average.update()
    assert average.module[0].weight[0, 0].item() == pytest.approx(0.95)


def test_weights_that_are_replaced_are_followed():
    model = Small()
    average = WeightAverage(model, 0.05)
    fill(average.module, 0.0)
    state = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    average.module.load_state_dict(copy.deepcopy(average.module.state_dict()), assign=True)
    average.update()
    assert average.module.linear.weight[0, 0].item() == pytest.approx(0.95)


def test_the_average_may_be_more_precise():
    model = nn.Linear(2, 2, dtype=torch.bfloat16)
    fill(model, 1.0)
    average = WeightAverage(model, 0.999, nn.Linear(2, 2))
    average.updates = 100_000
    # In steps that bfloat16 does not have.
    fill(model, 0.0)
    average.update()
    assert average.module.weight[0, 0].item() == pytest.approx(0.999)


def test_resumes_exactly():
    def train(model, average, steps):
        for step in steps:
            with torch.no_grad():
                for index, tensor in enumerate(model.state_dict().values()):
                    value = torch.randn(
                        tensor.shape, generator=torch.Generator().manual_seed(97 * step + index)
                    )
                    tensor.copy_(value)
            average.update()

    torch.manual_seed(0)
    whole = Small()
    average = WeightAverage(whole, 0.99)
    train(whole, average, range(4))
    file = io.BytesIO()
    torch.save([whole.state_dict(), average.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    resumed = Small()
    other = WeightAverage(resumed, 0.99)
    resumed.load_state_dict(weights)
    other.load_state_dict(state)
    for model, each in ((whole, average), (resumed, other)):
        train(model, each, range(4, 8))
    assert other.updates == 8
    for name, value in average.module.state_dict().items():
        assert torch.equal(value, other.module.state_dict()[name]), name


def test_networks_that_differ():
    with pytest.raises(ValueError, match="1 tensors, the trained one 2"):
        WeightAverage(nn.Linear(2, 2), 0.9, nn.Linear(2, 2, bias=False))
    with pytest.raises(ValueError, match=r"weight is laid out as \(2, 2\) .* \(2, 3\)"):
        WeightAverage(nn.Linear(2, 2), 0.9, nn.Linear(3, 2))


def test_networks_split_over_processes(tmp_path):
    multiprocessing.spawn(split_and_compare, ((tmp_path / "meeting").as_uri(),), nprocs=2)
