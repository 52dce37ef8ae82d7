from dataclasses import replace

import numpy as np
import pytest

from internimage_perception.data.sample import Sample
from internimage_perception.training.pipeline import build_pipeline


def crops(sample, count, **options):
    pipeline = build_pipeline([{"op": "crop", **options}])
    return [pipeline(sample, np.random.default_rng(seed)) for seed in range(count)]


def labelled(labels):
    return Sample("a", np.repeat(labels[..., None] * 19, 3, axis=2), labels)


def test_every_window_of_the_picture_is_taken():
    positions = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)
    found = crops(labelled(positions), 300, size=[3, 4])
    assert {int(crop.labels[0, 0]) for crop in found} == {
        8 * row + column for row in range(3) for column in range(6)
    }
    for crop in found[:20]:
        row, column = divmod(int(crop.labels[0, 0]), 8)
        assert np.array_equal(crop.labels, positions[row : row + 4, column : column + 3])
        assert np.array_equal(crop.image[..., 0], crop.labels * 19)


def test_smaller_pictures_are_filled_up_on_the_right_and_below(sample):
    (filled,) = crops(sample, 1, size=[120, 70], fill=[1, 2, 3])
    assert np.array_equal(filled.image[:64, :96], sample.image)
    assert np.array_equal(filled.labels[:64, :96], sample.labels)
    for beyond in ((slice(64, 70), slice(None)), (slice(None), slice(96, 120))):
        assert (filled.image[beyond] == (1, 2, 3)).all()
        assert (filled.labels[beyond] == 255).all()
        assert filled.regions.no_source[beyond].all()
    assert not filled.regions.no_source[:64, :96].any()
    assert np.array_equal(filled.regions.ego_body[:64, :96], sample.regions.ego_body)
    assert filled.camera == sample.camera.cropped(0, 0, 120, 70)


def test_windows_of_one_class_are_avoided_ten_times():
    labels = np.zeros((100, 200), np.uint8)
    labels[:, 150:] = 1
    sample = labelled(labels)
    shares = [
        np.bincount(crop.labels.reshape(-1)).max() / crop.labels.size
        for crop in crops(sample, 300, size=[40, 40], max_class_share=0.75)
    ]
    plain = [
        np.bincount(crop.labels.reshape(-1)).max() / crop.labels.size
        for crop in crops(sample, 300, size=[40, 40])
    ]
    # 19 or 20 of 161 places are mixed enough; the last of eleven windows is taken in any case.
    assert np.mean(np.array(plain) > 0.75) > 0.8
    assert np.mean(np.array(shares) > 0.75) == pytest.approx((141 / 161) ** 11, abs=0.08)


def test_pixels_to_be_ignored_do_not_count_for_the_share():
    labels = np.full((50, 50), 255, np.uint8)
    labels[:, 20:30] = np.arange(10, dtype=np.uint8) % 2
    sample = labelled(labels)
    pipeline = build_pipeline([{"op": "crop", "size": [50, 50], "max_class_share": 0.75}])
    rng = np.random.default_rng(0)
    pipeline(sample, rng)
    # Accepted at once: one place of one was drawn, with two numbers.
    expected = np.random.default_rng(0)
    expected.integers(1), expected.integers(1)
    assert rng.bit_generator.state == expected.bit_generator.state


def test_a_picture_of_one_class_or_none_still_gives_a_window():
    for value in (3, 255):
        (crop,) = crops(
            labelled(np.full((30, 30), value, np.uint8)),
            1,
            size=[20, 20],
            max_class_share=0.5,
            centre_class=1.0,
        )
        assert crop.labels.shape == (20, 20)


def test_large_windows_are_counted_at_some_pixels_only():
    """The share at every third pixel decides as that at all pixels would."""
    labels = np.zeros((600, 900), np.uint8)
    labels[:, 600:] = 1
    for crop in crops(labelled(labels), 40, size=[500, 400], max_class_share=0.75):
        share = np.mean(crop.labels == 0)
        assert 0.24 < share < 0.76 or share == 1.0


def test_rare_classes_come_to_the_middle():
    labels = np.zeros((200, 300), np.uint8)
    labels[120:123, 40:44] = 5
    found = crops(labelled(labels), 200, size=[50, 40], centre_class=1.0)
    with_rare = [crop for crop in found if (crop.labels == 5).any()]
    assert 70 < len(with_rare) < 140
    places = np.array([np.argwhere(crop.labels == 5)[0] for crop in with_rare]) / (40, 50)
    # Windows around the other class may show it anywhere.
    assert np.mean((places > 0.08) & (places < 0.92)) > 0.9
    assert np.ptp(places, axis=0).min() > 0.5
    rarely = [crop for crop in crops(labelled(labels), 200, size=[50, 40]) if (crop.labels == 5).any()]
    assert len(rarely) < 25


def test_a_class_is_centred_on_where_earlier_steps_have_put_it():
    labels = np.zeros((200, 300), np.uint8)
    labels[0:4, 0:4] = 5
    pipeline = build_pipeline(
        [
            {"op": "resize", "ratio": [2.0, 2.0]},
            {"op": "flip", "probability": 1.0},
            {"op": "crop", "size": [50, 40], "centre_class": 1.0},
        ]
    )
    found = [pipeline(labelled(labels), np.random.default_rng(seed)) for seed in range(40)]
    with_rare = [crop for crop in found if (crop.labels == 5).any()]
    assert len(with_rare) > 10
    # The picture ends there: the class stays in the corner, whole.
    assert all(np.count_nonzero(crop.labels == 5) == 64 for crop in with_rare)
    assert all((crop.labels[:8, -8:] == 5).all() for crop in with_rare)


def test_unlabelled_pictures_are_cropped_anywhere(sample):
    bare = replace(sample, labels=None, objects=None)
    found = crops(bare, 5, size=[20, 10], max_class_share=0.5, centre_class=1.0)
    assert all(crop.labels is None and crop.image.shape == (10, 20, 3) for crop in found)
