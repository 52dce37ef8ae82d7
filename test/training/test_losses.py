"""Losses against their formulas, alone and in two processes."""

import numpy as np
import pytest
import torch
from support.processes import in_processes
from support.shared_batches import (
    CLASSES,
    LOSSES,
    SHARES,
    WEIGHTS,
    losses_and_gradients,
    losses_task,
    pictures,
)
from torch.nn import functional

from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training import pixel_sums
from internimage_perception.training.class_weights import class_weights_from, pixel_shares
from internimage_perception.training.config import LossConfig, OhemConfig
from internimage_perception.training.losses import SegmentationLoss


def example():
    (main, _), labels, weights = pictures()
    return main, labels, weights.double()


def full_size(logits):
    return functional.interpolate(logits, size=(8, 12), mode="bilinear", align_corners=False)


def dice_by_formula(logits, labels, weights):
    chances = full_size(logits).softmax(1)
    losses = []
    for number in range(CLASSES):
        counts = weights * (labels != 255)
        own = (labels == number) * counts
        if own.sum() > 0:
            overlap, found = (own * chances[:, number]).sum(), (counts * chances[:, number]).sum()
            losses.append(1 - 2 * overlap / (found + own.sum() + 1))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_that_of_pytorch(smoothing, weights):
    logits, labels, _ = example()
    known = None if weights is None else weights.double()
    options = {"ignore_index": 255, "label_smoothing": smoothing}
    for average in ("valid", "all"):
        config = LossConfig(label_smoothing=smoothing, average=average)
        found = SegmentationLoss(config, CLASSES, weights)(logits, labels)
        reduction = "mean" if average == "valid" else "sum"
        expected = functional.cross_entropy(full_size(logits), labels, known, reduction=reduction, **options)
        expected /= 1 if average == "valid" else labels.numel()
        assert found["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-12)
        assert found["loss"].item() == found["cross_entropy"].item()
        assert "dice" not in found and "auxiliary" not in found


def test_dice_leaves_out_absent_classes_and_counts_pixels_by_their_weight():
    logits, labels, weights = example()
    loss = SegmentationLoss(LossConfig(cross_entropy=0.0, dice=1.0), CLASSES)
    expected = dice_by_formula(logits, labels, torch.ones_like(weights))
    assert loss(logits, labels)["dice"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert "cross_entropy" not in loss(logits, labels)
    labels = labels.masked_fill(labels == 2, 3)
    expected = dice_by_formula(logits, labels, weights)
    found = loss(logits, labels, pixel_weights=weights)
    assert found["dice"].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("average", ["all", "valid"])
def test_pixel_weights_scale_what_pixels_add(average):
    logits, labels, weights = example()
    loss = SegmentationLoss(LossConfig(average=average), CLASSES, WEIGHTS)
    each = functional.cross_entropy(
        full_size(logits), labels, WEIGHTS.double(), ignore_index=255, reduction="none"
    )
    valid = labels != 255
    count = labels.numel() if average == "all" else WEIGHTS.double()[labels[valid]].sum()
    expected = (each * weights).sum() / count
    found = loss(logits, labels, pixel_weights=weights)["cross_entropy"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.1, 30), (0.9, 5), (0.05, 90), (0.01, 10_000)])
def test_hard_examples_are_those_of_mmsegmentation(threshold, min_kept):
    logits, labels, _ = example()
    config = LossConfig(ohem=OhemConfig(threshold=threshold, min_kept=min_kept), average="valid")
    found = SegmentationLoss(config, CLASSES)(logits, labels)["cross_entropy"]
    valid = labels != 255
    chances = full_size(logits).softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0]
    ordered = chances[valid].sort().values
    limit = max(ordered[min(min_kept * 4, len(ordered) - 1)].item(), threshold)
    # The place of the threshold is found in float32.
    kept = valid & (chances.float() < torch.tensor(limit).float())
    assert kept.sum() >= min(min_kept * 4, valid.sum() - 1)
    expected = -chances[kept].log().sum() / valid.sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right(name, monkeypatch):
    # Several rounds of two pictures each.
    monkeypatch.setattr(pixel_sums, "_CHUNK", 2 * CLASSES * 8 * 12)
    (main, auxiliary), labels, weights = pictures()
    loss = SegmentationLoss(LOSSES[name], CLASSES, WEIGHTS)
    inputs = [head[:3].clone().requires_grad_() for head in (main, auxiliary)]

    def total(*heads):
        return loss(heads, labels[:3], pixel_weights=weights[:3])["loss"]

    assert torch.autograd.gradcheck(total, inputs, fast_mode=True)


def test_heads_can_come_as_pair_or_by_name():
    (main, auxiliary), labels, _ = pictures()
    loss = SegmentationLoss(LossConfig(dice=1.0, auxiliary=0.4), CLASSES)
    found = loss((main, auxiliary), labels)
    alone = loss(main, labels)
    assert found["auxiliary"].item() == pytest.approx(loss(auxiliary, labels)["loss"].item())
    assert found["loss"].item() == pytest.approx(alone["loss"].item() + 0.4 * found["auxiliary"].item())
    assert loss({"main": main, "auxiliary": auxiliary}, labels) == found
    assert loss((main, None), labels) == loss({"main": main}, labels) == alone
    without = SegmentationLoss(LossConfig(dice=1.0, auxiliary=0.0), CLASSES)
    assert without((main, auxiliary), labels) == alone


