import cv2
import numpy as np
import pytest

from internimage_perception.training.pipeline.resampling import Grid, moved_image


def scaling(shape, width, height, *, shift=(0.0, 0.0), size=None):
    """Return the grid of a resized picture's part."""
    scale = np.array([width / shape[1], height / shape[0]])
    matrix = np.concatenate([np.diag(scale), ((scale - 1) / 2 - shift)[:, None]], axis=1)
    return Grid(matrix, shape[:2], size or (height, width))


@pytest.mark.parametrize("factor", [0.9, 0.75, 0.66, 0.5, 0.42, 0.3, 0.25, 0.13])
def test_smaller_pictures_have_next_to_no_aliases(factor):
    """A fine grating turns grey, as its average does, where plain interpolation shows false stripes."""
    columns = np.arange(480)
    grating = np.broadcast_to((columns % 2 * 200).astype(np.uint8)[None, :, None], (360, 480, 3)).copy()
    noise = np.random.default_rng(0).integers(0, 256, (360, 480, 3), np.uint8)
    width, height = round(480 * factor), round(360 * factor)
    for picture in (grating, noise):
        area = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(float)
        ours = moved_image(picture, scaling(picture.shape, width, height))
        plain = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
        error, plain_error = (np.sqrt(np.mean((item - area)[2:-2, 2:-2] ** 2)) for item in (ours, plain))
        if factor <= 0.5:
            assert error <= 0.45 * plain_error
        assert error < 1.05 * plain_error + 1.0
        assert abs(float(ours.mean()) - float(picture.mean())) < 1.5


@pytest.mark.parametrize("factor", [0.2, 0.33, 0.5, 0.6, 0.8, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_image_and_labels_stay_on_each_other(factor, mirrored, blocks):
    image, labels = blocks(np.random.default_rng(1), 203, 305, side=40)
    width, height = round(305 * factor), round(203 * factor)
    grid = scaling(image.shape, width, height, shift=(5, 3), size=(height - 9, width - 12))
    if mirrored:
        matrix = grid.matrix.copy()
        matrix[0] = -matrix[0] + (0, 0, width - 13)
        grid = Grid(matrix, grid.source, grid.size)
    moved, ids = moved_image(image, grid), grid.nearest(labels, 255)
    assert grid.inside is None
    kernel = np.ones((5, 5), np.uint8)
    flat = cv2.erode(ids, kernel) == cv2.dilate(ids, kernel)
    assert flat.mean() > 0.1
    off = np.abs(moved[..., 1].astype(int) - ids.astype(int) * 19) * flat
    assert off[2:-2, 2:-2].max() <= 1


def test_whole_shifts_copy_pixels_as_they_are(blocks):
    image, labels = blocks(np.random.default_rng(2), 40, 60, side=1)
    grid = Grid(np.array([[1.0, 0, -7], [0, 1.0, -4]]), (40, 60), (20, 30))
    assert np.array_equal(moved_image(image, grid), image[4:24, 7:37])
    assert np.array_equal(grid.nearest(labels, 255), labels[4:24, 7:37])
    flipped = Grid(np.array([[-1.0, 0, 29 + 7], [0, 1.0, -4]]), (40, 60), (20, 30))
    assert np.array_equal(moved_image(image, flipped), image[4:24, 7:37][:, ::-1])
    assert moved_image(image, grid).base is None or not np.shares_memory(moved_image(image, grid), image)


@pytest.mark.parametrize(("x", "y"), [(-5, -3), (50, 30), (70, 5), (-40, 0), (3, 90), (-80, -80)])
def test_beyond_the_picture_nothing_is_invented(x, y, blocks):
    image, labels = blocks(np.random.default_rng(3), 40, 60, side=1)
    canvas = np.full((240, 260), 255, np.uint8)
    canvas[100:140, 100:160] = labels
    for scale in (1.0, 1.0 + 1e-3):
        grid = Grid(np.array([[scale, 0, -x * scale], [0, scale, -y * scale]]), (40, 60), (20, 30))
        assert np.array_equal(grid.nearest(labels, 255), canvas[100 + y : 120 + y, 100 + x : 130 + x])
        assert np.array_equal(grid.inside, canvas[100 + y : 120 + y, 100 + x : 130 + x] != 255)
        assert moved_image(image, grid).shape == (20, 30, 3)


def test_places_are_inverted():
    matrix = np.array([[0.9, -0.3, 4.0], [0.2, 1.1, -6.0]])
    grid = Grid(matrix, (40, 60), (40, 60))
    there = matrix @ (7.0, 8.0, 1.0)
    assert grid.inverse @ (*there, 1.0) == pytest.approx((7.0, 8.0))
