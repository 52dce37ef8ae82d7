"""What the teacher's answers are worth, and what the student learns from them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from internimage_perception.training.config import SelfTrainingConfig
from internimage_perception.training.self_training import PseudoLabels, SelfTraining


class Teacher(nn.Module):
    """Answers with the logits it is given, if it is in evaluation mode."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images):
        assert not self.training
        assert images.shape[0] == self.logits.shape[0]
        return self.logits


def configured(**changes):
    return SelfTraining(SelfTrainingConfig(sources=[{"dataset": "a"}], batch=2, **changes), 3)


def chances(*values):
    """Logits (1, 3, 1, n) of pixels whose best class has these probabilities: 0, 1, 2, 0, ..."""
    table = torch.zeros(1, 3, 1, len(values))
    for index, value in enumerate(values):
        table[0, :, 0, index] = (1 - value) / 2
        table[0, index % 3, 0, index] = value
    return table.log()


def test_only_what_the_teacher_is_sure_of_is_taught():
    teacher = Teacher(chances(0.95, 0.85, 0.91, 0.99, 0.6)).train()
    known = torch.tensor([[[0, 0, 0, 255, 0]]], dtype=torch.uint8)
    found = configured(threshold=0.9).pseudo_labels(teacher, torch.zeros(1, 3, 1, 5), known)
    assert found.labels.tolist() == [[[0, 255, 2, 255, 255]]]
    assert found.labels.dtype == torch.int64
    # Of the four pixels that show a scene.
    assert found.share.item() == pytest.approx(2 / 4)
    assert not found.labels.requires_grad and not found.share.requires_grad


@pytest.mark.parametrize(("threshold", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_ends_of_the_threshold(threshold, share):
    teacher = Teacher(chances(0.4, 0.95))
    known = torch.zeros(1, 1, 2, dtype=torch.uint8)
    found = configured(threshold=threshold).pseudo_labels(teacher, torch.zeros(1, 3, 1, 2), known)
    assert found.share.item() == share


def test_a_teacher_in_half_precision_is_compared_in_full():
    teacher = Teacher(chances(0.95, 0.5).half())
    known = torch.zeros(1, 1, 2, dtype=torch.uint8)
    found = configured(threshold=0.9).pseudo_labels(teacher, torch.zeros(1, 3, 1, 2), known)
    assert found.labels.tolist() == [[[0, 255]]]
    assert found.share.dtype == torch.float32


def test_the_loss_by_hand():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 4))
    labels[0, :2] = 255
    share = torch.tensor(0.25)
    losses = configured(weight=0.5).loss(logits, PseudoLabels(labels, share), step=0)
    expected = 0.5 * 0.25 * functional.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(losses["target"], expected)
    assert losses["target_share"] == share
    (mine,) = torch.autograd.grad(losses["target"], logits)
    (theirs,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(mine, theirs)


def test_the_weight_rises():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 4)
    found = PseudoLabels(torch.randint(0, 3, (1, 4, 4)), torch.tensor(1.0))
    part = configured(warm_up=3)
    values = [part.loss(logits, found, step)["target"].item() for step in range(6)]
    assert values == pytest.approx([values[-1] * factor for factor in (1 / 4, 2 / 4, 3 / 4, 1, 1, 1)])


def test_parts_add_up_to_the_step():
    torch.manual_seed(0)
    logits = torch.randn(4, 3, 4, 4)
    found = PseudoLabels(torch.randint(0, 3, (4, 4, 4)), torch.tensor(0.5))
    whole = configured().loss(logits, found, step=0)
    halves = [
        configured().loss(logits[half], PseudoLabels(found.labels[half], found.share), 0, parts=2)
        for half in (slice(2), slice(2, 4))
    ]
    for name, value in whole.items():
        torch.testing.assert_close(sum(half[name] for half in halves), value)


def test_nothing_to_learn_from():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    teacher = Teacher(chances(0.5, 0.5, 0.5, 0.5).view(1, 3, 2, 2))
    nowhere = torch.full((1, 2, 2), 255, dtype=torch.uint8)
    for known in (nowhere, torch.zeros_like(nowhere)):
        found = configured().pseudo_labels(teacher, torch.zeros(1, 3, 2, 2), known)
        losses = configured().loss(logits, found, 0)
        assert losses["target"].item() == losses["target_share"].item() == 0
        losses["target"].backward()
        assert math.isfinite(logits.grad.abs().sum()) and not logits.grad.any()
        logits.grad = None