def test_bytes_are_labels_too_and_logits_of_the_labels_size_stay_as_they_are():
    logits, labels, _ = example()
    loss = SegmentationLoss(LossConfig(dice=1.0), CLASSES)
    expected = loss(logits, labels)
    assert loss(logits, labels.byte()) == expected
    assert loss(full_size(logits), labels)["loss"].item() == pytest.approx(expected["loss"].item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_with_in_single(dtype):
    logits, labels, _ = example()
    low = logits.to(dtype)
    loss = SegmentationLoss(LossConfig(dice=1.0), CLASSES)
    expected = loss(low.float(), labels)["loss"]
    low.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(low, labels)["loss"]
        found.backward()
    assert found.dtype == torch.float32
    assert found.item() == expected.item()
    assert low.grad.dtype == dtype
    exact = low.detach().double().requires_grad_()
    loss(exact, labels)["loss"].backward()
    torch.testing.assert_close(low.grad.double(), exact.grad, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_without_valid_pixels_the_loss_is_zero(name):
    (main, auxiliary), labels, _ = pictures()
    inputs = [head.clone().requires_grad_() for head in (main, auxiliary)]
    found = SegmentationLoss(LOSSES[name], CLASSES, WEIGHTS)(inputs, torch.full_like(labels, 255))
    assert all(value.item() == 0 for value in found.values())
    found["loss"].backward()
    assert all(torch.equal(head.grad, torch.zeros_like(head)) for head in inputs)


def test_parts_add_up_to_the_whole():
    whole, parts = (losses_and_gradients(slice(None), chunks) for chunks in (1, 2))
    for name in LOSSES.keys() - {"hard"}:
        compare(parts[name], whole[name])


def test_parts_without_totals_count_as_if_all_were_like_them():
    logits, labels, _ = example()
    loss = SegmentationLoss(LossConfig(dice=1.0, average="valid"), CLASSES)
    alone = loss(logits[:2], labels[:2])["loss"]
    assert loss(logits[:2], labels[:2], 2)["loss"].item() == pytest.approx(alone.item() / 2)
    # Labels alone make cross entropy exact.
    totals = loss.totals(labels)
    halves = [loss(logits[p], labels[p], 2, totals=totals)["cross_entropy"] for p in (slice(2), slice(2, 4))]
    assert sum(halves).item() == pytest.approx(loss(logits, labels)["cross_entropy"].item())
    # But not Dice.
    dice = loss(logits[:2], labels[:2], 2, totals=totals)["dice"].item()
    assert dice == pytest.approx(loss(logits[:2], labels[:2])["dice"].item() / 2)


def compare(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_two_processes_get_what_one_gets(tmp_path):
    found = in_processes(losses_task, tmp_path)
    for rank, result in enumerate(found):
        total, gradient = result["sum"]
        assert total.tolist() == [3, 20]
        assert gradient.tolist() == [2, 1], rank
    expected = losses_and_gradients(slice(None))
    for how, shares in (("at once", SHARES), ("in parts", (slice(0, 2), slice(2, 4)))):
        for name, (values, gradients) in expected.items():
            if (how, name) == ("in parts", "hard"):
                continue
            results = [result[how][name] for result in found]
            for key, value in values.items():
                compare((results[0][0][key] + results[1][0][key]) / 2, value)
            for share, (_, own) in zip(shares, results, strict=True):
                # Processes' gradients are averaged.
                compare([gradient / 2 for gradient in own], [gradient[share] for gradient in gradients])


def test_what_does_not_fit_is_named():
    logits, labels, _ = example()
    with pytest.raises(ConfigError, match="4 weights for 5 classes"):
        SegmentationLoss(LossConfig(class_weights=(1.0, 1.0, 1.0, 1.0)), CLASSES)
    with pytest.raises(ConfigError, match="estimated"):
        SegmentationLoss(LossConfig(rarity=0.5), CLASSES)
    with pytest.raises(ConfigError, match="5 classes apart, the loss is of 4"):
        SegmentationLoss(LossConfig(), 4)(logits, labels.clamp(max=3))
    for wrong in (CLASSES, 254, 300, -1):
        labels[1, 2, 3] = wrong
        with pytest.raises(DatasetError, match=f"class {wrong}, but there are 5 classes"):
            SegmentationLoss(LossConfig(), CLASSES)(logits, labels)


def test_configured_class_weights_are_used():
    logits, labels, _ = example()
    given = SegmentationLoss(LossConfig(class_weights=tuple(WEIGHTS.tolist())), CLASSES)
    assert given(logits, labels) == SegmentationLoss(LossConfig(), CLASSES, WEIGHTS)(logits, labels)
    assert given.state_dict() == {}


def test_rare_classes_weigh_more():
    maps = [np.array([[0, 0, 0, 1], [0, 255, 2, 2]], np.uint8), np.full((2, 4), 0, np.uint8)]
    shares = pixel_shares(iter(maps), 4)
    np.testing.assert_allclose(shares, [12 / 15, 1 / 15, 2 / 15, 0])
    assert pixel_shares(iter(maps), 4, samples=1)[0] == pytest.approx(4 / 7)
    weights = class_weights_from(shares, 0.5)
    np.testing.assert_allclose(
        weights / weights[1], ((shares + 1e-4) / (shares[1] + 1e-4)) ** -0.5, rtol=1e-6
    )
    assert weights.mean().item() == pytest.approx(1)
    assert torch.equal(class_weights_from(shares, 0.0), torch.ones(4))
    with pytest.raises(DatasetError, match="class 2, but there are 2"):
        pixel_shares(iter(maps), 2)
    with pytest.raises(DatasetError, match="no pixel is labelled"):
        pixel_shares(iter([np.full((2, 2), 255, np.uint8)]), 2)
