"""Cylinders and rows of pinholes: where directions land, and the way there and back."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera
from internimage_perception.geometry.views import (
    CylindricalCamera,
    TiledView,
    cylindrical_view,
    remap_tables,
    tiled_pinhole_view,
)

LENS = KannalaBrandtCamera(
    width=640, height=480, fx=200.0, fy=201.0, cx=318.0, cy=241.0, d=(-0.02, 0.003, -0.002, 0.0004),
    theta_max=math.radians(95),
)  # fmt: skip
VIEWS = [
    cylindrical_view(600, 300, horizontal_deg=185.0, pitch_deg=10.0),
    tiled_pinhole_view(3, 240, 320, horizontal_deg=170.0, pitch_deg=10.0),
    tiled_pinhole_view(1, 300, 200, horizontal_deg=80.0),
]
each_view = pytest.mark.parametrize("view", VIEWS, ids=["cylinder", "tiles", "pinhole"])


@given(st.integers(0, 1000), st.floats(0.3, math.pi))
def test_a_cylinder_there_and_back(seed: int, theta_max: float) -> None:
    camera = CylindricalCamera(
        width=900, height=400, fx=300.0, fy=310.0, cx=450.0, cy=199.0, theta_max=theta_max
    )
    points = np.random.default_rng(seed).normal(size=(300, 3)) * (1.0, 0.7, 1.0)
    pixels, valid = camera.project(points)
    angle = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
    np.testing.assert_array_equal(valid, angle <= theta_max)
    rays, exist = camera.unproject(pixels[valid])
    assert exist.all()
    np.testing.assert_allclose(
        rays, points[valid] / np.linalg.norm(points[valid], axis=1)[:, None], atol=1e-12
    )


def test_edges_of_the_world_stay_upright_on_a_cylinder() -> None:
    camera = VIEWS[0].tiles[0].camera
    height = np.linspace(-2.0, 2.0, 9)
    for azimuth in (-1.5, 0.2, 1.6):
        foot = 4.0 * np.array([math.sin(azimuth), 0.0, math.cos(azimuth)])
        pixels, valid = camera.project(foot + height[:, None] * (0.0, 1.0, 0.0))
        assert valid.all() and np.ptp(pixels[:, 0]) < 1e-9
        np.testing.assert_allclose(np.diff(pixels[:, 1], 2), 0.0, atol=1e-9)


@each_view
def test_tables_lead_to_where_the_lens_sees_the_same_direction(view: TiledView) -> None:
    columns, rows = view.maps_from(LENS)
    assert columns.shape == rows.shape == (view.height, view.width)
    for tile in view.tiles:
        rays, _ = tile.camera.unproject(tile.camera.pixel_grid())
        pixels, seen = LENS.project(rays @ tile.source_from_tile.T)
        part = slice(tile.x, tile.x + tile.camera.width)
        np.testing.assert_array_equal(columns[:, part] == -1.0, ~seen)
        np.testing.assert_allclose(columns[:, part][seen], pixels[seen][:, 0], atol=1e-4)
        np.testing.assert_allclose(rows[:, part][seen], pixels[seen][:, 1], atol=1e-4)


@each_view
def test_the_way_back_inverts_the_way_there(view: TiledView) -> None:
    """A smooth image of directions survives the way to the view and back."""
    grid = LENS.pixel_grid().astype(np.float32)
    there = [cv2.remap(grid[..., k], *view.maps_from(LENS), cv2.INTER_LINEAR) for k in range(2)]
    columns, rows = view.maps_to(LENS)
    known = columns >= 0.0
    assert known.mean() > 0.1
    back = [cv2.remap(image, columns, rows, cv2.INTER_LINEAR) for image in there]
    # Where a seam or a border of the view is interpolated over, neighbours are strangers.
    inside = cv2.erode(known.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    for tile in view.tiles:
        inside &= np.abs(columns - tile.x) > 1.5
        inside &= np.abs(columns - (tile.x + tile.camera.width - 1)) > 1.5
    error = np.hypot(back[0] - grid[..., 0], back[1] - grid[..., 1])[inside]
    assert np.quantile(error, 0.99) < 0.1


def test_the_middle_of_a_view_is_what_lies_ahead() -> None:
    """Turned up by the camera's tilt, the view's middle row is the horizon."""
    tilt = math.radians(10.0)
    ahead = np.array([0.0, -math.sin(tilt), math.cos(tilt)])  # level, in a camera that looks down
    right = np.array([1.0, 0.0, 0.0])
    for view in VIEWS[:2]:
        middle = view.tiles[len(view.tiles) // 2]
        pixel, _ = middle.camera.project(ahead @ middle.source_from_tile)
        np.testing.assert_allclose(pixel, (middle.camera.cx, middle.camera.cy), atol=1e-9)
    last = VIEWS[1].tiles[-1]
    assert (right @ last.source_from_tile)[2] > 0.5
    pixel, _ = VIEWS[0].tiles[0].camera.project(right @ VIEWS[0].tiles[0].source_from_tile)
    assert pixel[0] == pytest.approx(299.5 + 600 * 90.0 / 185.0)


def test_remap_tables_between_the_same_camera_are_the_pixels() -> None:
    pinhole = PinholeCamera(width=70, height=130, fx=50.0, fy=50.0, cx=33.0, cy=66.0)
    columns, rows = remap_tables(pinhole, pinhole)
    np.testing.assert_allclose(columns, np.arange(70)[None, :] * np.ones((130, 1)), atol=1e-4)
    np.testing.assert_allclose(rows, np.arange(130)[:, None] * np.ones((1, 70)), atol=1e-4)


@pytest.mark.parametrize("degrees", [0.0, -5.0, 400.0])
def test_fields_of_view_out_of_range(degrees: float) -> None:
    with pytest.raises(CalibrationError, match="horizontal_deg"):
        cylindrical_view(100, 100, horizontal_deg=degrees)
    with pytest.raises(CalibrationError, match="share"):
        tiled_pinhole_view(2, 100, 100, horizontal_deg=degrees)
    with pytest.raises(CalibrationError, match="share"):
        tiled_pinhole_view(0, 100, 100, horizontal_deg=90.0)
