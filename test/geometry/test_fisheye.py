"""Fisheye lenses: golden projections, round trips for any coefficients, and where OpenCV stops."""

import math
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.geometry import CameraParameterError, KannalaBrandtCamera
from internimage_perception.geometry.poses import invert, pose, transform

GOLDEN = sorted((Path(__file__).resolve().parents[1] / "golden").glob("project_fisheye_*.npz"))


def lens(d: tuple[float, ...] = (0.0,) * 4, **changes: float) -> KannalaBrandtCamera:
    values = {"width": 1280, "height": 960, "fx": 340.0, "fy": 338.0, "cx": 641.2, "cy": 470.3} | changes
    return KannalaBrandtCamera(d=d, **values)


def rays_at(thetas: np.ndarray, azimuths: int = 16) -> np.ndarray:
    theta, phi = np.meshgrid(thetas, np.linspace(-np.pi, np.pi, azimuths, endpoint=False))
    return np.stack((np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)), axis=-1)


def test_golden_files_are_here() -> None:
    assert len(GOLDEN) >= 3


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_projection(path: Path) -> None:
    data = np.load(path)
    k, (width, height) = data["K"], data["image_size_wh"].tolist()
    camera = KannalaBrandtCamera(
        width=width, height=height, fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2], d=data["D"],
        theta_max=math.radians(float(data["fov_deg"]) / 2),
    )  # fmt: skip
    assert camera.theta_max == pytest.approx(float(data["theta_max_rad"]), abs=1e-12)
    points = transform(invert(data["T_base_camera_optical"]), data["points_base"])
    pixels, valid = camera.project(points)
    np.testing.assert_array_equal(valid, data["valid_theta"])
    np.testing.assert_allclose(pixels[valid], data["uv"][valid], rtol=0, atol=1e-9)
    assert np.isnan(pixels[~valid]).all()
    # The reference counts 0 < u < width as inside; a pixel here reaches half a pixel around its centre.
    u, v = data["uv"].T
    off_edge = np.minimum.reduce([np.abs(u), np.abs(u - width), np.abs(v), np.abs(v - height)]) > 0.5
    rows = valid & off_edge
    np.testing.assert_array_equal(camera.in_image(pixels)[rows], data["in_image"][rows])


@settings(deadline=None, max_examples=150)
@given(
    d=st.tuples(*(st.floats(-scale, scale) for scale in (1.0, 0.6, 0.3, 0.1))),
    half_field=st.floats(0.3, 3.5),
    f=st.floats(80.0, 2000.0),
)
def test_round_trip_over_the_whole_valid_region(d: tuple[float, ...], half_field: float, f: float) -> None:
    camera = lens(d, fx=f, fy=f * 1.01, theta_max=half_field)
    edge = camera.theta_max
    near_edge = edge - 10.0 ** -np.arange(3.0, 16.0)
    thetas = np.concatenate((np.linspace(0.0, edge, 60), near_edge, 10.0 ** -np.arange(3.0, 12.0)))
    rays = rays_at(thetas[(thetas >= 0.0) & (thetas <= edge) & (thetas < math.pi - 1e-9)])
    pixels, valid = camera.project(rays)
    assert valid.all()
    back, exists = camera.unproject(pixels)
    assert exists.all()
    np.testing.assert_allclose(np.linalg.norm(back, axis=-1), 1.0, rtol=0, atol=1e-14)
    again, valid = camera.project(back)
    assert valid.all()
    size = np.maximum(1.0, np.abs(pixels).max(axis=-1, keepdims=True) / 1e4)
    assert (np.abs(again - pixels) / size).max() <= 1e-9


@settings(deadline=None, max_examples=50)
@given(
    d=st.tuples(*(st.floats(-scale, scale) for scale in (0.2, 0.1, 0.05, 0.02))),
    half_field=st.floats(0.8, 2.2),
)
def test_rays_are_accurate_away_from_the_fold(d: tuple[float, ...], half_field: float) -> None:
    camera = lens(d, theta_max=half_field)
    rays = rays_at(np.linspace(0.0, 0.9 * camera.theta_max, 50))
    back, _ = camera.unproject(camera.project(rays)[0])
    np.testing.assert_allclose(back, rays, rtol=0, atol=1e-11)


def test_profile_never_folds_inside_the_limit() -> None:
    camera = lens((0.02, -0.09, 0.01, 0.0))
    assert math.degrees(camera.theta_max) == pytest.approx(78.264428, abs=1e-6)
    radii = camera.project(rays_at(np.linspace(0, camera.theta_max, 2000), 1))[0][0, :, 0]
    assert (np.diff(radii[::-1]) > 0).all()
    # At 100 degrees the polynomial comes back into the image; such a point must not.
    pixels, valid = camera.project(rays_at(np.array([math.radians(100.0)])))
    assert not valid.any()
    assert not camera.in_image(pixels).any()


