"""What every camera model shares: sizes, dictionaries, equality, shapes, registration."""

import copy
import dataclasses
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    camera_from_dict,
    register_camera_model,
)

SIZE = {"width": 640, "height": 480, "fx": 200.0, "fy": 201.5, "cx": 318.7, "cy": 241.1}
FISHEYE = KannalaBrandtCamera(**SIZE, d=(0.045, -0.012, 0.0035, -0.0006), theta_max=math.radians(95))
PINHOLE = PinholeCamera(**SIZE, d=(-0.3, 0.1, 1e-3, -5e-4, 0.02))
RATIONAL = PinholeCamera(**SIZE, d=(8.1, 3.4, 1e-3, -5e-4, 0.14, 8.4, 6.1, 1.1), theta_max=0.7123456789012345)
MEI = MeiCamera(**SIZE, xi=2.2, d=(0.017, 1.6, 4e-4, 2e-4), theta_max=1.6)
EUCM = EucmCamera(**SIZE, alpha=0.6, beta=1.1)
DOUBLE_SPHERE = DoubleSphereCamera(**SIZE, xi=-0.2, alpha=0.59)
WOODSCAPE = WoodScapeCamera(**SIZE, d=(-0.09, 0.14, -0.08))
CAMERAS = pytest.mark.parametrize(
    "camera",
    [FISHEYE, PINHOLE, RATIONAL, MEI, EUCM, DOUBLE_SPHERE, WOODSCAPE],
    ids=lambda camera: camera.model,
)
POINTS = np.random.default_rng(3).normal((0.0, 0.0, 1.0), size=(200, 3))


@CAMERAS
@given(width=st.integers(1, 2000), height=st.integers(1, 2000))
def test_resizing_moves_pixels_by_their_centres(camera: CameraModel, width: int, height: int) -> None:
    pixels, valid = camera.project(POINTS)
    resized = camera.resized(width, height)
    scaled, valid_resized = resized.project(POINTS)
    np.testing.assert_array_equal(valid, valid_resized)
    expected = (pixels + 0.5) * (width / camera.width, height / camera.height) - 0.5
    np.testing.assert_allclose(scaled[valid], expected[valid], rtol=1e-12, atol=1e-9)
    assert (resized.width, resized.height, resized.theta_max) == (width, height, camera.theta_max)


@CAMERAS
def test_cropping_moves_the_first_pixel(camera: CameraModel) -> None:
    window = camera.cropped(100, 50, 300, 200)
    assert (window.width, window.height) == (300, 200)
    pixels, valid = camera.project(POINTS)
    np.testing.assert_allclose(window.project(POINTS)[0][valid], pixels[valid] - (100, 50), atol=1e-10)
    np.testing.assert_array_equal(window.valid_mask(), camera.valid_mask()[50:250, 100:400])
    padded = camera.cropped(-10, -20, 700, 600)
    np.testing.assert_array_equal(padded.valid_mask()[20:500, 10:650], camera.valid_mask())


@CAMERAS
def test_dictionary_round_trip_is_exact(camera: CameraModel) -> None:
    values = camera.to_dict()
    again = camera_from_dict(values)
    assert again == camera
    assert hash(again) == hash(camera)
    assert type(again) is type(camera)
    assert all(type(value) in {int, float, str, list} for value in values.values())


def test_dictionary_says_the_field_of_view_in_degrees_where_that_is_exact() -> None:
    assert FISHEYE.to_dict()["theta_max_deg"] == 95.0
    assert RATIONAL.to_dict()["theta_max"] == 0.7123456789012345
    assert not {"theta_max", "theta_max_deg"} & set(PINHOLE.to_dict())


def test_equality_is_by_value_and_class() -> None:
    assert dataclasses.replace(FISHEYE, fx=200.1) != FISHEYE
    assert KannalaBrandtCamera(**SIZE) != PinholeCamera(**SIZE)
    assert len({FISHEYE, copy.copy(FISHEYE), FISHEYE.resized(640, 480)}) == 1
    FISHEYE.valid_mask()
    assert pickle.loads(pickle.dumps(FISHEYE)) == FISHEYE
    with pytest.raises(dataclasses.FrozenInstanceError):
        FISHEYE.fx = 1.0  # type: ignore[misc]


@CAMERAS
def test_any_leading_shape_and_number_type(camera: CameraModel) -> None:
    expected, expected_valid = camera.project(POINTS)
    for shape in ((200,), (4, 50), (2, 2, 50), (1, 200)):
        pixels, valid = camera.project(POINTS.reshape(*shape, 3))
        np.testing.assert_array_equal(pixels, expected.reshape(*shape, 2))
        np.testing.assert_array_equal(valid, expected_valid.reshape(shape))
    one, valid = camera.project(POINTS[0])
    assert one.shape == (2,)
    assert valid.shape == ()
    ray, exists = camera.unproject(one.tolist())
    assert ray.shape == (3,)
    assert exists.shape == ()
    assert camera.project(np.empty((0, 3)))[0].shape == (0, 2)
    assert camera.unproject(np.empty((5, 0, 2)))[0].shape == (5, 0, 3)
    single = POINTS.astype(np.float32)
    np.testing.assert_array_equal(camera.project(single)[0], camera.project(single.astype(np.float64))[0])
    assert camera.project([[0, 0, 5]])[0].dtype == np.float64


