"""Views of an image, and what becomes of them."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from internimage_perception.errors import ConfigError
from internimage_perception.models.inference_modes import (
    MEAN,
    STD,
    EvaluationMode,
    Window,
    prepare,
    probabilities,
    slide_logits,
)

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def lopsided(images):
    """A network whose logits depend on the place, so that a flip left out shows."""
    low = functional.avg_pool2d(images, 4, ceil_mode=True)
    ramp = torch.linspace(0, 2, low.shape[3]).expand(low.shape[0], 1, low.shape[2], -1)
    return functional.interpolate(torch.cat([low, ramp], 1), images.shape[2:], mode="bilinear")


def by_hand(picture, size, flip):
    if picture.shape[:2] != size:
        picture = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    if flip:
        picture = picture[:, ::-1]
    return torch.from_numpy(((picture - np.array(MEAN)) / np.array(STD)).astype(np.float32)).permute(2, 0, 1)[
        None
    ]


@pytest.mark.parametrize(
    ("mode", "shape", "expected"),
    [
        ({"scale": (2048, 1024)}, (1024, 2048), [(1024, 2048)]),
        ({"scale": (2048, 512)}, (300, 400), [(512, 683)]),
        ({"scale": (2048, 512)}, (400, 300), [(683, 512)]),
        ({"scale": (2048, 512)}, (100, 1000), [(205, 2048)]),
        ({"scale": (2048, 1024), "ratios": RATIOS}, (1024, 2048),
         [(512, 1024), (768, 1536), (1024, 2048), (1280, 2560), (1536, 3072), (1792, 3584)]),
        ({"ratios": (0.5, 2.0)}, (75, 109), [(37, 54), (150, 218)]),
        ({"scale": (2048, 512), "multiple": 32}, (300, 400), [(512, 704)]),
    ],
)  # fmt: skip
def test_sizes_of_views(mode, shape, expected):
    assert EvaluationMode(**mode).sizes(shape) == expected


def test_one_view_takes_two_resizes_in_a_row():
    picture = image(45, 70)
    with torch.no_grad():
        logits = lopsided(by_hand(picture, (64, 100), flip=False))
        expected = functional.interpolate(logits, (45, 70), mode="bilinear").softmax(1)[0]
    answer = probabilities(lopsided, picture, EvaluationMode(scale=(100, 64)))
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-4)


def test_scales_and_flips_are_averaged_as_probabilities_at_the_image_s_size():
    picture = image(46, 70)
    mode = EvaluationMode(ratios=(0.5, 1.5), flip=True)
    parts = []
    for size in ((23, 35), (69, 105)):
        for flip in (False, True):
            logits = lopsided(by_hand(picture, size, flip))
            answer = functional.interpolate(logits, (46, 70), mode="bilinear").softmax(1)
            parts.append(answer.flip(3) if flip else answer)
    answer = probabilities(lopsided, picture, mode)
    torch.testing.assert_close(answer, torch.stack(parts).mean(0)[0], atol=1e-5, rtol=1e-4)
    once = probabilities(lopsided, picture, EvaluationMode(ratios=(0.5, 1.5)))
    assert (answer - once).abs().max() > 0.01


def test_windows_meet_the_border_and_are_averaged():
    seen = []

    def network(images):
        seen.append(tuple(images.shape[2:]))
        return images[:, :2] * len(seen)

    x = torch.ones(1, 3, 75, 109)
    logits = slide_logits(network, x, Window((48, 64), (32, 40)))
    # ceil((75-48)/32)+1 = 2 rows, ceil((109-64)/40)+1 = 3 columns; the last start at 75-48 and 109-64.
    assert seen == [(48, 64)] * 6
    assert logits[0, 0, 0, 0] == 1 and logits[0, 0, 74, 108] == 6
    assert logits[0, 0, 0, 50] == pytest.approx((1 + 2 + 3) / 3)
    assert logits[0, 1, 26, 39] == 1 and logits[0, 1, 27, 39] == pytest.approx((1 + 4) / 2)


def test_windows_larger_than_the_image_see_all_of_it():
    x = torch.rand(1, 3, 20, 30)
    torch.testing.assert_close(slide_logits(lopsided, x, Window((64, 64), (32, 32))), lopsided(x))


def test_windows_apply_to_every_view():
    picture = image(60, 90)
    window = Window((32, 48), (16, 24))
    x = by_hand(picture, (60, 90), flip=True)
    expected = slide_logits(lopsided, x, window).softmax(1).flip(3)
    plain = slide_logits(lopsided, x.flip(3), window).softmax(1)
    answer = probabilities(lopsided, picture, EvaluationMode(window=window, flip=True))
    torch.testing.assert_close(answer, (plain + expected)[0] / 2, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"ratios": ()}, {"ratios": (0.0,)}, {"scale": (0, 5)}, {"multiple": 0}], ids=str
)
def test_modes_without_views_are_refused(wrong):
    with pytest.raises(ConfigError, match="positive"):
        EvaluationMode(**wrong)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(wrong):
    with pytest.raises(ConfigError, match="uint8"):
        prepare(wrong, (4, 4))
