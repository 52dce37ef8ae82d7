"""UCM, Mei, EUCM, double sphere and WoodScape: identities, round trips, and where each model ends."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from internimage_perception.geometry import (
    CameraModel,
    CameraParameterError,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
    camera_from_dict,
)

SIZE = {"width": 1280, "height": 966, "fx": 400.0, "fy": 403.0, "cx": 641.3, "cy": 480.2}


def points_at(theta: np.ndarray, turn: np.ndarray, distance: float = 1.0) -> np.ndarray:
    return distance * np.stack(
        [np.sin(theta) * np.cos(turn), np.sin(theta) * np.sin(turn), np.cos(theta)], axis=-1
    )


unit = st.floats(0.0, 1.0)
mei = st.builds(
    lambda xi, d: MeiCamera(**SIZE, xi=xi, d=d),
    st.floats(0.0, 4.0),
    st.tuples(st.floats(-0.3, 1.7), st.floats(-0.3, 1.7), st.floats(-2e-3, 2e-3), st.floats(-2e-3, 2e-3)),
)
eucm = st.builds(lambda a, b: EucmCamera(**SIZE, alpha=a, beta=b), unit, st.floats(0.2, 5.0))
double_sphere = st.builds(lambda x, a: DoubleSphereCamera(**SIZE, xi=x, alpha=a), st.floats(-0.9, 1.0), unit)
woodscape = st.builds(
    lambda d: WoodScapeCamera(**SIZE, d=d),
    st.tuples(st.floats(-0.3, 0.3), st.floats(-0.2, 0.2), st.floats(-0.1, 0.1)),
)


@given(st.one_of(mei, eucm, double_sphere, woodscape), st.integers(0, 2**16))
def test_round_trips_over_the_whole_valid_region(camera: CameraModel, seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta = camera.theta_max * np.sqrt(rng.uniform(0.0, 0.9999, 400))
    rays = points_at(theta, rng.uniform(0.0, 2.0 * np.pi, 400))
    pixels, seen = camera.project(rays * rng.uniform(0.1, 50.0, (400, 1)))
    assert seen.all()
    # Where a pixel covers the whole sky, as next to a model's infinity, rounding of the pixel moves nothing.
    back, exist = camera.unproject(pixels)
    assert exist.all()
    np.testing.assert_allclose(back, rays, atol=2e-7)
    near = np.abs(pixels - (SIZE["cx"], SIZE["cy"])).max(axis=1) < 1e5
    np.testing.assert_allclose(camera.project(back)[0][near], pixels[near], rtol=0, atol=1e-6)
    inner = theta < 0.95 * camera.theta_max
    np.testing.assert_allclose(back[inner], rays[inner], atol=1e-10)


@given(st.one_of(mei, eucm, double_sphere, woodscape), st.floats(0.0, 6.3), st.floats(1e-5, 0.3))
def test_nothing_is_seen_beyond_the_rim(camera: CameraModel, turn: float, beyond: float) -> None:
    limit = camera.theta_max
    if limit + beyond < math.pi:
        outside = points_at(np.array([limit + beyond]), np.array([turn]), 3.0)
        assert not camera.project(outside)[1].any()
    narrow = dataclasses.replace(camera, theta_max=0.5 * limit)
    edge = points_at(np.array([0.5 * limit - 1e-9, 0.5 * limit + 1e-7]), np.full(2, turn))
    np.testing.assert_array_equal(narrow.project(edge)[1], [True, False])
    pixel = camera.project(edge)[0]
    pixel[0] -= 1e-4 * (pixel[0] - (camera.cx, camera.cy))
    pixel[1] += 1e-4 * (pixel[1] - (camera.cx, camera.cy))
    np.testing.assert_array_equal(narrow.unproject(pixel)[1], [True, False])


@given(unit, st.integers(0, 100))
def test_a_double_sphere_without_shift_is_an_eucm(alpha: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(300, 3))
    one, two = DoubleSphereCamera(**SIZE, xi=0.0, alpha=alpha), EucmCamera(**SIZE, alpha=alpha, beta=1.0)
    assert one.theta_max == pytest.approx(two.theta_max, abs=1e-12)
    np.testing.assert_allclose(one.project(points)[0], two.project(points)[0], rtol=1e-11, equal_nan=True)


@given(st.floats(0.0, 0.95), st.integers(0, 100))
def test_the_ucm_is_an_eucm_rescaled(alpha: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(300, 3))
    one = EucmCamera(**SIZE, alpha=alpha, beta=1.0)
    scaled = SIZE | {"fx": SIZE["fx"] / (1.0 - alpha), "fy": SIZE["fy"] / (1.0 - alpha)}
    two = MeiCamera(**scaled, xi=alpha / (1.0 - alpha))
    assert one.theta_max == pytest.approx(two.theta_max, abs=1e-7)
    theta = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
    inside, outside = theta < one.theta_max - 1e-6, theta > one.theta_max + 1e-6
    assert inside.any()
    for camera in (one, two):
        valid = camera.project(points)[1]
        assert valid[inside].all() and not valid[outside].any()
    np.testing.assert_allclose(one.project(points)[0][inside], two.project(points)[0][inside], rtol=1e-9)
    pixels = np.random.default_rng(seed).uniform((-3000.0, -3000.0), (4000.0, 4000.0), (300, 2))
    np.testing.assert_allclose(one.unproject(pixels)[0], two.unproject(pixels)[0], atol=1e-6, equal_nan=True)


def test_without_sphere_or_curve_they_are_what_they_generalise() -> None:
    points = np.random.default_rng(1).normal((0.0, 0.0, 1.0), size=(500, 3))
    d = (-0.2, 0.05, 1e-3, -2e-3)
    pairs = [
        (MeiCamera(**SIZE, xi=0.0, d=d), PinholeCamera(**SIZE, d=d)),
        (EucmCamera(**SIZE, alpha=0.0), PinholeCamera(**SIZE)),
        (WoodScapeCamera(**SIZE), KannalaBrandtCamera(**SIZE)),
        (WoodScapeCamera(**SIZE, d=(0.0, 0.02, 0.0)), KannalaBrandtCamera(**SIZE, d=(0.02, 0.0, 0.0, 0.0))),
    ]
    for one, two in pairs:
        np.testing.assert_allclose(one.project(points)[0], two.project(points)[0], rtol=1e-12)


def test_known_limits() -> None:
    assert MeiCamera(**SIZE, xi=0.5).theta_max == pytest.approx(math.radians(120.0))
    assert MeiCamera(**SIZE, xi=2.0).theta_max == pytest.approx(math.radians(120.0))
    assert EucmCamera(**SIZE, alpha=0.5).theta_max == pytest.approx(math.pi)
    # The double sphere's paper: cos(theta) = -(w + xi) / sqrt(2 w xi + xi^2 + 1), w = 3/7.
    bound = -(3.0 / 7.0 + 0.1) / math.sqrt(2.0 * 3.0 / 7.0 * 0.1 + 0.01 + 1.0)
    assert math.cos(DoubleSphereCamera(**SIZE, xi=0.1, alpha=0.7).theta_max) == pytest.approx(bound)
    # Radii at which images of spheres end: 1 / sqrt(xi^2 - 1), 1 / sqrt(beta (2 alpha - 1)).
    for camera, radius in (
        (MeiCamera(**SIZE, xi=2.0), 1.0 / math.sqrt(3.0)),
        (EucmCamera(**SIZE, alpha=0.7, beta=1.5), 1.0 / math.sqrt(1.5 * 0.4)),
        (DoubleSphereCamera(**SIZE, xi=0.0, alpha=0.7), 1.0 / math.sqrt(0.4)),
    ):
        edge = SIZE["cx"] + SIZE["fx"] * radius * np.array([1.0 - 1e-9, 1.0 + 1e-6])
        pixels = np.stack([edge, np.full(2, SIZE["cy"])], axis=-1)
        np.testing.assert_array_equal(camera.unproject(pixels)[1], [True, False])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "mei", "xi": -0.1}, "xi"),
        ({"model": "mei"}, "xi"),
        ({"model": "mei", "xi": 1.0, "d": [1.0]}, "p2"),
        ({"model": "eucm", "alpha": 1.2}, "alpha"),
        ({"model": "eucm", "alpha": 0.5, "beta": 0.0}, "beta"),
        ({"model": "double_sphere", "xi": -1.0, "alpha": 0.5}, "xi"),
        ({"model": "double_sphere", "xi": 1.5, "alpha": 0.5}, "xi"),
        ({"model": "double_sphere", "xi": 0.0, "alpha": -0.5}, "alpha"),
        ({"model": "woodscape", "d": [0.0] * 4}, "a2, a3, a4"),
    ],
)
def test_parameters_out_of_range_are_named(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CameraParameterError, match=reason):
        camera_from_dict(SIZE | changes)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("ucm", "mei"),
        ("omni", "mei"),
        ("ds", "double_sphere"),
        ("extended_unified", "eucm"),
        ("radial_poly", "woodscape"),
    ],
)
def test_other_names(alias: str, name: str) -> None:
    extra: dict[str, object] = {"mei": {"xi": 1.0}, "eucm": {"alpha": 0.5}}.get(name, {})
    if name == "double_sphere":
        extra = {"xi": 0.0, "alpha": 0.5}
    assert camera_from_dict(SIZE | {"model": alias} | extra).model == name
