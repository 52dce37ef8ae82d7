"""What no calibration should hold and no caller should ask, asked of every camera model."""

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pytest

from internimage_perception.geometry import (
    CameraModel,
    CylindricalCamera,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
)

SIZE = {"width": 64, "height": 48, "fx": 80.0, "fy": 81.6, "cx": 30.3, "cy": 25.1}
ONE = float(np.nextafter(1.0, 0.0))
CAMERAS: dict[str, CameraModel] = {
    "f-theta": KannalaBrandtCamera(**SIZE),
    "kannala-brandt": KannalaBrandtCamera(**SIZE, d=(0.045, -0.012, 0.0035, -0.0006)),
    "folds at 78 degrees": KannalaBrandtCamera(**SIZE, d=(0.02, -0.09, 0.01, 0.0)),
    "folds at once": KannalaBrandtCamera(**SIZE, d=(-1e9, 0.0, 0.0, 0.0)),
    "steep": KannalaBrandtCamera(**SIZE, d=(1e9, -1e8, 1e9, 1e9)),
    "woodscape": WoodScapeCamera(**SIZE, d=(-0.094, 0.142, -0.021)),
    "woodscape that folds": WoodScapeCamera(**SIZE, d=(-6.3, 0.0, 0.0)),
    "pinhole": PinholeCamera(**SIZE),
    "barrel": PinholeCamera(**SIZE, d=(-0.35, 0.05, 1e-3, -5e-4, 0.0)),
    "pole": PinholeCamera(**SIZE, d=(0.1, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0, 0.0)),
    "tangential": PinholeCamera(**SIZE, d=(0.0, 0.0, 0.05, -0.04, 0.0)),
    "ucm that is a pinhole": MeiCamera(**SIZE, xi=0.0),
    "ucm that is almost one": MeiCamera(**SIZE, xi=1e-300),
    "stereographic": MeiCamera(**SIZE, xi=1.0),
    "almost stereographic": MeiCamera(**SIZE, xi=ONE),
    "kitti-360": MeiCamera(**SIZE, xi=2.2, d=(0.017, 1.65, 4e-4, 4e-4)),
    "far centre": MeiCamera(**SIZE, xi=1e4),
    "eucm, alpha 0": EucmCamera(**SIZE, alpha=0.0, beta=0.5),
    "eucm, alpha denormal": EucmCamera(**SIZE, alpha=5e-324),
    "eucm, alpha 1/2": EucmCamera(**SIZE, alpha=0.5, beta=2.0),
    "eucm": EucmCamera(**SIZE, alpha=0.6, beta=1.1),
    "eucm, alpha almost 1": EucmCamera(**SIZE, alpha=ONE),
    "eucm, alpha 1": EucmCamera(**SIZE, alpha=1.0, beta=2.0),
    "double sphere": DoubleSphereCamera(**SIZE, xi=-0.2, alpha=0.59),
    "double sphere, alpha 0": DoubleSphereCamera(**SIZE, xi=-0.5, alpha=0.0),
    "double sphere, alpha 1": DoubleSphereCamera(**SIZE, xi=-0.3, alpha=1.0),
    "double sphere, xi and alpha 1": DoubleSphereCamera(**SIZE, xi=1.0, alpha=1.0),
    "double sphere, xi 1": DoubleSphereCamera(**SIZE, xi=1.0, alpha=0.4),
    "double sphere, xi -0.99": DoubleSphereCamera(**SIZE, xi=-0.99, alpha=0.7),
    "cylinder": CylindricalCamera(**SIZE),
}
every_camera = pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def points_at(theta: np.ndarray, turn: np.ndarray) -> np.ndarray:
    sine = np.sin(theta)
    return np.stack([sine * np.cos(turn), sine * np.sin(turn), np.cos(theta)], axis=-1)


@every_camera
def test_any_three_numbers_give_a_pixel_or_nothing(camera: CameraModel) -> None:
    numbers = (0.0, -0.0, 1.0, -2.0, 5e-324, 1e-300, 1e-10, 1e300, 1.7e308, math.nan, math.inf, -math.inf)
    points = np.array(list(itertools.product(numbers, repeat=3)))
    pixels, valid = camera.project(points)
    assert np.isfinite(pixels[valid]).all() and np.isnan(pixels[~valid]).all()
    assert valid[np.flatnonzero((points == (0.0, 0.0, 1.0)).all(axis=1))].all()
    assert not valid[~np.isfinite(points).all(axis=1)].any()
    assert not valid[np.abs(points).max(axis=1) <= 1e-10].any()
    assert not camera.project([(0.0, 0.0, -1.0), (-0.0, 0.0, -5.0)])[1].any()


