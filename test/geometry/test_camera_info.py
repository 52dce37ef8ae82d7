"""CameraInfo messages: field names of ROS 1 and 2, models, windows, binning, and what is refused."""

import array
import math
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import (
    CameraModel,
    CylindricalCamera,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
    camera_from_info,
    camera_to_info,
)

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
            "unknown distortion_model 'omni'; known: cylindrical, double_sphere, equidistant, eucm, fisheye,",
        ),
        ({"distortion_model": ""}, "empty although d has 5"),
        ({"d": [0.1, 0.2, 0.3]}, "takes 0 or 4 or 5 coefficients, but d has 3"),
        ({"distortion_model": "equidistant"}, "takes 4 coefficients, but d has 5"),
        ({"distortion_model": "equidistant", "d": []}, "takes 4 coefficients, but d has 0"),
        ({"distortion_model": "rational_polynomial"}, "takes 8 coefficients, but d has 5"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 12}, "takes 8 coefficients, but d has 12"),
        ({"distortion_model": "mei", "d": [1.2]}, "takes 5 or 6 coefficients, but d has 1"),
        ({"distortion_model": "mei", "d": [-1.2, 0.0, 0.0, 0.0, 0.0]}, "xi of this mei camera is -1.2"),
        ({"distortion_model": "eucm", "d": [0.6]}, "takes 2 coefficients, but d has 1"),
        ({"distortion_model": "double_sphere", "d": [0.0, 1.5]}, "alpha of this double_sphere camera"),
        ({"distortion_model": "woodscape", "d": [0.1] * 4}, "takes 3 coefficients, but d has 4"),
        ({"roi": {"x_offset": 600, "width": 100, "height": 10}}, "region of interest, 100 x 10 at"),
        ({"roi": {"x_offset": 600}}, "region of interest"),
        ({"binning_x": 1000}, "leaves nothing"),
    ],
)
def test_refusals_name_the_frame_and_the_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CalibrationError, match=f"front_optical.*{reason}"):
        camera_from_info(info(**changes))


pixels = st.floats(1.0, 4000.0)
image = st.fixed_dictionaries(
    {"width": st.integers(1, 4000), "height": st.integers(1, 4000)}
    | dict.fromkeys(("fx", "fy", "cx", "cy"), pixels),
    optional={"theta_max": st.floats(0.1, math.pi)},
)
small, unit = st.floats(-0.1, 0.1), st.floats(0.0, 1.0)


def cameras(cls: type[CameraModel], **parameters: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(lambda size, values: cls(**size, **values), image, st.fixed_dictionaries(parameters))


@given(
    st.one_of(
        cameras(PinholeCamera, d=st.sampled_from([(), PLUMB_BOB, (*PLUMB_BOB, 0.3, 0.1, 0.02)])),
        cameras(PinholeCamera, d=st.tuples(*[small] * 8)),
        cameras(KannalaBrandtCamera, d=st.tuples(*[small] * 4)),
        cameras(MeiCamera, xi=st.floats(0.0, 3.0), d=st.tuples(*[small] * 5)),
        cameras(EucmCamera, alpha=unit, beta=st.floats(0.1, 5.0)),
        cameras(DoubleSphereCamera, xi=st.floats(-0.9, 1.0), alpha=unit),
        cameras(WoodScapeCamera, d=st.tuples(*[small] * 3)),
        cameras(CylindricalCamera),
    )
)
def test_camera_info_and_back_is_the_same_camera(camera: CameraModel) -> None:
    fields = camera_to_info(camera)
    assert camera_from_info(fields, theta_max=camera.theta_max) == camera
    assert camera_to_info(camera_from_info(fields)) == fields
    k = np.array(fields.k).reshape(3, 3)
    np.testing.assert_array_equal(np.array(fields.p).reshape(3, 4), np.hstack((k, np.zeros((3, 1)))))
    np.testing.assert_array_equal(np.array(fields.r).reshape(3, 3), np.eye(3))


SIZE = {"width": 64, "height": 48, "fx": 30.0, "fy": 31.0, "cx": 32.5, "cy": 23.0}


@pytest.mark.parametrize(
    ("camera", "name", "d"),
    [
        (PinholeCamera(**SIZE), "plumb_bob", (0.0,) * 5),
        (PinholeCamera(**SIZE, d=PLUMB_BOB[:4]), "plumb_bob", (*PLUMB_BOB[:4], 0.0)),
        (
            PinholeCamera(**SIZE, d=(*PLUMB_BOB, 0.3, 0.1, 0.02)),
            "rational_polynomial",
            (*PLUMB_BOB, 0.3, 0.1, 0.02),
        ),
        (KannalaBrandtCamera(**SIZE, d=(0.1, 0.2, 0.3, 0.4)), "equidistant", (0.1, 0.2, 0.3, 0.4)),
        (MeiCamera(**SIZE, xi=1.5, d=(0.1, 0.2, 3e-3, 4e-3)), "mei", (1.5, 0.1, 0.2, 3e-3, 4e-3, 0.0)),
        (EucmCamera(**SIZE, alpha=0.6, beta=1.1), "eucm", (0.6, 1.1)),
        (DoubleSphereCamera(**SIZE, xi=-0.2, alpha=0.6), "double_sphere", (-0.2, 0.6)),
        (WoodScapeCamera(**SIZE, d=(-0.1, 0.1, -0.02)), "woodscape", (-0.1, 0.1, -0.02)),
        (CylindricalCamera(**SIZE), "cylindrical", ()),
    ],
)
def test_names_and_order_of_coefficients(camera: CameraModel, name: str, d: tuple[float, ...]) -> None:
    fields = camera_to_info(camera)
    assert (fields.width, fields.height) == (64, 48)
    assert fields.k == (30.0, 0.0, 32.5, 0.0, 31.0, 23.0, 0.0, 0.0, 1.0)
    assert fields.distortion_model == name
    assert fields.d == d
    assert camera_from_info(info(**vars(fields))) == camera


def test_mei_without_k3() -> None:
    camera = camera_from_info(info(distortion_model="mei", d=(1.5, 0.1, 0.2, 3e-3, 4e-3)))
    assert isinstance(camera, MeiCamera)
    assert camera.xi == 1.5
    assert camera.d == (0.1, 0.2, 3e-3, 4e-3, 0.0)


def test_models_from_outside_have_no_name() -> None:
    class OtherCamera(CameraModel):
        model: ClassVar[str] = "other"
        _theta_limit = lambda _: 1.0
        _project = _unproject = _has_ray = None

    with pytest.raises(CalibrationError, match="known for 'other' cameras"):
        camera_to_info(OtherCamera(**SIZE))


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
