"""Perspective cameras: agreement with OpenCV, round trips, and no folding outside the monotone region."""

import math
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.geometry import CameraParameterError, PinholeCamera

PLUMB_BOB = (-0.35, 0.15, 1e-3, -5e-4, -0.03)
RATIONAL = (8.1, 3.4, 1e-3, -5e-4, 0.14, 8.4, 6.1, 1.1)


def lens(d: tuple[float, ...] = (), **changes: float) -> PinholeCamera:
    values = {"width": 1280, "height": 960, "fx": 700.0, "fy": 705.0, "cx": 641.2, "cy": 470.3} | changes
    return PinholeCamera(d=d, **values)


def rays_at(thetas: np.ndarray, azimuths: int = 16) -> np.ndarray:
    theta, phi = np.meshgrid(thetas, np.linspace(-np.pi, np.pi, azimuths, endpoint=False))
    return np.stack((np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)), axis=-1)


@pytest.mark.parametrize(
    "d", [(), (0.1, -0.2, 0.001, 0.002), PLUMB_BOB, RATIONAL], ids=["ideal", "4", "5", "8"]
)
def test_agrees_with_opencv(d: tuple[float, ...]) -> None:
    camera = lens(d)
    rays = rays_at(np.linspace(0.0, min(camera.theta_max, math.radians(80)) * 0.98, 100)).reshape(-1, 3)
    pixels, valid = camera.project(rays)
    assert valid.all()
    k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    expected = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), k, np.array(d) if d else None)[0].reshape(
        -1, 2
    )
    np.testing.assert_allclose(pixels, expected, rtol=1e-12, atol=1e-9)


def _round_trip(camera: PinholeCamera) -> None:
    edge = camera.theta_max
    thetas = np.concatenate((np.linspace(0.0, edge, 50), edge - 10.0 ** -np.arange(3.0, 16.0)))
    # A pixel on the horizon of a perspective image lies at infinity; stay within 10000 pixels.
    rays = rays_at(thetas[(thetas >= 0.0) & (np.tan(thetas) >= 0.0) & (np.tan(thetas) < 1e3)])
    pixels, valid = camera.project(rays)
    assert valid.all()
    near = np.abs(pixels).max(axis=-1) < 1e4
    back, exists = camera.unproject(pixels)
    assert exists[near].all()
    again, valid = camera.project(back)
    assert valid[near].all()
    np.testing.assert_allclose(again[near], pixels[near], rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=150)
@given(
    k=st.tuples(*(st.floats(-scale, scale) for scale in (0.8, 0.8, 0.6))),
    p=st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)),
)
def test_round_trip_plumb_bob(k: tuple[float, ...], p: tuple[float, float]) -> None:
    _round_trip(lens((k[0], k[1], *p, k[2])))


@settings(deadline=None, max_examples=150)
@given(
    k=st.tuples(*(st.floats(0.0, scale) for scale in (10.0, 6.0, 0.5, 10.0, 6.0, 1.5))),
    p=st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)),
)
def test_round_trip_rational(k: tuple[float, ...], p: tuple[float, float]) -> None:
    _round_trip(lens((k[0], k[1], *p, *k[2:])))