@every_camera
def test_any_two_numbers_give_a_ray_or_nothing(camera: CameraModel) -> None:
    near = np.concatenate((np.linspace(-200.0, 260.0, 41), [camera.cx, 1e-300, 1e9, -1e200, 1.7e308]))
    numbers = (*near, math.nan, math.inf, -math.inf)
    pixels = np.array(list(itertools.product(numbers, repeat=2)))
    rays, exist = camera.unproject(pixels)
    assert np.isnan(rays[~exist]).all() and not exist[~np.isfinite(pixels).all(axis=1)].any()
    np.testing.assert_allclose(np.linalg.norm(rays[exist], axis=1), 1.0, rtol=0, atol=1e-14)
    again, valid = camera.project(rays[exist])
    close = np.abs(pixels[exist]).max(axis=1) < 1e4
    assert valid[close].all()
    # Beyond 50 focal lengths a ray tells its pixel no better than this.
    np.testing.assert_allclose(again[close], pixels[exist][close], rtol=0, atol=1e-8)
    centre, exists = camera.unproject((camera.cx, camera.cy))
    assert exists
    np.testing.assert_array_equal(centre, (0.0, 0.0, 1.0))


@every_camera
@pytest.mark.parametrize("share", [1.0, 0.999999, 0.5, 1e-3, 1e-6])
def test_the_rim_belongs_to_the_lens(camera: CameraModel, share: float) -> None:
    """However narrow a lens, and however its pixels are rounded: what it sees has a ray, which it sees."""
    narrow = dataclasses.replace(camera, theta_max=share * camera.theta_max, cx=1000.3, cy=-700.1)
    inside = narrow.theta_max * np.array([1.0, 1.0 - 1e-15, 1.0 - 1e-12, 1.0 - 1e-9, 0.999, 0.5, 0.0])
    theta, turn = np.meshgrid(inside, np.linspace(-3.0, 3.0, 13))
    pixels, valid = narrow.project(points_at(theta, turn))
    # Where the radius is infinite, or straight behind any direction of the image, the rim itself is no pixel.
    almost = narrow.project(
        points_at(narrow.theta_max * np.array([1.0 - 1e-3, 1.0 - 1e-6]), np.full(2, 0.3))
    )[0]
    before, last = np.abs(almost - (narrow.cx, narrow.cy)).max(axis=1)
    if not last < 20.0 * before or narrow.theta_max > 3.14:
        assert share > 0.99
        theta = theta.clip(max=0.9999 * narrow.theta_max)
        pixels, valid = narrow.project(points_at(theta, turn))
    assert valid.all()
    within = valid & (np.abs(pixels).max(axis=-1) < 1e5)
    rays, exist = narrow.unproject(pixels[within])
    assert exist.all()
    again, seen = narrow.project(rays)
    assert seen.all()
    np.testing.assert_allclose(again, pixels[within], rtol=1e-10, atol=1e-9)


@every_camera
def test_nothing_beyond_the_limit_folds_back(camera: CameraModel) -> None:
    beyond = camera.theta_max + np.array([1e-6, 1e-4, 0.01, 0.1, 0.5, 1.0, 2.0])
    theta, turn = np.meshgrid(beyond[beyond < 3.14], np.linspace(-3.1, 3.1, 25))
    assert not camera.project(points_at(theta, turn))[1].any()


@every_camera
def test_borders_are_pixels_like_others(camera: CameraModel) -> None:
    u, v = (-0.5, 0.0, SIZE["width"] - 1.0, SIZE["width"] - 0.5), (-0.5, 0.0, SIZE["height"] - 1.0)
    pixels = np.array(list(itertools.product(u, v)))
    inside = [(a, b) for a, b in pixels if a < SIZE["width"] - 0.5]
    assert camera.in_image(pixels).tolist() == [tuple(pixel) in inside for pixel in pixels.tolist()]
    np.testing.assert_array_equal(camera.valid_mask(), camera.unproject(camera.pixel_grid())[1])
    rays, exist = camera.unproject(pixels)
    again, valid = camera.project(rays)
    np.testing.assert_array_equal(valid, exist)
    np.testing.assert_allclose(again[exist], pixels[exist], rtol=0, atol=1e-9)


@every_camera
def test_any_memory_layout_and_number_type(camera: CameraModel) -> None:
    points = points_at(0.9 * min(camera.theta_max, 1.5) * np.linspace(0.0, 1.0, 24), np.arange(24.0))
    pixels, _ = camera.project(points)
    rays, _ = camera.unproject(pixels)
    wide = np.zeros((24, 9))
    wide[:, ::3] = points
    for same in (points[::-1][::-1], np.asfortranarray(points), wide[:, ::3], points.astype(">f8")):
        np.testing.assert_array_equal(camera.project(same)[0], pixels)
    np.testing.assert_array_equal(camera.unproject(np.asfortranarray(pixels))[0], rays)
    half = points.astype(np.float16)
    np.testing.assert_array_equal(camera.project(half)[0], camera.project(half.astype(np.float64))[0])
    ahead = camera.project(np.array([[0, 0, 3]], np.int16))
    assert ahead[1].all() and ahead[0].tolist() == [[camera.cx, camera.cy]]
    for shape in ((0,), (3, 0), (0, 4)):
        found, valid = camera.project(np.empty((*shape, 3), np.float32))
        assert (found.shape, valid.shape, valid.dtype) == ((*shape, 2), shape, np.bool_)
        found, valid = camera.unproject(np.empty((*shape, 2), np.float32))
        assert (found.shape, valid.shape, found.dtype) == ((*shape, 3), shape, np.float64)
