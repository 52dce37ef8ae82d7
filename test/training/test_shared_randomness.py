"""Dropout and drop path of parts against those of the whole batch; training in two processes against one."""

import pytest
import torch
from support.processes import in_processes
from support.shared_batches import batch, network, train, training_task
from torch import nn

from internimage_perception.models.layers import ChannelDropout, DropPath, batch_part


@pytest.fixture(autouse=True)
def _one_thread():
    """Keep small sums from waiting for each other's threads on a busy computer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(layer, x, part=0, parts=1):
    torch.manual_seed(11)
    with batch_part(part, parts):
        return layer(x), torch.rand(1)


@pytest.mark.parametrize("layer", [DropPath(0.4), ChannelDropout(0.4)])
@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_drop_what_the_whole_drops(layer, parts):
    x = torch.rand(6, 5, 3, 2) + 1
    whole, after = drawn(layer, x)
    assert 0 < (whole == 0).sum() < whole.numel()
    for part, piece in enumerate(x.chunk(parts)):
        found, then = drawn(layer, piece, part, parts)
        assert torch.equal(found, whole.chunk(parts)[part])
        assert torch.equal(then, after)


def test_channel_dropout_is_dropout2d():
    x = torch.rand(4, 5, 3, 2)
    assert issubclass(ChannelDropout, nn.Dropout2d)
    assert torch.equal(drawn(ChannelDropout(0.3), x)[0], drawn(nn.Dropout2d(0.3), x)[0])
    assert torch.equal(drawn(ChannelDropout(1.0), x)[0], torch.zeros_like(x))


@pytest.mark.parametrize("kind", [DropPath, ChannelDropout])
def test_nothing_is_drawn_without_need(kind):
    x = torch.rand(2, 3, 4, 4)
    for layer in (kind(0.0), kind(0.5).eval()):
        before = torch.get_rng_state()
        assert layer(x) is x
        assert torch.equal(torch.get_rng_state(), before)


def test_parts_end_with_their_block():
    layer, x = DropPath(0.5), torch.ones(3, 1)
    whole = drawn(layer, x)[0]
    with pytest.raises(RuntimeError, match="stop"), batch_part(1, 4), batch_part(2, 3):
        raise RuntimeError("stop")
    torch.manual_seed(11)
    assert torch.equal(layer(x), whole)


@pytest.mark.parametrize(("part", "parts"), [(2, 2), (-1, 2), (0, 0)])
def test_parts_that_are_none_are_refused(part, parts):
    with pytest.raises(ValueError, match=f"no part {part} in a batch of {parts}"), batch_part(part, parts):
        pass


def gradients_of_second_half(model):
    images = batch()[0][2:]
    torch.manual_seed(5)
    with batch_part(1, 2):
        main, auxiliary = model.head_logits(images)
        (main.square().sum() + auxiliary.square().sum()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_activations_computed_twice_drop_the_same():
    stored = gradients_of_second_half(network(drop_path_rate=0.6))
    torch.testing.assert_close(gradients_of_second_half(network(drop_path_rate=0.6, with_cp=True)), stored)


def test_parts_of_a_network_are_those_of_the_whole():
    model = without_batch_statistics(network())
    images = batch()[0]
    results = []
    for parts in (1, 2):
        pieces = []
        for part, piece in enumerate(images.chunk(parts)):
            torch.manual_seed(5)
            with batch_part(part, parts), torch.no_grad():
                pieces.append(model.head_logits(piece))
        results.append([torch.cat(heads) for heads in zip(*pieces, strict=True)])
    torch.testing.assert_close(results[1], results[0])
    torch.manual_seed(6)
    with torch.no_grad():
        assert not torch.allclose(model.head_logits(images)[0], results[0][0])


def without_batch_statistics(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def largest_difference(found, expected):
    assert found.keys() == expected.keys()
    return max((found[key].double() - value.double()).abs().max().item() for key, value in expected.items())


def test_two_processes_train_as_one(tmp_path):
    found = in_processes(training_task, tmp_path)
    assert largest_difference(found[1], found[0]) == 0
    expected = train(network())
    assert largest_difference(found[0], expected) < 1e-4
    start = network()
    trained = {name: expected[name] for name, _ in start.named_parameters()}
    assert largest_difference(dict(start.named_parameters()), trained) > 3e-3


def test_accumulated_parts_train_as_the_whole():
    expected = train(without_batch_statistics(network()))
    found = train(without_batch_statistics(network()), accumulate=2)
    assert largest_difference(found, expected) < 1e-4
