"""Maps: interpolated as good as exact, both ways, for every kind of lens."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from internimage_perception.data.distortion import DistortionConfig
from internimage_perception.data.distortion.config import COEFFICIENTS
from internimage_perception.data.distortion.draw import draw_lens
from internimage_perception.data.distortion.warp_map import warp_map
from internimage_perception.data.distortion.warps import CameraWarp
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera
from internimage_perception.geometry.poses import rpy_to_matrix

PINHOLE = PinholeCamera(width=120, height=80, fx=30.0, fy=31.0, cx=59.0, cy=40.5)
FISHEYE = KannalaBrandtCamera(
    width=110, height=90, fx=33.0, fy=33.5, cx=54.0, cy=46.0, d=(0.02, -0.005, 0.0, 0.0), theta_max=1.75
)


def turned(*angles):
    return tuple(map(tuple, rpy_to_matrix(*angles).tolist()))


def drawn_lens(model, seed, width=96, height=72):
    config = DistortionConfig(models=(model,), field_of_view_deg=(150.0, 200.0))
    return draw_lens(config, width, height, np.random.default_rng(seed))


lenses = st.builds(drawn_lens, st.sampled_from(sorted(COEFFICIENTS)), st.integers(0, 2**32 - 1))
small = st.floats(-0.3, 0.3)


@st.composite
def warps(draw):
    source = draw(st.sampled_from((PINHOLE, FISHEYE)))
    shift = (draw(small), draw(small), draw(small)) if source is PINHOLE else (0.0, 0.0, 0.0)
    return CameraWarp(
        source=source, target=draw(lenses), rotation=turned(draw(small), draw(small), draw(small)),
        translation=shift,
    )  # fmt: skip


@settings(max_examples=40)
@given(warps())
# One corner's node alone is beyond the rim of the source's lens.
@example(
    CameraWarp(
        source=FISHEYE, target=drawn_lens("equidistant", 242), rotation=turned(0.28125, 0.28125, 0.0),
        translation=(0.0, 0.0, 0.0),
    )
)  # fmt: skip
def test_interpolation_is_as_good_as_every_pixel(warp):
    placed = warp_map(warp)
    pixels = warp.target.pixel_grid().reshape(-1, 2)
    exact, seen = warp.locate(pixels)
    rows, columns = placed.rows.reshape(-1), placed.columns.reshape(-1)
    inside = placed.inside.reshape(-1)
    off = np.hypot(exact[:, 0] - columns, exact[:, 1] - rows)[inside]
    assert seen[inside].all()
    assert off.max(initial=0.0) < 0.03
    should = seen & warp.target.valid_mask().reshape(-1) & warp.source.in_image(exact)
    # Only where the place is a hair from the picture's border may they differ.
    margin = np.minimum(exact + 0.5, (warp.source_width - 0.5, warp.source_height - 0.5) - exact).min(axis=1)
    wrong = (should != inside) & (np.abs(margin) > 0.03)
    assert not wrong.any()


@settings(max_examples=40)
@given(warps())
def test_there_and_back(warp):
    points = np.random.default_rng(0).uniform(0, (warp.source_width - 1, warp.source_height - 1), (200, 2))
    places, shown = warp.carry(points)
    assert shown.mean() > 0.2
    back, seen = warp.locate(places[shown])
    assert seen.all()
    np.testing.assert_allclose(back, points[shown], atol=1e-5)


@settings(max_examples=25)
@given(warps())
def test_a_labelled_pixel_ends_where_its_ray_does(warp):
    placed = warp_map(warp)
    columns, rows = np.meshgrid(
        np.arange(warp.source_width, dtype=np.uint8), np.arange(warp.source_height, dtype=np.uint8)
    )
    label = np.stack([placed.nearest(columns, 255), placed.nearest(rows, 255)], axis=-1)[placed.inside]
    down, across = np.nonzero(placed.inside)
    pixels = np.stack([across, down], axis=1).astype(np.float64)
    # In the source: the pixel whose label was taken is the one that the ray of the target's pixel meets.
    assert np.abs(label - warp.locate(pixels)[0]).max(initial=0.0) <= 0.53
    # In the target: the label's own ray comes out at the pixel that shows it, by what that covers.
    places, shown = warp.carry(label.astype(np.float64))
    steps = [warp.locate(pixels + step)[0] - warp.locate(pixels - step)[0] for step in np.eye(2) * 0.5]
    least = np.linalg.svd(np.nan_to_num(np.stack(steps, axis=-1)), compute_uv=False)[:, -1]
    off = np.hypot(*(places - pixels).T)
    firm = shown & (least > 0.25)
    assert (off * least)[firm].max(initial=0.0) < 0.9


def test_the_same_lens_moves_nothing():
    for lens in (PINHOLE, dataclasses.replace(FISHEYE, theta_max=math.inf)):
        placed = warp_map(CameraWarp(source=lens, target=lens))
        assert placed.identity
        np.testing.assert_allclose(
            placed.columns, np.broadcast_to(np.arange(lens.width), placed.columns.shape), atol=1e-3
        )


def test_a_shifted_centre_shifts_the_picture():
    moved = dataclasses.replace(PINHOLE, cx=PINHOLE.cx + 7.0, cy=PINHOLE.cy - 3.0)
    placed = warp_map(CameraWarp(source=PINHOLE, target=moved))
    picture = np.random.default_rng(0).integers(0, 256, (80, 120), np.uint8)
    expected = np.full_like(picture, 255)
    expected[:-3, 7:] = picture[3:, :-7]
    np.testing.assert_array_equal(placed.nearest(picture, 255), expected)
    assert not placed.identity


def test_nothing_beyond_90_degrees_comes_from_a_pinhole():
    wide = KannalaBrandtCamera(width=100, height=100, fx=25.0, fy=25.0, cx=49.5, cy=49.5, theta_max=1.9)
    rays, _ = wide.unproject(wide.pixel_grid())
    behind = rays[..., 2] <= 0.0
    for shift in ((0.0, 0.0, 0.0), (0.1, -0.2, 0.15)):
        placed = warp_map(CameraWarp(source=PINHOLE, target=wide, translation=shift))
        assert not placed.inside[behind].any()
    assert behind.sum() > 500
    fish = warp_map(CameraWarp(source=FISHEYE, target=wide))
    assert fish.inside[behind].sum() > 100


@pytest.mark.parametrize(
    ("focal", "percent"), [(2262.0, 3.9), (800.0, 19.0), (500.0, 32.0), (350.0, 42.0), (200.0, 56.0)]
)
def test_the_share_of_a_circle_that_a_focal_length_fills(focal, percent):
    """Cityscapes' own, and virtual ones; the documentation names these numbers."""
    source = PinholeCamera(width=2048, height=1024, fx=focal, fy=focal, cx=1023.5, cy=511.5)
    half = math.radians(100.0)
    circle = KannalaBrandtCamera(
        width=401, height=401, fx=200.0 / half, fy=200.0 / half, cx=200.0, cy=200.0, theta_max=half
    )
    filled = warp_map(CameraWarp(source=source, target=circle)).inside.sum() / circle.valid_mask().sum()
    assert 100.0 * filled == pytest.approx(percent, abs=0.5 if percent > 10.0 else 0.05)


def test_fisheye_to_fisheye_is_true_in_its_angles():
    other = drawn_lens("double_sphere", 5)
    placed = warp_map(CameraWarp(source=FISHEYE, target=other, rotation=turned(0.1, 0.2, -0.1)))
    rows, columns = np.nonzero(placed.inside)
    target_rays, _ = other.unproject(np.stack([columns, rows], axis=1))
    sources = np.stack([placed.columns[rows, columns], placed.rows[rows, columns]], axis=1)
    source_rays, _ = dataclasses.replace(FISHEYE, theta_max=math.inf).unproject(sources)
    np.testing.assert_allclose(target_rays @ np.array(turned(0.1, 0.2, -0.1)).T, source_rays, atol=2e-3)


def test_a_camera_behind_the_picture_and_a_huge_picture_are_refused():
    with pytest.raises(ValueError, match="behind"):
        CameraWarp(source=PINHOLE, target=FISHEYE, translation=(0.0, 0.0, 1.0))
    huge = PinholeCamera(width=40_000, height=2, fx=1e4, fy=1e4, cx=2e4, cy=1.0)
    with pytest.raises(ValueError, match="32000"):
        warp_map(CameraWarp(source=PINHOLE, target=huge))
