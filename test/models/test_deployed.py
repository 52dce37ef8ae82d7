"""The deployed graph's arithmetic, step by step."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from internimage_perception.errors import ConfigError
from internimage_perception.models import DeployedSegmentation, create_model
from internimage_perception.models.deployed import _resize_axis

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture(scope="module")
def model(build):
    return build(
        {"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "head_channels": 8, "num_classes": 5}
    )


def deployed(model, **changes):
    arguments = {"height": 64, "width": 96, "mean": MEAN, "std": STD} | changes
    return DeployedSegmentation(model, **arguments).eval()


def frames(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def by_hand(model, images, size, output):
    x = images.permute(0, 3, 1, 2).float()
    x = functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=False)
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    logits = functional.interpolate(model.low_logits(x), output, mode="bilinear", align_corners=False)
    confidence, ids = logits.softmax(1).max(1)
    return ids.to(torch.uint8), (255 * confidence).round().to(torch.uint8)


@pytest.mark.parametrize(
    ("output_size", "expected"), [("model", (64, 96)), ("input", (75, 131)), ((30, 41), (30, 41))]
)
def test_answers_like_the_steps_by_hand(model, output_size, expected):
    images = frames(2, 75, 131)
    with torch.no_grad():
        ids, confidence = deployed(model, output_size=output_size)(images)
        own_ids, own_confidence = by_hand(model, images, (64, 96), expected)
    assert ids.dtype == confidence.dtype == torch.uint8
    assert ids.shape == (2, *expected)
    assert (ids == own_ids).float().mean() > 0.9999
    assert (confidence.int() - own_confidence.int()).abs().max() <= 1
    assert len(ids.unique()) > 1 and len(confidence.unique()) > 10


@pytest.mark.parametrize("frame", [(64, 96), (1, 1), (65, 97), (31, 500), (1080, 1920)])
def test_frames_are_resized_like_interpolate(frame):
    images = frames(1, *frame)
    x = _resize_axis(_resize_axis(images.float(), 1, 64), 2, 96).permute(0, 3, 1, 2)
    exact = functional.interpolate(images.permute(0, 3, 1, 2).double(), (64, 96), mode="bilinear")
    assert (x - exact).abs().max() < 1e-4


def test_bgr_frames_answer_like_their_rgb_twins(model):
    images = frames(1, 64, 96)
    with torch.no_grad():
        expected = deployed(model)(images)
        answer = deployed(model, channel_order="bgr")(images.flip(-1))
        mixed = deployed(model)(images.flip(-1))
    assert all(torch.equal(own, other) for own, other in zip(answer, expected, strict=True))
    assert not torch.equal(mixed[1], expected[1])


def test_frames_of_a_batch_do_not_touch_each_other(model):
    graph = deployed(model)
    images = frames(3, 50, 70)
    with torch.no_grad():
        together = graph(images)
        for n in range(3):
            alone = graph(images[n : n + 1])
            assert (alone[0][0] == together[0][n]).float().mean() > 0.9999


def test_confidence_spans_its_range(model):
    """A network that is certain answers 255; one that cannot decide between k classes answers 255 / k."""
    graph = deployed(model)
    for scale, expected in ((0.0, 51), (1e6, 255)):
        sharp = create_model(model.config).eval()
        sharp.load_state_dict(model.state_dict())
        with torch.no_grad():
            sharp.decode_head.conv_seg.weight.mul_(scale)
            sharp.decode_head.conv_seg.bias.mul_(scale)
            graph.model = sharp
            confidence = graph(frames(1, 64, 96))[1]
        assert np.median(confidence) == expected


def test_preprocessing_is_no_part_of_the_weights(model):
    assert set(deployed(model).state_dict()) == {f"model.{key}" for key in model.state_dict()}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"height": 16}, "32"),
        ({"std": (1.0, 0.0, 1.0)}, "std"),
        ({"mean": (1.0, 2.0)}, "mean"),
        ({"mean": (1.0, float("nan"), 2.0)}, "mean"),
        ({"channel_order": "yuv"}, "channel_order"),
        ({"output_size": "large"}, "output_size"),
        ({"output_size": (0, 5)}, "output_size"),
    ],
    ids=str,
)
def test_values_that_cannot_work_are_named(model, change, word):
    with pytest.raises(ConfigError, match=word):
        deployed(model, **change)


def test_too_many_classes_for_a_mask_are_refused():
    model = create_model({"base": "upernet_internimage_nano", "num_classes": 256})
    with pytest.raises(ConfigError, match="256 classes"):
        deployed(model)
