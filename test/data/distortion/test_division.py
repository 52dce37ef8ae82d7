"""The seed's transform: pixel by pixel against its description, and its crop."""

import dataclasses

import numpy as np
import pytest

from internimage_perception.data.distortion import (
    PRESETS,
    Background,
    BackgroundBank,
    DistortionAugmentation,
    visible_regions,
)
from internimage_perception.data.distortion.warp_map import warp_map
from internimage_perception.data.distortion.warps import DivisionWarp
from internimage_perception.data.sample import ObjectLabel, Sample


def reference(width, height, k=1.0):
    """Plain Python: for every pixel of the canvas the source's row and column, or None."""
    table = {}
    for i in range(height):
        for j in range(width):
            x, y = (2 * i - height) / height, (2 * j - width) / width
            divisor = 1 - k * (x * x + y * y)
            if divisor == 0:
                divisor = 1
            row, column = int((x / divisor + 1) * height / 2), int((y / divisor + 1) * width / 2)
            table[i, j] = (row, column) if 0 <= row < height and 0 <= column < width else None
    return table


@pytest.mark.parametrize(("width", "height", "k"), [(64, 48, 1.0), (61, 37, 1.0), (128, 64, 0.7)])
def test_every_pixel_is_the_seeds(width, height, k):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    labels = rng.integers(0, 12, (height, width)).astype(np.uint8)
    config = dataclasses.replace(PRESETS["dacon2023"], crop=False, k=k)
    warped = DistortionAugmentation(config)(Sample("a", image, labels), rng)
    expected_image = np.full_like(image, 12)
    expected_labels = np.full_like(labels, 12)
    for (i, j), found in reference(width, height, k).items():
        if found is not None:
            expected_image[i, j], expected_labels[i, j] = image[found], labels[found]
    np.testing.assert_array_equal(warped.image, expected_image)
    np.testing.assert_array_equal(warped.labels, expected_labels)
    assert warped.camera is None
    unseen = np.array([found is None for found in reference(width, height, k).values()])
    np.testing.assert_array_equal(warped.regions.no_source, unseen.reshape(height, width))


def test_the_crop_of_the_contests_pictures():
    warp = DivisionWarp.cropped(2048, 1024)
    assert (warp.width, warp.height) == (1065, 473)
    assert (warp.top, warp.top + warp.height - 1) == (276, 748)
    assert (warp.left, warp.left + warp.width - 1) == (492, 1556)
    placed = warp_map(warp)
    assert 0.99998 < placed.inside.mean() <= 1.0
    seen_wide = (placed.columns[236, -1] - placed.columns[236, 0]) / 2048
    seen_high = (placed.rows[:, 532].max() - placed.rows[:, 532].min()) / 1024
    assert round(float(seen_wide), 2) == 0.71
    assert 0.58 <= float(seen_high) <= 0.59


def test_the_window_is_that_of_the_whole_canvas():
    whole = warp_map(DivisionWarp(source_width=256, source_height=128, width=256, height=128))
    warp = DivisionWarp.cropped(256, 128)
    part = warp_map(warp)
    window = np.s_[warp.top : warp.top + warp.height, warp.left : warp.left + warp.width]
    np.testing.assert_array_equal(part.columns, whole.columns[window])
    np.testing.assert_array_equal(part.inside, whole.inside[window])
    assert part.inside.mean() > 0.99


def test_a_picture_too_small_for_the_crop_is_refused_in_words():
    with pytest.raises(ValueError, match="2x1"):
        DivisionWarp.cropped(2, 1)


def test_points_and_pixels_meet():
    warp = DivisionWarp.cropped(2048, 1024)
    pixels = np.random.default_rng(0).uniform(0, (warp.width - 1, warp.height - 1), (500, 2))
    sources, _ = warp.locate(pixels)
    back, good = warp.carry(sources)
    assert good.all()
    np.testing.assert_allclose(back, pixels, atol=1e-8)


def test_templates_cover_what_the_lens_does_not_show_and_no_label_is_mixed():
    rng = np.random.default_rng(2)
    # Ids far apart: an interpolated label would be neither.
    labels = rng.choice([0, 11], (128, 256)).astype(np.uint8)
    image = np.full((128, 256, 3), 200, np.uint8)
    rows, columns = np.mgrid[:90, :160]
    visible = np.hypot((rows - 45) / 50, (columns - 80) / 70) < 1
    frames = [
        Background(f"frame{shade}", np.full((90, 160, 3), shade, np.uint8), visible_regions(visible))
        for shade in (30, 60)
    ]
    augmentation = DistortionAugmentation(PRESETS["dacon2023"], BackgroundBank(frames))
    for name, shade in (("TRAIN_SOURCE_0004", 30), ("TRAIN_SOURCE_0007", 60)):
        before = image.copy(), labels.copy()
        warped = augmentation(Sample(name, image, labels), rng)
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(labels, before[1])
        assert set(np.unique(warped.labels)) == {0, 11, 12}
        assert set(np.unique(warped.image)) == {shade, 200}
        np.testing.assert_array_equal(warped.image[..., 0] == shade, warped.labels == 12)
        assert 0.2 < warped.regions.outside_lens.mean() < 0.5


def test_an_object_keeps_its_pixels_inside_its_box():
    labels = np.zeros((128, 256), np.uint8)
    mask = np.zeros((128, 256), bool)
    mask[50:70, 100:140] = True
    labels[mask] = 9
    item = ObjectLabel(9, np.array([99.5, 49.5, 139.5, 69.5]))
    sample = Sample("a", np.zeros((128, 256, 3), np.uint8), labels, (item,))
    warped = DistortionAugmentation(PRESETS["dacon2023"])(sample, np.random.default_rng(0))
    rows, columns = np.nonzero(warped.labels == 9)
    (found,) = warped.objects
    tight = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
    np.testing.assert_allclose(found.box, tight, atol=1.0)
