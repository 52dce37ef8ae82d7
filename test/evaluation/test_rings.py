"""Rings of viewing angle against lenses whose angles are known in closed form."""

import math

import numpy as np
import pytest

from internimage_perception.evaluation.rings import NO_RING, RING_EDGES_DEG, RINGS, ring_map, viewing_angles
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera


def test_names() -> None:
    assert RINGS == ("0-15", "15-30", "30-45", "45-60", "60-75", "75-90", "90+")


@pytest.mark.parametrize("scale", [1, 2, 0.5])
def test_ideal_fisheye(scale: float) -> None:
    # r = f theta exactly; 190 degrees fit into the image, the corners see nothing.
    lens = KannalaBrandtCamera(
        width=640, height=480, fx=140.0, fy=140.0, cx=315.2, cy=243.7, theta_max=math.radians(95)
    )
    width, height = int(640 * scale), int(480 * scale)
    rings = ring_map(lens, width, height)
    v, u = np.mgrid[:height, :width]
    x, y = (u + 0.5) / scale - 0.5 - 315.2, (v + 0.5) / scale - 0.5 - 243.7
    degrees = np.degrees(np.hypot(x, y) / 140.0)
    expected = np.minimum(np.floor(degrees / 15), 6)
    expected[degrees > 95] = NO_RING
    near = np.abs(degrees[..., None] - [*RING_EDGES_DEG[1:], 95]).min(axis=-1) < 1e-9
    np.testing.assert_array_equal(rings[~near], expected[~near])
    assert set(np.unique(rings)) == {*range(7), NO_RING}


def test_lower_edge_belongs_to_the_ring() -> None:
    # One pixel is one degree: pixel 15 off the centre looks 15 degrees aside.
    focal = 180 / math.pi
    lens = KannalaBrandtCamera(
        width=201, height=1, fx=focal, fy=focal, cx=100.0, cy=0.0, theta_max=math.radians(99.5)
    )
    row = ring_map(lens, 201, 1)[0]
    angles = np.degrees(viewing_angles(lens)[0])
    for edge in (15, 30, 45, 60, 75, 90):
        assert angles[100 + edge] == pytest.approx(edge, abs=1e-9)
        assert row[100 + edge - 1] == edge // 15 - 1 and row[100 + edge + 1] == edge // 15
    assert row[0] == row[200] == NO_RING and np.isnan(angles[0])
    assert row[100] == 0


def test_pinhole() -> None:
    lens = PinholeCamera(width=301, height=201, fx=100.0, fy=100.0, cx=150.0, cy=100.0)
    v, u = np.mgrid[:201, :301]
    expected = np.degrees(np.arctan(np.hypot(u - 150, v - 100) / 100)) // 15
    near = np.isclose(np.hypot(u - 150, v - 100), 100)  # 45 degrees
    np.testing.assert_array_equal(ring_map(lens, 301, 201)[~near], expected[~near])