@settings(deadline=None, max_examples=60)
@given(
    k=st.tuples(*(st.floats(-scale, scale) for scale in (0.6, 0.6, 0.3))),
    p=st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03)),
)
def test_pixels_with_a_ray_project_back_to_themselves(k: tuple[float, ...], p: tuple[float, float]) -> None:
    camera = lens((k[0], k[1], *p, k[2]), fx=400.0, fy=400.0)
    pixels = camera.pixel_grid()[::60, ::64]
    rays, exists = camera.unproject(pixels)
    np.testing.assert_array_equal(exists, camera.valid_mask()[::60, ::64])
    again, valid = camera.project(rays[exists])
    assert valid.all()
    np.testing.assert_allclose(again, pixels[exists], rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    k=st.tuples(*(st.floats(-scale, scale) for scale in (0.8, 0.8, 0.6))),
    p=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
)
def test_jacobian_keeps_its_sign_inside_and_loses_it_at_the_limit(
    k: tuple[float, ...], p: tuple[float, float]
) -> None:
    camera = lens((k[0], k[1], *p, k[2]), fx=1.0, fy=1.0, cx=0.0, cy=0.0)
    reach = math.tan(camera.theta_max)
    if reach > 50.0:
        return

    def determinants(radius: float) -> np.ndarray:
        phi = np.linspace(0, 2 * np.pi, 720)
        a, b = radius * np.cos(phi), radius * np.sin(phi)
        t = radius * radius
        ratio = 1 + k[0] * t + k[1] * t**2 + k[2] * t**3
        bend = 2 * (k[0] + 2 * k[1] * t + 3 * k[2] * t**2)
        xx = ratio + bend * a * a + 2 * p[0] * b + 6 * p[1] * a
        yy = ratio + bend * b * b + 6 * p[0] * b + 2 * p[1] * a
        return xx * yy - (bend * a * b + 2 * p[0] * a + 2 * p[1] * b) ** 2

    assert min(determinants(reach * share).min() for share in np.linspace(0.0, 0.999, 50)) > 0.0
    assert determinants(reach * 1.001).min() < determinants(0.0).max() * 0.05


def test_barrel_distortion_does_not_fold_back() -> None:
    camera = lens((-0.35, 0.05, 0.0, 0.0, 0.0))
    limit = camera.theta_max
    assert math.degrees(limit) < 60.0
    # This point lies outside the monotone region, yet the polynomial puts it into the image.
    point = np.array([math.tan(1.05), 0.0, 1.0])
    r2 = point[0] ** 2
    assert abs(camera.fx * point[0] * (1 - 0.35 * r2 + 0.05 * r2**2)) < 640.0
    assert not camera.project(point)[1]


def test_points_behind_and_on_the_image_plane_are_invalid() -> None:
    camera = lens()
    _, valid = camera.project(
        [(0, 0, -1.0), (1.0, 0, 0), (0, 0, 0), (1.0, 0, -0.5), (0, 0, 1.0), (3.0, 2.0, 1.0)]
    )
    assert valid.tolist() == [False, False, False, False, True, True]
    assert camera.project([(0, 0, 1e-16), (1e-17, 0, 1e-17), (0, 0, 1e-8)])[1].tolist() == [
        False,
        False,
        True,
    ]
    assert camera.theta_max == math.pi / 2


def test_field_of_view_narrows_the_lens() -> None:
    camera = lens(theta_max=math.radians(40))
    assert camera.project(rays_at(np.radians([39.9, 40.1]), 1))[1].tolist() == [[True, False]]
    assert not camera.valid_mask()[0, 0]
    assert camera.valid_mask()[480, 640]
    assert lens(theta_max=3.0).theta_max == math.pi / 2


def test_non_finite_input_is_invalid_without_warnings() -> None:
    bad = (np.nan, np.inf, -np.inf)
    points = [(x, y, z) for x in (*bad, 1.0) for y in (*bad, 1.0) for z in (*bad, 1.0)][:-1]
    for d in ((), PLUMB_BOB, RATIONAL):
        camera = lens(d)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _, valid = camera.project(points)
            _, exists = camera.unproject([(u, v) for u in (*bad, 1.0) for v in (*bad, 1.0)][:-1])
        assert not valid.any()
        assert not exists.any()


def test_coefficients_are_kept_in_one_form() -> None:
    assert lens().d == (0.0,) * 5
    assert lens((0.1, 0.2, 0.3, 0.4)).d == (0.1, 0.2, 0.3, 0.4, 0.0)
    assert lens((0.1, 0.2, 0.3, 0.4, 0.5, 0.0, 0.0, 0.0)) == lens((0.1, 0.2, 0.3, 0.4, 0.5))
    assert lens(RATIONAL).d == RATIONAL
    with pytest.raises(CameraParameterError, match="k1, k2, p1, p2"):
        lens((0.1, 0.2))
