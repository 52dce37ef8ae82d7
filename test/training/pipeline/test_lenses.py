from dataclasses import replace

import numpy as np
import pytest

from internimage_perception.data.distortion import DistortionAugmentation, config_from_dict
from internimage_perception.data.distortion.background_files import load_backgrounds
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.geometry import KannalaBrandtCamera
from internimage_perception.training.pipeline import build_pipeline


def test_distort_is_the_augmentation(sample, frames):
    config = {"models": ["mei", "eucm"], "size": [80, 60], "ego_label": 12}
    pipeline = build_pipeline([{"op": "distort", "config": config, "backgrounds": str(frames)}])
    augmentation = DistortionAugmentation(config_from_dict(config), load_backgrounds(frames))
    for seed in range(4):
        found = pipeline(sample, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.random()
        expected = augmentation(sample, rng)
        assert np.array_equal(found.image, expected.image)
        assert np.array_equal(found.labels, expected.labels)
        assert found.camera == expected.camera


def test_distort_takes_presets_and_happens_as_often_as_asked(sample):
    pipeline = build_pipeline([{"op": "distort", "preset": "dacon2023", "probability": 0.4}])
    plain = replace(sample, camera=None)
    found = [pipeline(plain, np.random.default_rng(seed)) for seed in range(100)]
    distorted = [item for item in found if item is not plain]
    assert 25 < len(distorted) < 55
    assert all(np.array_equal(item.image, distorted[0].image) for item in distorted)


def test_a_sample_that_no_lens_fits_is_named(sample):
    pipeline = build_pipeline([{"op": "distort"}])
    wrong = replace(sample, camera=replace(sample.camera, width=300))
    with pytest.raises(ConfigError, match="distort: street/a_7: the picture is 96x64, but its camera"):
        pipeline(wrong, np.random.default_rng(0))


def test_a_missing_folder_of_backgrounds_is_known_at_once(tmp_path):
    for op in ("distort", "composite"):
        with pytest.raises(DatasetError, match="nowhere"):
            build_pipeline([{"op": op, "backgrounds": str(tmp_path / "nowhere")}])


def test_composite_lays_the_frame_over_the_picture(sample, frames):
    pipeline = build_pipeline(
        [
            {
                "op": "composite",
                "backgrounds": str(frames),
                "choice": "suffix",
                "outside_label": 11,
                "ego_label": 12,
            }
        ]
    )
    made = pipeline(sample, np.random.default_rng(0))
    # street/a_7: the frame 7 modulo 3.
    frame = load_backgrounds(frames).frames[1]
    outside, ego = frame.regions.outside_lens, frame.regions.ego_body
    hidden = outside | ego
    assert ego.any()
    assert (made.image[hidden] == 80).all()
    assert np.array_equal(made.image[~hidden], sample.image[~hidden])
    assert (made.labels[outside] == 11).all()
    assert (made.labels[ego] == 12).all()
    assert np.array_equal(made.labels[~hidden], sample.labels[~hidden])
    # The object in the corner lies behind the rim; regions do not overlap.
    assert [item.class_id for item in made.objects] == [3]
    assert np.array_equal(made.regions.outside_lens, outside | sample.regions.outside_lens)
    assert np.sum(made.regions, axis=0).max() == 1
    assert made.camera is sample.camera


def test_composite_is_what_distort_does_without_a_warp(sample, frames):
    """Through its own lens, a picture stays as it is: what remains is the compositing."""
    lens = KannalaBrandtCamera(width=96, height=64, fx=20.0, fy=20.0, cx=47.5, cy=31.5)
    sample = replace(sample, camera=lens, regions=None)
    values = {
        "cameras": (lens,), "rotation_deg": (0.0, 0.0, 0.0), "vignette": (0.0, 0.0), "blur_px": (0.0, 0.0),
        "outside_label": 12, "ego_label": 12, "backgrounds": "suffix",
    }  # fmt: skip
    config = replace(config_from_dict({}), **values)
    through = DistortionAugmentation(config, load_backgrounds(frames))(sample, np.random.default_rng(0))
    options = {"choice": "suffix", "outside_label": 12, "ego_label": 12}
    pipeline = build_pipeline([{"op": "composite", "backgrounds": str(frames), **options}])
    plain = pipeline(sample, np.random.default_rng(0))
    assert np.array_equal(plain.image, through.image)
    assert np.array_equal(plain.labels, through.labels)
    assert all(np.array_equal(a, b) for a, b in zip(plain.regions, through.regions, strict=True))
    assert [item.box.tolist() for item in plain.objects] == [item.box.tolist() for item in through.objects]


def test_composite_draws_frames_and_fits_them(sample, frames):
    pipeline = build_pipeline(
        [
            {"op": "resize", "size": [192, 128]},
            {"op": "composite", "backgrounds": str(frames), "probability": 0.5},
        ]
    )
    corners = {int(pipeline(sample, np.random.default_rng(seed)).image[0, 0, 0]) for seed in range(60)}
    assert corners == {40, 80, 120, int(sample.image[0, 0, 0])}


def test_relabel_gives_regions_their_class(sample):
    regions = sample.regions._replace(no_source=np.zeros((64, 96), np.bool_))
    regions.no_source[30, 40] = True
    sample = replace(sample, regions=regions)
    made = build_pipeline([{"op": "relabel", "outside_label": 12, "no_source_label": 255}])(
        sample, np.random.default_rng(0)
    )
    assert (made.labels[:6] == 12).all()
    assert made.labels[30, 40] == 255
    # Not asked for: the own body keeps its labels.
    others = ~(regions.outside_lens | regions.no_source)
    assert np.array_equal(made.labels[others], sample.labels[others])
    assert np.array_equal(made.image, sample.image)
    bare = replace(sample, regions=None)
    assert build_pipeline([{"op": "relabel", "ego_label": 3}])(bare, np.random.default_rng(0)) is bare


def test_views_need_a_dataset(sample):
    pipeline = build_pipeline([{"op": "distort", "config": {"views": 2}}])
    with pytest.raises(ConfigError, match="distort: views need other samples of a dataset"):
        pipeline(sample, np.random.default_rng(0))
