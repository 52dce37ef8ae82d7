"""Conversions between camera models: exact where models contain each other, honest where they do not."""

import math

import numpy as np
import pytest

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import (
    CameraModel,
    CameraParameterError,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
)
from internimage_perception.geometry.conversion import Conversion, convert_camera
from internimage_perception.geometry.least_squares import least_squares

SIZE = {"width": 1280, "height": 966, "fx": 340.0, "fy": 342.5, "cx": 645.3, "cy": 478.9}
FAR = SIZE | {"fx": 1336.0, "fy": 1335.0}
FISHEYE = KannalaBrandtCamera(**SIZE, d=(0.02, -0.01, 0.002, -0.0003), theta_max=math.radians(97))
SOURCES = [
    FISHEYE,
    WoodScapeCamera(**SIZE, d=(-0.09, 0.14, -0.08)),
    MeiCamera(**FAR, xi=2.2134, d=(0.0168, 1.65, 4e-4, 1.8e-4)),
    EucmCamera(**SIZE, alpha=0.6, beta=1.1),
    DoubleSphereCamera(**SIZE, xi=-0.2, alpha=0.59),
    PinholeCamera(**(SIZE | {"fx": 700.0, "fy": 704.0}), d=(-0.3, 0.1, 1e-3, -2e-3, 0.0)),
]
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda camera: camera.model)


@each_source
def test_a_model_converts_into_itself(source: CameraModel) -> None:
    done = convert_camera(source, source.model)
    assert done.worst < 1e-3
    assert done.camera.fx == pytest.approx(source.fx, rel=1e-3)
    assert (done.camera.width, done.camera.height) == (source.width, source.height)


@pytest.mark.parametrize(
    ("source", "model", "rms", "worst"),
    [
        (FISHEYE, "woodscape", 0.1, 0.3),
        (FISHEYE, "mei", 0.02, 0.1),
        (FISHEYE, "eucm", 0.3, 0.8),
        (FISHEYE, "ds", 0.2, 0.6),
        (FISHEYE, "rational_polynomial", 0.001, 0.01),
        (SOURCES[1], "equidistant", 0.2, 1.2),
        (SOURCES[2], "equidistant", 0.2, 1.2),
        (SOURCES[3], "equidistant", 0.03, 0.3),
        (SOURCES[4], "equidistant", 0.01, 0.1),
        (SOURCES[4], "mei", 0.05, 0.5),
        (SOURCES[5], "mei", 0.01, 0.1),
    ],
    ids=lambda value: getattr(value, "model", str(value)),
)
def test_models_that_can_show_a_lens_do(source: CameraModel, model: str, rms: float, worst: float) -> None:
    reach = None if model == "rational_polynomial" else math.radians(100.0)
    done = convert_camera(source, model, theta_max=reach)
    assert done.rms < rms and done.worst < worst
    assert done.camera.theta_max == pytest.approx(done.theta_max)
    seen = done.error_map()[~np.isnan(done.error_map())]
    assert np.sqrt(np.mean(seen.astype(np.float64) ** 2)) == pytest.approx(done.rms, rel=0.1, abs=1e-4)


@pytest.mark.parametrize("source", SOURCES[:5], ids=lambda camera: camera.model)
def test_of_pinholes_only_the_rational_one_shows_a_fisheye_to_70_degrees(source: CameraModel) -> None:
    assert convert_camera(source, "pinhole").rms > 2.0
    assert convert_camera(source, "rational_polynomial").worst < 0.1


def ring_error(done: Conversion, low: float, high: float) -> float:
    """Measure the distance between both cameras' pixels in a ring, independently of the report."""
    turn, angle = np.meshgrid(np.linspace(0.0, 2.0 * np.pi, 720), np.linspace(low, high, 9))
    rays = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], -1)
    one, two = done.source.project(rays)[0], done.camera.project(rays)[0]
    seen = done.source.in_image(one)
    return float(np.nanmax(np.hypot(*np.moveaxis(one - two, -1, 0))[seen]))


@pytest.mark.parametrize("model", ["pinhole", "eucm", "double_sphere"])
def test_the_report_says_how_far_a_poor_fit_goes(model: str) -> None:
    done = convert_camera(SOURCES[1], model)
    assert np.all(np.diff(done.angles) > 0.0)
    for at in (len(done.angles) // 3, len(done.angles) // 2, len(done.angles) - 2):
        measured = ring_error(done, *done.angles[at - 1 : at + 1])
        assert measured == pytest.approx(done.errors[at], rel=0.1, abs=0.02)
    limit = done.agrees_to(0.5 * done.worst)
    inside = done.angles <= limit
    assert np.all(done.errors[inside] <= 0.5 * done.worst) and not inside.all()
    assert done.agrees_to(done.worst) == done.theta_max


def test_the_angle_to_fit_can_be_given() -> None:
    done = convert_camera(FISHEYE, "pinhole", theta_max=math.radians(40.0))
    assert done.theta_max == pytest.approx(math.radians(40.0))
    assert done.worst < convert_camera(FISHEYE, "pinhole").worst
    narrow = convert_camera(FISHEYE, "eucm", theta_max=math.radians(50.0))
    assert narrow.worst < convert_camera(FISHEYE, "eucm").worst
    assert np.isnan(narrow.error_map()[0, 0]) and not np.isnan(narrow.error_map()[480, 640])


def test_a_window_far_off_the_axis() -> None:
    window = FISHEYE.cropped(900, 100, 300, 300)
    done = convert_camera(window, "double_sphere")
    assert done.worst < 1.0 and done.camera.width == 300


def test_refusals() -> None:
    with pytest.raises(CameraParameterError, match="unknown camera model"):
        convert_camera(FISHEYE, "fish")
    with pytest.raises(CalibrationError, match="too little of the image"):
        convert_camera(FISHEYE.cropped(3000, 0, 100, 100), "eucm", theta_max=0.3)


def test_least_squares_keeps_to_its_bounds() -> None:
    x = np.linspace(0.0, 3.0, 50)

    def residual(vector: np.ndarray) -> np.ndarray:
        return vector[0] * np.exp(-vector[1] * x) - 2.0 * np.exp(-0.7 * x)

    free = np.array([np.inf, np.inf])
    cost, found = least_squares(residual, np.array([1.0, 0.1]), -free, free)
    np.testing.assert_allclose(found, (2.0, 0.7), rtol=1e-6)
    assert cost < 1e-16
    cost, found = least_squares(residual, np.array([1.0, 0.1]), -free, np.array([1.5, 0.7]))
    assert found[0] == 1.5 and 0.0 < found[1] < 0.7 and cost > 1e-4
    assert least_squares(lambda v: v * np.nan, np.ones(1), -free[:1], free[:1])[0] == np.inf