def test_ideal_lens_is_f_theta_and_not_a_pinhole() -> None:
    camera = lens(theta_max=math.radians(100), fx=300.0, fy=300.0, cx=640.0, cy=480.0)
    for degrees in (10.0, 45.0, 90.0, 99.0):
        pixels, valid = camera.project(rays_at(np.radians([degrees]), 1)[0])
        assert valid[0]
        np.testing.assert_allclose(pixels[0], (640.0 - 300.0 * math.radians(degrees), 480.0), atol=1e-10)


def test_axis_right_angle_centre_and_behind() -> None:
    camera = lens((0.01, 0.0, 0.0, 0.0))
    points = [(0, 0, 2.0), (1.0, 0, 0), (0, 0, 0), (0, 0, -1.0), (0, 1e-7, -1.0), (2e-9, 0, 2e-9)]
    pixels, valid = camera.project(points)
    assert valid.tolist() == [True, True, False, False, True, True]
    np.testing.assert_array_equal(pixels[0], (camera.cx, camera.cy))
    quarter = math.pi / 2
    assert pixels[1, 0] == pytest.approx(camera.cx + camera.fx * quarter * (1 + 0.01 * quarter**2), abs=1e-10)


def test_camera_centre_reached_through_a_pose_is_invalid() -> None:
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    base_from_camera = pose((3.61, -0.37, 0.713), rotation * np.sign(np.linalg.det(rotation)))
    centre = transform(invert(base_from_camera), base_from_camera[:3, 3])
    assert np.abs(centre).max() < 1e-12
    for point in (centre, np.full(3, 1e-16), np.zeros(3)):
        assert not lens().project(point)[1]


def test_limits_are_inclusive_and_sharp() -> None:
    camera = lens(theta_max=math.radians(95))
    inside, outside = rays_at(np.array([camera.theta_max])), rays_at(np.array([camera.theta_max + 1e-9]))
    assert camera.project(inside)[1].all()
    assert not camera.project(outside)[1].any()
    reach = camera.fx * camera.theta_max
    pixels = [(camera.cx + reach, camera.cy), (camera.cx + reach + 1e-6, camera.cy)]
    assert camera.unproject(pixels)[1].tolist() == [True, False]


def test_non_finite_input_is_invalid_without_warnings() -> None:
    bad = (np.nan, np.inf, -np.inf)
    points = [(x, y, z) for x in (*bad, 1.0) for y in (*bad, 1.0) for z in (*bad, 1.0)][:-1]
    camera = lens((0.1, 0.0, 0.0, 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels, valid = camera.project(points)
        rays, exists = camera.unproject([(u, v) for u in (*bad, 1.0) for v in (*bad, 1.0)][:-1])
    assert not valid.any()
    assert not exists.any()
    assert np.isnan(pixels).all()
    assert np.isnan(rays).all()


def opencv(camera: KannalaBrandtCamera, points: np.ndarray) -> np.ndarray:
    k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    flat = points.reshape(-1, 1, 3)
    return cv2.fisheye.projectPoints(flat, np.zeros(3), np.zeros(3), k, np.array(camera.d))[0].reshape(-1, 2)


def test_agrees_with_opencv_below_90_degrees() -> None:
    camera = lens((0.045, -0.012, 0.0035, -0.0006))
    rays = rays_at(np.radians(np.linspace(1, 89.5, 200)))
    pixels, valid = camera.project(rays)
    assert valid.all()
    np.testing.assert_allclose(pixels.reshape(-1, 2), opencv(camera, rays), rtol=0, atol=1e-8)


def test_opencv_mirrors_beyond_90_degrees_and_this_model_does_not() -> None:
    camera = lens((0.045, -0.012, 0.0035, -0.0006))
    ray = np.array([[math.sin(math.radians(91)), 0.0, math.cos(math.radians(91))]])
    ours, valid = camera.project(ray)
    assert valid[0]
    assert ours[0, 0] > camera.project([[1.0, 0.0, 0.0]])[0][0, 0] > camera.cx
    # The trap this class exists for: OpenCV divides by z and lands on the other side of the image.
    assert opencv(camera, ray)[0, 0] < camera.cx


def test_mask_is_the_set_of_pixels_with_a_ray() -> None:
    small = {"width": 320, "height": 240, "fx": 60.0, "fy": 61.0, "cx": 160.5, "cy": 119.0}
    camera = lens((0.045, -0.012, 0.0035, -0.0006), **small, theta_max=math.radians(95))
    mask = camera.valid_mask()
    np.testing.assert_array_equal(mask, camera.unproject(camera.pixel_grid())[1])
    assert mask.shape == (240, 320)
    assert 0.3 < mask.mean() < 0.8
    assert camera.valid_mask() is mask
    assert not mask.flags.writeable


@pytest.mark.parametrize("d", [(0.1, 0.2, 0.3), (0.0,) * 5, ()])
def test_wrong_number_of_coefficients(d: tuple[float, ...]) -> None:
    with pytest.raises(CameraParameterError, match="4 numbers") as caught:
        lens(d)
    assert caught.value.key == "d"