@CAMERAS
def test_inputs_are_not_written_to_and_blocks_do_not_show(camera: CameraModel) -> None:
    many = np.tile(POINTS, (200, 1))
    many.flags.writeable = False
    pixels, valid = camera.project(many)
    np.testing.assert_array_equal(pixels, np.tile(camera.project(POINTS)[0], (200, 1)))
    pixels.flags.writeable = False
    rays, exists = camera.unproject(pixels)
    np.testing.assert_array_equal(exists, valid)
    cosine = (rays[valid] * many[valid]).sum(axis=-1) / np.linalg.norm(many[valid], axis=-1)
    np.testing.assert_allclose(cosine, 1.0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(2,), (4, 2), ()])
def test_wrong_shapes_are_programming_errors(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"points must have the shape \(\.\.\., 3\)"):
        FISHEYE.project(np.zeros(shape))
    with pytest.raises(ValueError, match=r"pixels must have the shape"):
        FISHEYE.unproject(np.zeros((5, 3)))


def test_a_pixel_reaches_half_a_pixel_around_its_centre() -> None:
    pixels = [(-0.5, 0), (-0.51, 0), (639.49, 479.49), (639.5, 0), (0, 479.5), (np.nan, 0), (3, np.inf)]
    assert FISHEYE.in_image(pixels).tolist() == [True, False, True, False, False, False, False]


def test_pixel_grid_is_column_then_row() -> None:
    grid = FISHEYE.pixel_grid()
    assert grid.shape == (480, 640, 2)
    assert grid[7, 31].tolist() == [31.0, 7.0]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("width", 0, "at least 1"),
        ("height", 10.5, "whole number"),
        ("width", 1e30, "at most 65536 pixels"),
        ("height", 65537, "at most 65536 pixels"),
        ("fx", 1e308, r"between -1e\+09 and 1e\+09"),
        ("cy", -1e300, r"between -1e\+09 and 1e\+09"),
        ("fx", 0.0, "greater than 0"),
        ("fy", -3.0, "greater than 0"),
        ("cx", math.nan, "finite"),
        ("cy", math.inf, "finite"),
        ("fx", "300", "a number"),
        ("fx", True, "a number"),
        ("cx", None, "a number"),
        ("theta_max", 0.0, "greater than 0"),
        ("theta_max", math.nan, "finite"),
        ("d", (0.0, 0.0, 0.0, math.nan), "finite"),
        ("d", 0.1, "4 numbers"),
        ("d", (0.0, 0.0, 0.0, 1e300), "between"),
    ],
)
def test_parameters_out_of_range_are_named(key: str, value: object, reason: str) -> None:
    with pytest.raises(CameraParameterError, match=reason) as caught:
        dataclasses.replace(KannalaBrandtCamera(**SIZE), **{key: value})
    assert caught.value.key == key
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"model": "equidistand"},
            r"unknown camera model 'equidistand' \(did you mean 'equidistant'\?\).*pinhole",
        ),
        ({"focal": 3.0}, "unknown key 'focal' of model 'equidistant'; known keys: cx"),
        ({"theta_max": 1.0, "theta_max_deg": 60}, "not both"),
        ({"theta_max_deg": "wide"}, "must be a number"),
    ],
)
def test_dictionaries_that_do_not_fit_say_why(change: dict[str, object], reason: str) -> None:
    with pytest.raises(CalibrationError, match=reason):
        camera_from_dict({"model": "equidistant", **SIZE} | change)


@pytest.mark.parametrize("missing", ["model", "fx", "height"])
def test_missing_keys_are_named(missing: str) -> None:
    values = {"model": "pinhole", **SIZE}
    del values[missing]
    with pytest.raises(CameraParameterError, match=missing) as caught:
        camera_from_dict(values)
    assert caught.value.key == missing


@pytest.mark.parametrize("name", ["equidistant", "fisheye", "kannala_brandt"])
def test_fisheye_aliases(name: str) -> None:
    assert camera_from_dict({"model": name, **SIZE}) == KannalaBrandtCamera(**SIZE)


def test_a_new_model_only_registers() -> None:
    @register_camera_model("test_stereographic_alias")
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Stereographic(KannalaBrandtCamera):
        model = "test_stereographic"
        xi: float = 1.0

    camera = camera_from_dict({"model": "test_stereographic_alias", **SIZE, "xi": 0.5})
    assert isinstance(camera, Stereographic)
    assert camera.xi == 0.5
    assert camera_from_dict(camera.to_dict()) == camera


def test_geometry_needs_no_offline_library() -> None:
    code = (
        "import sys, internimage_perception.geometry\n"
        "assert not {'torch', 'scipy', 'rosbags', 'rclpy', 'pydantic', 'matplotlib'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env={"PYTHONPATH": str(root)})
