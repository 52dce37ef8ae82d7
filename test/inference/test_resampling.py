"""Bicubic resizing: Pillow's bytes, and what must hold for any image."""

import numpy as np
import pytest

from internimage_perception.inference.resampling import resize_and_crop, resize_bicubic

# Height, width, seed, side: short and long sides, smaller than the crop, one pixel high, odd rests.
CASES = ["75_131_1_64", "240_100_2_64", "40_33_3_64", "65_64_4_64", "301_402_5_64", "1_23_6_32"]


@pytest.fixture(scope="module")
def official(golden):
    return np.load(golden / "classification_official.npz")


@pytest.mark.parametrize("case", CASES)
def test_the_official_preparation_to_the_last_bit(official, recipe, case):
    """Resize of the short side and centre crop, as torchvision does them on Pillow's images."""
    height, width, seed, side = map(int, case.split("_"))
    answer = resize_and_crop(recipe.picture(height, width, seed), side, side)
    assert answer.dtype == np.uint8
    assert answer.flags.c_contiguous
    np.testing.assert_array_equal(answer, official[f"crop_{case}"])


def test_an_image_of_the_right_size_is_left_as_it_is(recipe):
    image = recipe.picture(64, 96, 1)
    np.testing.assert_array_equal(resize_and_crop(image, 64, 96), image)
    np.testing.assert_array_equal(resize_and_crop(image, 64, 64), image[:, 16:80])


@pytest.mark.parametrize(("height", "width"), [(48, 96), (96, 48), (50, 33)])
def test_other_shapes_are_covered_without_distortion(height, width):
    """A disc stays one: both axes are scaled by the same factor, and nothing outside is seen."""
    rows, columns = np.mgrid[:300, :400]
    disc = (np.hypot(rows - 149.5, columns - 199.5) < 100).astype(np.uint8)[..., None].repeat(3, 2) * 255
    answer = resize_and_crop(disc, height, width)
    assert answer.shape == (height, width, 3)
    scale = max(height / 300, width / 400)
    inside = answer[..., 0] > 127
    # Where the disc is cut off, its chord or the whole side is what remains.
    assert inside[height // 2].sum() == pytest.approx(min(200 * scale, width), abs=2)
    assert inside[:, width // 2].sum() == pytest.approx(min(200 * scale, height), abs=2)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (31, 32)])
@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_plain_image_stays_plain(shape, value):
    image = np.full((*shape, 3), value, np.uint8)
    assert (resize_and_crop(image, 32, 32) == value).all()


def test_only_what_is_asked_for_is_computed(recipe):
    """A strip whose whole resized form would take gigabytes."""
    strip = np.tile(recipe.picture(2, 64, 3), (1, 256, 1))
    answer = resize_and_crop(strip, 224, 224)
    assert answer.shape == (224, 224, 3)
    assert len(np.unique(answer)) > 20


def test_a_part_is_the_part_of_the_whole(recipe):
    image = recipe.picture(90, 70, 4)
    whole = resize_bicubic(image, (41, 53), (0, 41), (0, 53))
    part = resize_bicubic(image, (41, 53), (7, 20), (11, 30))
    np.testing.assert_array_equal(part, whole[7:27, 11:41])


def test_channels_do_not_touch_each_other(recipe):
    image = recipe.picture(90, 70, 5)
    expected = resize_and_crop(image, 32, 32)
    np.testing.assert_array_equal(resize_and_crop(image[..., ::-1], 32, 32), expected[..., ::-1])
    np.testing.assert_array_equal(resize_and_crop(image[..., :1], 32, 32), expected[..., :1])


def test_edges_overshoot_and_are_cut_off_at_black_and_white():
    """The cubic rings beside an edge; a filter without negative lobes would not."""
    image = np.full((20, 20, 3), 100, np.uint8)
    image[:, 10:] = 200
    row = resize_bicubic(image, (20, 80), (0, 20), (0, 80))[10, :, 0]
    assert row.min() < 97
    assert row.max() > 203
    image[:, 10:] = 255
    assert resize_bicubic(image, (20, 80), (0, 20), (0, 80)).max() == 255
