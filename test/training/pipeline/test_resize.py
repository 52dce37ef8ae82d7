from dataclasses import replace

import numpy as np
import pytest

from internimage_perception.data.sample import Sample
from internimage_perception.errors import ConfigError
from internimage_perception.models.inference_modes import EvaluationMode
from internimage_perception.training.pipeline import build_pipeline


def made(sample, seed=0, **options):
    return build_pipeline([{"op": "resize", **options}])(sample, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("size", "scale", "ratio", "expected"),
    [
        # (width, height): by hand, factor = min(long / longest, short / shortest), rounded half up.
        ((2048, 1024), (2048, 1024), 0.5, (1024, 512)),
        ((750, 500), (2048, 1024), 1.0, (1536, 1024)),
        ((500, 750), (2048, 1024), 1.0, (1024 / 500 * 500, 1536)),
        ((1280, 966), (640, 640), 1.0, (640, 483)),
        ((101, 51), (50, 50), 1.0, (50, 25)),
    ],
)
def test_pictures_are_made_to_fit_as_officially(size, scale, ratio, expected):
    blank = Sample("a", np.zeros((size[1], size[0], 3), np.uint8))
    found = made(blank, scale=list(scale), ratio=[ratio, ratio]).image.shape[:2]
    assert found == (expected[1], expected[0])
    assert found == EvaluationMode(scale=scale, ratios=(ratio,)).sizes((size[1], size[0]))[0]


def test_ratios_are_spread_evenly(sample):
    bare = replace(sample, objects=None, camera=None)
    widths = [made(bare, seed, ratio=[0.5, 2.0]).image.shape[1] for seed in range(300)]
    assert 48 <= min(widths) < 52
    assert 188 < max(widths) <= 192
    # Evenly, not evenly in the logarithm, whose middle would be 96.
    assert 110 < np.median(widths) < 132


def test_a_size_is_hit_exactly_and_labels_are_those_under_pixel_centres(sample):
    for size in ([96, 64], [48, 32], [31, 77], [200, 100]):
        resized = made(sample, size=size)
        assert resized.image.shape == (size[1], size[0], 3)
        columns, rows = (
            (2 * np.arange(side) + 1) * old // (2 * side) for side, old in zip(size, (96, 64), strict=True)
        )
        assert np.array_equal(resized.labels, sample.labels[np.ix_(rows, columns)])
        assert resized.camera == sample.camera.resized(*size)
        assert resized.objects[0].box == pytest.approx(
            (sample.objects[0].box + 0.5) * np.tile(np.array(size) / (96, 64), 2) - 0.5, abs=1.0
        )
        assert all(mask.shape == (size[1], size[0]) for mask in resized.regions)


def test_stretch_changes_proportions_but_not_the_area(sample):
    bare = replace(sample, objects=None, camera=None)
    shapes = np.array([made(bare, seed, scale=[960, 640], stretch=0.3).labels.shape for seed in range(60)])
    wider = np.log(shapes[:, 1] / shapes[:, 0] / 1.5)
    assert -0.3 <= wider.min() < -0.2
    assert 0.2 < wider.max() <= 0.3
    assert np.allclose(shapes.prod(axis=1), 960 * 640, rtol=0.002)


def test_pictures_of_absurd_size_are_refused(sample):
    with pytest.raises(ConfigError, match="resize: street/a_7 would have 64000x"):
        made(sample, size=[640, 32], ratio=[100, 100])


def test_samples_without_labels_objects_and_camera_stay_so(sample):
    bare = replace(sample, labels=None, objects=None, camera=None, regions=None)
    resized = made(bare, size=[50, 40])
    assert (resized.labels, resized.objects, resized.camera, resized.regions) == (None, None, None, None)
