import colorsys

import cv2
import numpy as np
import pytest

from internimage_perception.data.sample import Sample
from internimage_perception.training.pipeline import build_pipeline

OFF = {"brightness": 0.0, "contrast": [1.0, 1.0], "saturation": [1.0, 1.0], "hue": 0}


@pytest.fixture
def colours():
    """A picture of many colours."""
    return Sample("a", np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))


def images(sample, count, **options):
    pipeline = build_pipeline([options])
    return [pipeline(sample, np.random.default_rng(seed)).image for seed in range(count)]


def test_photometric_can_be_switched_off(colours):
    assert all(np.array_equal(image, colours.image) for image in images(colours, 20, op="photometric", **OFF))


def test_brightness_is_added_in_half_of_the_cases(colours):
    changes = []
    for image in images(colours, 200, op="photometric", **{**OFF, "brightness": 32.0}):
        middle = (colours.image > 40) & (colours.image < 210)
        change = image.astype(int)[middle] - colours.image[middle]
        assert change.min() == change.max()
        assert image.min() >= 0
        changes.append(int(change[0]))
    assert 0.35 < np.mean(np.array(changes) != 0) < 0.6
    # Whole numbers below: from -32 to 31.
    assert -32 <= min(changes) < -26
    assert 26 < max(changes) <= 31


def test_contrast_multiplies_and_is_cut(colours):
    factors = []
    for image in images(colours, 200, op="photometric", **{**OFF, "contrast": [0.5, 1.5]}):
        middle = (colours.image > 100) & (colours.image < 165)
        factor = float(np.mean((image[middle] + 0.5) / colours.image[middle]))
        assert np.abs(image - np.clip(np.floor(colours.image * factor), 0, 255)).max() <= 2
        factors.append(factor)
    assert 0.35 < np.mean(np.abs(np.array(factors) - 1.0) > 0.02) < 0.6
    assert 0.5 <= min(factors) < 0.56
    assert 1.44 < max(factors) <= 1.52


def test_saturation_and_hue_are_those_of_hsv(colours):
    grey = images(colours, 40, op="photometric", **{**OFF, "saturation": [0.0, 0.0]})
    assert {bool((image == image[..., :1]).all()) for image in grey} == {True, False}
    for image in grey:
        assert np.array_equal(image.max(axis=2), colours.image.max(axis=2))
    one = Sample("a", np.full((2, 2, 3), (200, 80, 80), np.uint8))
    hues = set()
    for image in images(one, 300, op="photometric", **{**OFF, "hue": 18}):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[0, 0] / 255.0).tolist())
        assert saturation == pytest.approx(0.6, abs=0.02)
        assert value == pytest.approx(200 / 255, abs=0.01)
        hues.add(round(hue * 180) % 180)
    steps = {(hue + 90) % 180 - 90 for hue in hues}
    # From -18 to 17, as numpy's integers leave out the upper end.
    assert min(steps) == -18
    assert max(steps) == 17


def test_all_of_photometric_is_as_one_after_the_other(colours):
    """By the published order: brightness, contrast first or last, saturation, hue; each rounded down."""

    def cut(values):
        return np.floor(np.clip(values, 0, 255)).astype(np.uint8)

    pipeline = build_pipeline([{"op": "photometric"}])
    for seed in range(60):
        rng = np.random.default_rng(seed)
        image = colours.image
        if rng.random() < 0.5:
            image = cut(image + rng.uniform(-32, 32))
        late = rng.random() < 0.5
        factor = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
        if not late:
            image = cut(image * factor)
        if rng.random() < 0.5:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            hsv[..., 1] = cut(hsv[..., 1] * rng.uniform(0.5, 1.5))
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        if rng.random() < 0.5:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0].astype(int) + rng.integers(-18, 18)) % 180
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        if late:
            image = cut(image * factor)
        found = pipeline(colours, np.random.default_rng(seed)).image
        off = np.abs(found.astype(int) - image)
        # Two conversions to 8 bits instead of one move hues of dark colours by a few steps.
        assert np.percentile(off, 95) <= 6
        assert off.mean() < 2.0


def test_colour_is_a_linear_change_of_all_pixels(colours):
    for seed, image in enumerate(images(colours, 30, op="colour")):
        rng = np.random.default_rng(seed)
        pixels = colours.image.astype(float)
        grey = pixels.mean(axis=2, keepdims=True)
        pixels = grey + (pixels - grey) * (1 + rng.uniform(-0.3, 0.3))
        pixels *= 1 + rng.uniform(-0.05, 0.05, 3)
        pixels *= 1 + rng.uniform(-0.15, 0.15)
        pixels += rng.uniform(-8, 8)
        assert np.abs(np.clip(pixels, 0, 255) - image).max() <= 0.8
    off = images(colours, 3, op="colour", saturation=0.0, tint=0.0, light=0.0, offset=0.0)
    assert all(np.array_equal(image, colours.image) for image in off)


def test_colours_leave_everything_else(sample):
    for op in ("photometric", "colour"):
        changed = build_pipeline([{"op": op}])(sample, np.random.default_rng(1))
        assert changed.labels is sample.labels
        assert changed.objects is sample.objects
        assert changed.camera is sample.camera
        assert changed.regions is sample.regions
        assert not np.array_equal(changed.image, sample.image)
