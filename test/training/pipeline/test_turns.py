import numpy as np
import pytest

from internimage_perception.data.sample import Sample
from internimage_perception.training.pipeline import build_pipeline
from internimage_perception.training.pipeline.placement import MEAN_COLOUR, Placement


def test_flip_exchanges_left_and_right_of_everything(sample):
    flipped = build_pipeline([{"op": "flip", "probability": 1.0}])(sample, np.random.default_rng(0))
    assert np.array_equal(flipped.image, sample.image[:, ::-1])
    assert np.array_equal(flipped.labels, sample.labels[:, ::-1])
    for mask, old in zip(flipped.regions, sample.regions, strict=True):
        assert np.array_equal(mask, old[:, ::-1])
    assert np.array_equal(flipped.objects[0].mask, sample.objects[0].mask[:, ::-1])
    assert np.allclose(flipped.objects[0].box, [35.5, 19.5, 65.5, 39.5])
    assert flipped.camera.cx == 95 - sample.camera.cx


def test_flip_happens_as_often_as_asked(sample):
    pipeline = build_pipeline([{"op": "flip", "probability": 0.3}])
    flips = [pipeline(sample, np.random.default_rng(seed)) is not sample for seed in range(400)]
    assert 0.22 < np.mean(flips) < 0.38


def test_positive_angles_turn_to_the_right_about_the_middle():
    labels = np.zeros((41, 41), np.uint8)
    labels[20, 30] = 7
    turned = Placement.of(Sample("a", np.zeros((41, 41, 3), np.uint8), labels)).turned(np.pi / 2, MEAN_COLOUR)
    assert turned.carried(30.0, 20.0) == pytest.approx((20.0, 30.0))
    assert np.argwhere(turned.sample().labels == 7).tolist() == [[30, 20]]


def test_rotate_draws_angles_and_fills_the_corners(sample):
    pipeline = build_pipeline([{"op": "rotate", "degrees": 10.0, "fill": [9, 8, 7]}])
    angles = []
    for seed in range(200):
        turned = pipeline(sample, np.random.default_rng(seed))
        radians = np.deg2rad(np.random.default_rng(seed).normal(0.0, 10.0))
        angles.append(radians)
        # The middle stays, and what is beyond the picture is known as such.
        assert turned.labels[31, 47] in sample.labels[28:36, 44:52]
        beyond = turned.regions.no_source
        assert (turned.labels[beyond] == 255).all()
        assert (turned.image[beyond] == (9, 8, 7)).all()
        shown = ~beyond & (turned.labels != 255)
        assert shown.mean() > 0.6
    assert 0.8 < np.std(np.rad2deg(angles)) / 10.0 < 1.2


def test_image_and_labels_turn_together(blocks):
    image, labels = blocks(np.random.default_rng(3), 200, 300, side=50)
    for radians in (0.05, -0.4, 1.2):
        turned = Placement.of(Sample("a", image, labels)).turned(radians, MEAN_COLOUR).sample()
        ids = turned.labels.astype(int)
        flat = np.ones_like(ids, bool)
        for rows in (-2, 0, 2):
            for columns in (-2, 0, 2):
                flat &= np.roll(ids, (rows, columns), (0, 1)) == ids
        flat &= ids != 255
        assert flat[5:-5, 5:-5].mean() > 0.5
        assert np.abs(turned.image[..., 0].astype(int) - ids * 19)[5:-5, 5:-5][flat[5:-5, 5:-5]].max() <= 1
