"""Whole samples: what is carried, what is left, and that nothing but the random numbers decides."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.data.distortion import (
    PRESETS,
    Background,
    BackgroundBank,
    DistortionAugmentation,
    DistortionConfig,
    visible_regions,
)
from internimage_perception.data.distortion.config import COEFFICIENTS
from internimage_perception.data.sample import ObjectLabel, Regions, Sample
from internimage_perception.errors import ConfigError
from internimage_perception.geometry import CylindricalCamera, KannalaBrandtCamera, PinholeCamera

PLAIN = {
    "rotation_deg": (0.0, 0.0, 0.0), "translation": (0.0, 0.0, 0.0), "vignette": (0.0, 0.0),
    "blur_px": (0.0, 0.0), "true_pinholes": True,
}  # fmt: skip
PINHOLE = PinholeCamera(width=96, height=64, fx=40.0, fy=41.0, cx=47.0, cy=32.5)
FISHEYE = KannalaBrandtCamera(width=96, height=64, fx=30.0, fy=30.0, cx=47.5, cy=31.5, theta_max=1.7)


def picture(seed=0, width=96, height=64, camera=None):
    """A sample of blocks with labels, an object with a mask and one with outlines only."""
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (height // 4, width // 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    labels = rng.choice([0, 3, 11, 200, 255], (height, width)).astype(np.uint8)
    mask = np.zeros((height, width), bool)
    mask[20:40, 30:60] = True
    outline = np.array([(50.0, 30.0), (70.0, 32.0), (60.0, 50.0)])
    objects = (
        ObjectLabel(3, np.array([29.5, 19.5, 59.5, 39.5]), (), mask, instance_id=5),
        ObjectLabel(4, np.array([50.0, 30.0, 70.0, 50.0]), (outline,), crowd=True),
    )
    return Sample("folder/a_7", image, labels, objects, camera)


configs = st.builds(
    DistortionConfig,
    models=st.sampled_from([(model,) for model in sorted(COEFFICIENTS)]),
    size=st.sampled_from([None, (70, 50), (121, 40)]),
    field_of_view_deg=st.just((150.0, 200.0)),
    interpolation=st.sampled_from(["area", "linear", "nearest"]),
    outside_label=st.sampled_from([255, 12]),
    ego_label=st.sampled_from([255, 13]),
    no_source_label=st.sampled_from([255, 14]),
    true_pinholes=st.booleans(),
)
cameras = st.sampled_from([None, PINHOLE, FISHEYE])


@settings(max_examples=40)
@given(configs, cameras, st.integers(0, 2**31), st.booleans())
def test_what_holds_for_every_sample(config, camera, seed, with_ego):
    sample = picture(camera=camera)
    if with_ego:
        regions = Regions.none(64, 96)
        regions.ego_body[50:] = True
        regions.outside_lens[:, :5] = True
        sample = dataclasses.replace(sample, regions=regions)
    augmentation = DistortionAugmentation(config)
    warped = augmentation(sample, np.random.default_rng(seed))
    again = augmentation(sample, np.random.default_rng(seed))
    for one, other in (
        (warped.image, again.image),
        (warped.labels, again.labels),
        *zip(warped.regions, again.regions, strict=True),
    ):
        np.testing.assert_array_equal(one, other)
    assert warped.camera == again.camera
    width, height = config.size or (96, 64)
    assert warped.image.shape == (height, width, 3)
    assert warped.labels.shape == (height, width)
    assert (warped.camera.width, warped.camera.height) == (width, height)
    outside, ego, missing = warped.regions
    assert not (outside & ego).any() and not (outside & missing).any() and not (ego & missing).any()
    np.testing.assert_array_equal(outside, ~warped.camera.valid_mask())
    assert (warped.labels[outside] == config.outside_label).all()
    assert (warped.labels[ego] == config.ego_label).all()
    assert (warped.labels[missing] == config.no_source_label).all()
    assert set(np.unique(warped.labels[~warped.regions.anywhere])) <= set(np.unique(sample.labels))
    if camera is not FISHEYE:
        rays, valid = warped.camera.unproject(warped.camera.pixel_grid())
        behind = valid & (np.arccos(np.clip(rays[..., 2], -1, 1)) > np.radians(160.0))
        assert missing[behind & ~outside & ~ego].all()
    for item in warped.objects:
        assert (item.box[:2] >= -0.5).all() and (item.box[2:] <= (width - 0.5, height - 0.5)).all()
        assert (item.box[2:] > item.box[:2]).all()
        if item.mask is not None:
            rows, columns = np.nonzero(item.mask)
            edges = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
            np.testing.assert_array_equal(item.box, edges)
            assert not (item.mask & (outside | ego)).any()


def test_the_same_lens_gives_the_same_bytes():
    for camera in (PINHOLE, dataclasses.replace(FISHEYE, theta_max=3.0)):
        sample = picture(camera=camera)
        warped = DistortionAugmentation(DistortionConfig(cameras=(camera,), **PLAIN))(
            sample, np.random.default_rng(0)
        )
        np.testing.assert_array_equal(warped.image, sample.image)
        np.testing.assert_array_equal(warped.labels, sample.labels)
        np.testing.assert_array_equal(warped.objects[0].mask, sample.objects[0].mask)
        np.testing.assert_allclose(warped.objects[1].box, sample.objects[1].box, atol=0.01)
        assert warped.camera == camera
        assert not warped.regions.anywhere.any()


def test_unlabelled_samples_stay_unlabelled():
    sample = dataclasses.replace(picture(), labels=None, objects=None)
    warped = DistortionAugmentation()(sample, np.random.default_rng(0))
    assert warped.labels is None and warped.objects is None and warped.regions is not None
    assert warped.name == sample.name


def test_a_pinhole_is_given_a_focal_length_unless_it_is_to_be_true():
    sample = picture(camera=PINHOLE)
    rng = np.random.default_rng
    virtual = DistortionAugmentation(DistortionConfig(source_focal=(0.2, 0.2))).augment(sample, rng(0))
    assert virtual.drawn.warp.source.fx == pytest.approx(0.2 * 96)
    assert virtual.drawn.warp.source.fy == pytest.approx(0.2 * 96 * 41 / 40)
    assert not virtual.drawn.true_source
    true = DistortionAugmentation(DistortionConfig(true_pinholes=True)).augment(sample, rng(0))
    assert true.drawn.warp.source == PINHOLE
    assert true.drawn.true_source
    assert true.drawn.warp.translation == (0.0, 0.0, 0.0)
    fisheye = DistortionAugmentation().augment(picture(camera=FISHEYE), rng(0))
    assert fisheye.drawn.warp.source == FISHEYE
    # A camera of another resolution fits; one of another shape does not.
    half = dataclasses.replace(picture(camera=FISHEYE), camera=FISHEYE.resized(48, 32))
    assert DistortionAugmentation().augment(half, rng(0)).drawn.warp.source.width == 96
    other = dataclasses.replace(sample, camera=FISHEYE.resized(50, 50))
    with pytest.raises(ConfigError, match=r"folder/a_7.*50x50"):
        DistortionAugmentation()(other, rng(0))


def test_light_falls_off_to_the_rim_and_touches_no_label():
    config = DistortionConfig(cameras=(FISHEYE,), **{**PLAIN, "vignette": (0.6, 0.6), "blur_px": (8.0, 8.0)})
    grey = dataclasses.replace(picture(camera=FISHEYE), image=np.full((64, 96, 3), 200, np.uint8))
    warped = DistortionAugmentation(config)(grey, np.random.default_rng(0))
    theta = np.hypot(*np.moveaxis(FISHEYE.pixel_grid() - (47.5, 31.5), -1, 0)) / 30.0
    inside = ~warped.regions.anywhere
    expected = 200.0 * (1.0 - 0.6 * (theta / FISHEYE.theta_max) ** 3)
    assert np.abs(warped.image[..., 0] - expected)[inside].max() < 3.0
    assert (warped.image[~inside] == 0).all()
    np.testing.assert_array_equal(warped.labels[inside], grey.labels[inside])
    noisy = picture(camera=FISHEYE)
    soft = DistortionAugmentation(config)(noisy, np.random.default_rng(0)).image.astype(float)
    contrast = [np.abs(np.diff(array, axis=1)).mean(axis=2) for array in (soft, noisy.image.astype(float))]
    middle, rim = np.s_[24:40, 40:55], np.s_[24:40, 0:10]
    assert contrast[0][middle].mean() > 0.85 * contrast[1][middle].mean()
    assert contrast[0][rim].mean() < 0.7 * contrast[1][rim].mean()


def test_backgrounds_cover_and_hide():
    visible = np.zeros((32, 48), bool)
    visible[4:28, 4:44] = True
    ego = np.zeros((32, 48), bool)
    ego[24:28, 4:44] = True
    frame = Background("front", np.full((32, 48, 3), 9, np.uint8), visible_regions(visible & ~ego, ego))
    config = DistortionConfig(cameras=(FISHEYE,), interpolation="nearest", ego_label=12, **PLAIN)
    sample = dataclasses.replace(picture(camera=FISHEYE), image=np.full((64, 96, 3), 100, np.uint8))
    made = DistortionAugmentation(config, BackgroundBank([frame])).augment(sample, np.random.default_rng(0))
    warped = made.sample
    assert made.background == "front"
    np.testing.assert_array_equal(warped.regions.ego_body, np.kron(ego, np.ones((2, 2))).astype(bool))
    np.testing.assert_array_equal(
        warped.regions.outside_lens, np.kron(~visible, np.ones((2, 2))).astype(bool)
    )
    np.testing.assert_array_equal(warped.image[..., 0] == 9, warped.regions.anywhere)
    assert (warped.labels[warped.regions.ego_body] == 12).all()
    assert (warped.image[~warped.regions.anywhere] == 100).all()


def test_no_lens_of_the_ranges_is_said_in_words():
    narrow = ((1.5, 1.8), *COEFFICIENTS["mei"][1:])
    config = DistortionConfig(models=("mei",), coefficients={"mei": narrow}, field_of_view_deg=(340.0, 350.0))
    with pytest.raises(ConfigError, match="no mei lens"):
        DistortionAugmentation(config)(picture(), np.random.default_rng(0))
    tiny = dataclasses.replace(picture(), image=np.zeros((1, 2, 3), np.uint8), labels=None, objects=None)
    with pytest.raises(ConfigError, match=r"folder/a_7.*2x1"):
        DistortionAugmentation(PRESETS["dacon2023"])(tiny, np.random.default_rng(0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 90), (90, 5)])
def test_tiny_and_narrow_pictures(height, width):
    rng = np.random.default_rng(0)
    nothing = ObjectLabel(1, np.zeros(4), (np.array([(0.0, 0.0), (1.0, 1.0)]),))
    whole = ObjectLabel(
        2, np.array([-0.5, -0.5, width - 0.5, height - 0.5]), (), np.ones((height, width), bool)
    )
    cylinder = CylindricalCamera(width=60, height=40, fx=12.0, fy=12.0, cx=30.0, cy=20.0)
    for config in (
        PRESETS["lenses"],
        DistortionConfig(cameras=(cylinder,), interpolation="linear"),
        DistortionConfig(rotation_deg=(180.0, 180.0, 180.0), translation=(0.9, 0.9, 0.9), size=(70, 3)),
    ):
        for camera in (None, cylinder.resized(width, height)):
            image = rng.integers(0, 256, (height, width, 3), np.uint8)
            sample = Sample("x", image, np.zeros((height, width), np.uint8), (nothing, whole), camera)
            warped = DistortionAugmentation(config)(sample, rng)
            assert warped.labels.shape == warped.image.shape[:2]
            assert all(item.class_id == 2 for item in warped.objects)


def plain(seed: int, value: int, camera=PINHOLE) -> Sample:
    """A sample of one class and one colour, without objects."""
    shape = (camera.height, camera.width)
    return Sample(
        f"s{seed}", np.full((*shape, 3), 20 * value, np.uint8), np.full(shape, value, np.uint8), None, camera
    )


def in_turn(samples):
    """Return what draws these samples, one after the other."""
    left = iter(samples)
    return lambda _: next(left)


def test_further_views_lie_beside_the_first_one():
    # 100 degrees wide, three of them 90 degrees apart: a fisheye of 180 degrees is nearly filled.
    source = PinholeCamera(width=96, height=96, fx=40.0, fy=40.0, cx=47.5, cy=47.5)
    lens = KannalaBrandtCamera(width=200, height=200, fx=63.0, fy=63.0, cx=99.5, cy=99.5, theta_max=np.pi / 2)
    config = DistortionConfig(cameras=(lens,), size=(200, 200), views=2, view_step_deg=(90.0, 90.0), **PLAIN)
    samples = [plain(index, index + 1, source) for index in range(3)]
    made = DistortionAugmentation(config).augment(samples[0], np.random.default_rng(0), in_turn(samples[1:]))
    labels, regions = made.sample.labels, made.sample.regions
    middle = labels[99]
    assert [name for name, _ in made.views] == ["s1", "s2"]
    # By the angle: the first up to 45 degrees and more, the others beyond, one on each side.
    assert (middle[60:140] == 1).all()
    assert {int(middle[12]), int(middle[187])} == {2, 3}
    alone = DistortionAugmentation(dataclasses.replace(config, views=0))(samples[0], np.random.default_rng(0))
    shown = alone.labels == 1
    # Nothing of the first one is changed, all the new lies where it showed nothing.
    assert (labels[shown] == 1).all() and (made.sample.image[shown] == alone.image[shown]).all()
    assert regions.no_source.sum() < 0.55 * alone.regions.no_source.sum()
    for value in (2, 3):
        inner = labels == value
        assert inner.sum() > 2000 and not shown[inner].any() and not regions.no_source[inner].any()
        # Colours go with labels, but for the mixed pixels of borders.
        assert (made.sample.image[inner] == 20 * value).all(axis=1).mean() > 0.9
    # What is level stays so: the horizon of every view is the lens's.
    rows = [np.flatnonzero((labels == value).any(axis=1)).mean() for value in (1, 2, 3)]
    assert np.ptp(rows) < 1.0


def test_no_further_views_change_no_byte():
    config = DistortionConfig(size=(121, 40))
    sample = dataclasses.replace(picture(1, camera=PINHOLE), objects=None)
    one = DistortionAugmentation(config)(sample, np.random.default_rng(5))
    same = DistortionAugmentation(dataclasses.replace(config, view_step_deg=(10.0, 20.0)))(
        sample, np.random.default_rng(5)
    )
    assert (one.image == same.image).all() and (one.labels == same.labels).all()


def test_views_that_do_not_go_together_are_refused():
    augmentation = DistortionAugmentation(DistortionConfig(views=1))
    with pytest.raises(ConfigError, match="labels for all or none, and no objects"):
        augmentation.augment(picture(1), np.random.default_rng(0), in_turn([plain(2, 3)]))
    with pytest.raises(ConfigError, match="labels for all or none"):
        augmentation.augment(
            plain(1, 1), np.random.default_rng(0), in_turn([dataclasses.replace(plain(2, 3), labels=None)])
        )
    with pytest.raises(ConfigError, match="views are for lenses"):
        DistortionConfig(warp="division", views=2)
    with pytest.raises(ConfigError, match="views is 99"):
        DistortionConfig(views=99)
