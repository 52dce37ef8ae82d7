"""CameraInfo messages: field names of ROS 1 and 2, models, windows, binning, and what is refused."""

import array
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera, camera_from_info

K = (400.0, 0.0, 321.5, 0.0, 402.0, 239.0, 0.0, 0.0, 1.0)
PLUMB_BOB = (-0.3, 0.1, 1e-3, -5e-4, 0.02)


def info(**changes: object) -> SimpleNamespace:
    roi = {"x_offset": 0, "y_offset": 0, "width": 0, "height": 0, "do_rectify": False}
    roi.update(changes.pop("roi", {}))
    values = {
        "header": SimpleNamespace(frame_id="front_optical"), "width": 640, "height": 480,
        "distortion_model": "plumb_bob", "d": list(PLUMB_BOB), "k": list(K), "r": [0.0] * 9, "p": [0.0] * 12,
        "binning_x": 0, "binning_y": 0,
    }  # fmt: skip
    return SimpleNamespace(**(values | changes), roi=SimpleNamespace(**roi))


def test_plumb_bob() -> None:
    camera = camera_from_info(info())
    expected = PinholeCamera(width=640, height=480, fx=400.0, fy=402.0, cx=321.5, cy=239.0, d=PLUMB_BOB)
    assert camera == expected


@pytest.mark.parametrize("convert", [list, tuple, np.array, lambda values: array.array("d", values)])
def test_number_containers_of_all_client_libraries(convert: type) -> None:
    assert camera_from_info(info(d=convert(PLUMB_BOB), k=convert(K))) == camera_from_info(info())


def test_upper_case_fields_of_ros_1() -> None:
    message = info()
    message.D, message.K = message.d, message.k
    del message.d, message.k
    assert camera_from_info(message) == camera_from_info(info())


@pytest.mark.parametrize("name", ["equidistant", "fisheye"])
def test_fisheye_names(name: str) -> None:
    d = (0.05, -0.01, 0.003, -0.0005)
    camera = camera_from_info(info(distortion_model=name, d=d), theta_max=math.radians(95))
    assert isinstance(camera, KannalaBrandtCamera)
    assert camera.d == d
    assert camera.theta_max == math.radians(95)


def test_equidistant_without_distortion_is_f_theta() -> None:
    camera = camera_from_info(info(distortion_model="equidistant", d=[0.0] * 4))
    pixel, valid = camera.project((1.0, 0.0, 0.0))
    assert valid
    np.testing.assert_allclose(pixel, (321.5 + 400.0 * math.pi / 2, 239.0), atol=1e-9)


def test_rational_polynomial() -> None:
    d = (8.1, 3.4, 1e-3, -5e-4, 0.14, 8.4, 6.1, 1.1)
    expected = camera_from_info(info(distortion_model="rational_polynomial", d=d))
    assert isinstance(expected, PinholeCamera)
    assert expected.d == d
    longer = info(distortion_model="rational_polynomial", d=(*d, *(0.0,) * 6))
    assert camera_from_info(longer) == expected


@pytest.mark.parametrize(("model", "d"), [("", []), ("", [0.0] * 5), ("plumb_bob", [])])
def test_no_distortion(model: str, d: list[float]) -> None:
    camera = camera_from_info(info(distortion_model=model, d=d))
    assert camera == PinholeCamera(width=640, height=480, fx=400.0, fy=402.0, cx=321.5, cy=239.0)


def test_window_then_binning() -> None:
    """A driver that reads out a window and merges 2 x 4 pixels delivers exactly these pixel averages."""
    full = camera_from_info(info())
    camera = camera_from_info(
        info(roi={"x_offset": 100, "y_offset": 40, "width": 401, "height": 300}, binning_x=2, binning_y=4)
    )
    assert (camera.width, camera.height) == (200, 75)
    point = (0.1, -0.05, 1.0)
    u, v = full.project(point)[0]
    np.testing.assert_allclose(
        camera.project(point)[0], ((u - 100 + 0.5) / 2 - 0.5, (v - 40 + 0.5) / 4 - 0.5)
    )
    # A full-size window and binning 1 change nothing.
    assert camera_from_info(info(roi={"width": 640, "height": 480}, binning_x=1, binning_y=1)) == full


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": [0.0] * 9}, "uncalibrated"),
        ({"k": [0.0, *K[1:]]}, "fx .*greater than 0"),
        ({"k": [400.0, 0.5, *K[2:]]}, "skew"),
        ({"k": K[:8]}, "8 numbers instead of 9"),
        ({"k": [math.nan, *K[1:]]}, "not finite"),
        ({"d": "abc"}, "list of numbers"),
        ({"width": 0}, "image size is 0 x 480"),
        ({"height": 0}, "image size is 640 x 0"),
        ({"width": -4}, "at least 0"),
        ({"width": "640"}, "whole number"),
        (
            {"distortion_model": "omni"},
            "unknown distortion_model 'omni'; known: equidistant, fisheye, plumb_bob",
        ),
        ({"distortion_model": ""}, "empty although d has 5"),
        ({"d": [0.1, 0.2, 0.3]}, "takes 0 or 4 or 5 coefficients, but d has 3"),
        ({"distortion_model": "equidistant"}, "takes 4 coefficients, but d has 5"),
        ({"distortion_model": "equidistant", "d": []}, "takes 4 coefficients, but d has 0"),
        ({"distortion_model": "rational_polynomial"}, "takes 8 coefficients, but d has 5"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 12}, "takes 8 coefficients, but d has 12"),
        ({"roi": {"x_offset": 600, "width": 100, "height": 10}}, "region of interest, 100 x 10 at"),
        ({"roi": {"x_offset": 600}}, "region of interest"),
        ({"binning_x": 1000}, "leaves nothing"),
    ],
)
def test_refusals_name_the_frame_and_the_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CalibrationError, match=f"front_optical.*{reason}"):
        camera_from_info(info(**changes))


def test_something_else_is_no_camera_info() -> None:
    with pytest.raises(CalibrationError, match="width is None"):
        camera_from_info(object())
    with pytest.raises(CalibrationError, match="SimpleNamespace lacks the field 'k'"):
        camera_from_info(SimpleNamespace(width=1, height=1))


@pytest.mark.shared
@pytest.mark.parametrize(
    "bag",
    [
        "ubiquity_ros1/aruco_images.bag",
        "ubiquity_ros2/aruco_images_sqlite3",
        "ubiquity_ros2/aruco_images_mcap",
    ],
)
def test_real_recordings(shared_data: Path, bag: str) -> None:
    with AnyReader([shared_data / "bags" / bag]) as reader:
        connections = [c for c in reader.connections if c.msgtype == "sensor_msgs/msg/CameraInfo"]
        cameras = {
            camera_from_info(reader.deserialize(raw, connection.msgtype))
            for connection, _, raw in reader.messages(connections)
        }
    assert len(cameras) == 1
    camera = cameras.pop()
    assert isinstance(camera, PinholeCamera)
    assert (camera.width, camera.height) == (1280, 960)
    assert camera.fx == pytest.approx(1014.343, abs=1e-3)
    assert camera.cy == pytest.approx(469.566, abs=1e-3)
    assert camera.d[:2] == pytest.approx((0.157006, -0.286270), abs=1e-6)
    assert camera.valid_mask().all()
