"""Images: no aliasing where the warp shrinks, no blur where it does not."""

import cv2
import numpy as np
import pytest

from internimage_perception.data.distortion.resample import INTERPOLATIONS, warped_image
from internimage_perception.data.distortion.warp_map import warp_map
from internimage_perception.data.distortion.warps import CameraWarp
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera

WIDTH, HEIGHT = 320, 240


def pinhole(focal, width=WIDTH, height=HEIGHT):
    return PinholeCamera(
        width=width, height=height, fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2
    )


def patterns():
    """Rings that get finer outwards, a chessboard of 3 pixels, noise."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rings = 127.5 + 127 * np.cos(((columns - 160) ** 2 + (rows - 120) ** 2) / 150.0)
    board = 255.0 * ((columns // 3 + rows // 3) % 2)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH))
    return np.stack([rings, board, noise], axis=-1).astype(np.uint8)


def brute_force(image, warp, count=16):
    """Average of count x count samples per pixel, each the nearest pixel of the source."""
    fine = CameraWarp(source=warp.source, target=warp.target.resized(warp.width * count, warp.height * count))
    places, seen = fine.locate(fine.target.pixel_grid().reshape(-1, 2))
    places[~seen] = -1e4
    places = places.reshape(fine.height, fine.width, 2).astype(np.float32)
    samples = cv2.remap(
        image.astype(np.float32), places[..., 0], places[..., 1], cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return cv2.resize(samples, (warp.width, warp.height), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("focal", "width", "height", "target_focal"),
    [(80.0, 160, 120, 55.0), (48.0, 160, 120, 45.0), (80.0, 64, 48, 12.0)],
)
def test_area_is_near_the_true_average_and_linear_is_not(focal, width, height, target_focal):
    target = KannalaBrandtCamera(
        width=width,
        height=height,
        fx=target_focal,
        fy=target_focal,
        cx=width / 2,
        cy=height / 2,
        theta_max=1.7,
    )
    warp = CameraWarp(source=pinhole(focal), target=target)
    placed, image = warp_map(warp), patterns()
    truth = brute_force(image, warp)
    errors = {}
    for how in INTERPOLATIONS:
        off = warped_image(image, placed, how, (0, 0, 0)).astype(float) - truth
        errors[how] = np.sqrt(np.square(off[placed.inside]).mean(axis=0))
    assert (errors["area"] < 0.4 * errors["linear"]).all(), errors
    assert (errors["linear"] < errors["nearest"]).all(), errors
    assert (errors["area"] < 16.0).all(), errors


def test_where_nothing_shrinks_area_is_linear():
    target = pinhole(200.0)
    placed, image = warp_map(CameraWarp(source=pinhole(100.0), target=target)), patterns()
    area, linear = (warped_image(image, placed, how, (0, 0, 0)) for how in ("area", "linear"))
    np.testing.assert_array_equal(area, linear)


@pytest.mark.parametrize("shrink", [2, 4, 16])
def test_a_shrunk_picture_is_the_mean_of_blocks(shrink):
    """A pinhole of a whole fraction of the size: every pixel covers exactly shrink x shrink pixels."""
    image = patterns()
    small = pinhole(100.0).resized(WIDTH // shrink, HEIGHT // shrink)
    warp = CameraWarp(source=pinhole(100.0), target=small)
    shrunk = warped_image(image, warp_map(warp), "area", (0, 0, 0)).astype(float)
    size = (WIDTH // shrink, HEIGHT // shrink)
    truth = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    off = np.abs(shrunk - truth)
    assert off.mean() < 4.0
    assert off.max() < 40.0


def test_a_grey_picture_stays_grey_and_nowhere_is_filled():
    target = KannalaBrandtCamera(width=100, height=80, fx=30.0, fy=30.0, cx=50.0, cy=40.0, theta_max=1.7)
    placed = warp_map(CameraWarp(source=pinhole(60.0), target=target))
    image = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
    for how in INTERPOLATIONS:
        warped = warped_image(image, placed, how, (1, 2, 3))
        assert (warped[placed.inside] == 77).all()
        assert (warped[~placed.inside] == (1, 2, 3)).all()
        assert 0.1 < placed.inside.mean() < 0.9


def test_one_channel_and_odd_sizes():
    image = patterns()[:-1, :-3, :1]
    source = pinhole(60.0, WIDTH - 3, HEIGHT - 1)
    target = KannalaBrandtCamera(width=71, height=53, fx=20.0, fy=20.0, cx=35.0, cy=26.0, theta_max=1.7)
    placed = warp_map(CameraWarp(source=source, target=target))
    warped = warped_image(image, placed, "area", (9,))
    assert warped.shape == (53, 71, 1)
    grey = warped_image(np.full_like(image, 50), placed, "area", (9,))
    assert set(np.unique(grey)) == {9, 50}
