"""Calibrations of ROS, Kalibr, OpenVINS, EuRoC, KITTI-360, VINS and WoodScape, and how each fails."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from support.calibration_files import (
    CAM0_TO_CAM1,
    CAM1_TO_CAM2,
    ECHO,
    IMU_TO_CAM0,
    KALIBR,
    KITTI_360,
    ROS,
    WOODSCAPE,
    load,
    only,
)

from internimage_perception.geometry import (
    CameraModel,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
)
from internimage_perception.geometry.poses import transform

ROS_LENS = {"width": 640, "height": 480, "fx": 430.21, "fy": 430.53, "cx": 306.9, "cy": 227.2}
ROS_D = (-0.3375, 0.1113, -0.000107, 0.000237, 0.0)


def test_ros_camera_calibration(tmp_path: Path) -> None:
    calibration = load(tmp_path, ROS)
    assert calibration.file_format == "ROS camera calibration"
    assert calibration.camera("narrow_left").camera == PinholeCamera(**ROS_LENS, d=ROS_D)
    assert load(tmp_path, ROS.replace("camera_name: narrow_left\n", "")).camera("side").camera == only(
        calibration
    )


@pytest.mark.parametrize(
    ("model", "d", "expected"),
    [
        ("plumb_bob", ROS_D[:4], PinholeCamera(**ROS_LENS, d=ROS_D)),
        ("equidistant", ROS_D[:4], KannalaBrandtCamera(**ROS_LENS, d=ROS_D[:4])),
        ("fisheye", ROS_D[:4], KannalaBrandtCamera(**ROS_LENS, d=ROS_D[:4])),
        (
            "rational_polynomial",
            (*ROS_D, 0.3, 0.2, 0.1),
            PinholeCamera(**ROS_LENS, d=(*ROS_D, 0.3, 0.2, 0.1)),
        ),
        ("mei", (1.2, *ROS_D[:4]), MeiCamera(**ROS_LENS, xi=1.2, d=ROS_D[:4])),
        ("eucm", (0.6, 1.1), EucmCamera(**ROS_LENS, alpha=0.6, beta=1.1)),
    ],
)
def test_models_of_ros_files(tmp_path: Path, model: str, d: tuple[float, ...], expected: CameraModel) -> None:
    start, rest = ROS.split("distortion_coefficients:")
    text = (
        start.replace("plumb_bob", model)
        + f"distortion_coefficients:\n  rows: 1\n  cols: {len(d)}\n  data: {list(d)}\n"
        + rest[rest.index("rectification_matrix") :]
    )
    assert only(load(tmp_path, text)) == expected


def test_printed_camera_info(tmp_path: Path) -> None:
    d = (0.05, -0.01, 0.003, -0.0005)
    full = KannalaBrandtCamera(width=1280, height=960, fx=325.5, fy=326.5, cx=639.5, cy=479.5, d=d)
    plain = ECHO.replace("binning_x: 2", "binning_x: 0").replace("1200", "0").replace("900", "0")
    plain = plain.replace("x_offset: 4", "x_offset: 0").replace("y_offset: 2", "y_offset: 0")
    calibration = load(tmp_path, plain)
    assert calibration.file_format == "CameraInfo message"
    assert calibration.camera("rear_optical").camera == full
    of_ros_1 = plain.replace("\nd: [", "\nD: [").replace("\nk: [", "\nK: [").replace("\np: [", "\nP: [")
    without_frame = of_ros_1.replace("  frame_id: rear_optical\n", "")
    assert load(tmp_path, without_frame).camera("side").camera == full
    camera = only(load(tmp_path, ECHO))
    assert (camera.width, camera.height) == (600, 900)
    u, v = full.project((0.5, 0.2, 1.0))[0]
    np.testing.assert_allclose(camera.project((0.5, 0.2, 1.0))[0], ((u - 4 + 0.5) / 2 - 0.5, v - 2))


SQUARE = {"width": 512, "height": 513}


def test_kalibr_chain(tmp_path: Path) -> None:
    calibration = load(tmp_path, KALIBR)
    assert calibration.file_format == "Kalibr camera chain"
    assert list(calibration.cameras) == ["cam0", "cam1", "cam2"]
    cameras = [calibration.camera(name) for name in calibration.cameras]
    assert [camera.image_topic for camera in cameras] == ["/cam0/image_raw", "/cam1/image_raw", ""]
    assert cameras[0].camera == KannalaBrandtCamera(
        **SQUARE, fx=190.978, fy=190.973, cx=254.93, cy=256.89, d=(0.0034, 0.00072, -0.0021, 0.0002)
    )
    assert cameras[1].camera == DoubleSphereCamera(
        **SQUARE, fx=160.1, fy=160.2, cx=255.3, cy=256.4, xi=-0.18, alpha=0.59
    )
    assert cameras[2].camera == MeiCamera(
        width=752, height=480, fx=833.006, fy=830.345, cx=373.85, cy=253.749, xi=0.80065662,
        d=(-0.335, 0.132, 0.00056, 0.00058),
    )  # fmt: skip
    point = np.array([0.3, -0.7, 2.1])
    in_second = transform(CAM0_TO_CAM1, point)
    in_third = transform(CAM1_TO_CAM2, in_second)
    np.testing.assert_allclose(transform(cameras[0].poses["cam0"], point), point, atol=1e-12)
    np.testing.assert_allclose(transform(cameras[1].poses["cam0"], in_second), point, atol=1e-12)
    np.testing.assert_allclose(transform(cameras[2].poses["cam0"], in_third), point, atol=1e-12)
    np.testing.assert_allclose(
        transform(cameras[0].poses["imu"], transform(IMU_TO_CAM0, point)), point, atol=1e-12
    )
    assert list(cameras[1].poses) == ["cam0"]


def test_cameras_that_share_their_lens_by_merging(tmp_path: Path) -> None:
    block = (
        "camera_model: pinhole, intrinsics: [9, 8, 4, 3], resolution: [8, 6], distortion_model: equidistant"
    )
    text = (
        f"cam0: &a {{{block}, distortion_coeffs: [0.1, 0, 0, 0]}}\n"
        "cam1: &b {<<: *a, intrinsics: [7, 7, 4, 3]}\n"
        "cam2: {<<: *b, resolution: [10, 6]}\n"
        "cam3: *b\n"
    )
    lenses = [item.camera for item in load(tmp_path, text).cameras.values()]
    assert [(lens.fx, lens.width, lens.d[0]) for lens in lenses] == [
        (9.0, 8, 0.1), (7.0, 8, 0.1), (7.0, 10, 0.1), (7.0, 8, 0.1)
    ]  # fmt: skip


def test_order_of_names_is_numerical(tmp_path: Path) -> None:
    block = "{camera_model: pinhole, intrinsics: [1, 1, 1, 1], resolution: [2, 2], distortion_model: none}"
    calibration = load(tmp_path, f"cam10: {block}\ncam2: {block}\n")
    assert list(calibration.cameras) == ["cam2", "cam10"]
    assert only(load(tmp_path, f"cam0: {block}")) == PinholeCamera(width=2, height=2, fx=1, fy=1, cx=1, cy=1)
    # No file says where these two are.
    assert [list(camera.poses) for camera in calibration.cameras.values()] == [["cam2"], []]


@pytest.mark.parametrize("key", ["T_cam_imu", "T_imu_cam"])
def test_poses_by_the_imu(tmp_path: Path, key: str) -> None:
    """OpenVINS writes T_imu_cam, in a file with OpenCV's head."""
    second = CAM0_TO_CAM1 @ IMU_TO_CAM0
    given = [np.linalg.inv(m) if key == "T_imu_cam" else m for m in (IMU_TO_CAM0, second)]
    blocks = [
        f"cam{i}:\n  {key}: {m.tolist()}\n  camera_model: eucm\n  intrinsics: [0.6, 1.1, 2, 3, 1, 1]\n"
        f"  resolution: [3, 2]\n  rostopic: /c{i}\n"
        for i, m in enumerate(given)
    ]
    calibration = load(tmp_path, "%YAML:1.0 # head\n\n" + "".join(blocks))
    expected = EucmCamera(width=3, height=2, fx=2, fy=3, cx=1, cy=1, alpha=0.6, beta=1.1)
    assert calibration.camera("cam1").camera == expected
    np.testing.assert_allclose(calibration.camera("cam1").poses["imu"] @ second, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(calibration.camera("cam1").poses["cam0"] @ CAM0_TO_CAM1, np.eye(4), atol=1e-12)


def test_euroc_sensor(tmp_path: Path) -> None:
    text = (
        "#Default\nsensor_type: camera\ncomment: VI-Sensor cam0\n"
        f"T_BS:\n  cols: 4\n  rows: 4\n  data: {np.linalg.inv(IMU_TO_CAM0).ravel().tolist()}\n"
        "rate_hz: 20\nresolution: [752, 480]\ncamera_model: pinhole\n"
        "intrinsics: [458.654, 457.296, 367.2, 248.4]\n"
        "distortion_model: radial-tangential\ndistortion_coefficients: [-0.28, 0.07, 0.0002, 1.8e-05]\n"
    )
    camera = load(tmp_path, text).camera("side")
    assert camera.camera == PinholeCamera(
        width=752, height=480, fx=458.654, fy=457.296, cx=367.2, cy=248.4, d=(-0.28, 0.07, 0.0002, 1.8e-05)
    )
    np.testing.assert_allclose(camera.poses["body"] @ IMU_TO_CAM0, np.eye(4), atol=1e-12)


def test_kitti_360(tmp_path: Path) -> None:
    camera = load(tmp_path, KITTI_360).camera("image_02").camera
    assert isinstance(camera, MeiCamera)
    assert (camera.width, camera.height) == (1400, 1402)
    x, y, z = 0.9, -0.5, 0.1
    length = math.sqrt(x * x + y * y + z * z)
    a, b = x / (z + 2.213404750785489 * length), y / (z + 2.213404750785489 * length)
    r2 = a * a + b * b
    k1, k2, p1, p2 = 0.016798235660113681, 1.6548773243373522, 4.2223943394772046e-04, 4.2462134260997584e-04
    radial = 1 + k1 * r2 + k2 * r2**2
    u = 1336.3220825849971 * (a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a)) + 716.94323510126321
    v = 1335.7883350012958 * (b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b) + 705.76498308221585
    np.testing.assert_allclose(camera.project((x, y, z))[0], (u, v), atol=1e-9)


def test_other_models_of_camodocal(tmp_path: Path) -> None:
    head = "image_width: 752\nimage_height: 480\n"
    numbers = "k2: 0.1, k3: 0.02, k4: -0.03, k5: 0.004, mu: 460, mv: 461, u0: 370, v0: 240"
    text = f"projection_parameters: {{{numbers}}}\n"
    size = {"width": 752, "height": 480, "fx": 460, "fy": 461, "cx": 370, "cy": 240}
    fisheye = load(tmp_path, f"%YAML:1.0\nmodel_type: KANNALA_BRANDT\n{head}{text}")
    assert only(fisheye) == KannalaBrandtCamera(**size, d=(0.1, 0.02, -0.03, 0.004))
    text = (
        "projection_parameters: {fx: 460, fy: 461, cx: 370, cy: 240}\n"
        "distortion_parameters: {k1: 0.1, k2: 0.2, p1: 0.003, p2: 0.004}\n"
    )
    assert only(load(tmp_path, f"{head}{text}")) == PinholeCamera(**size, d=(0.1, 0.2, 0.003, 0.004))


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_woodscape(tmp_path: Path, indent: object) -> None:
    calibration = load(tmp_path, json.dumps(WOODSCAPE, indent=indent))
    front = calibration.camera("FV")
    assert isinstance(front.camera, WoodScapeCamera)
    assert (front.camera.width, front.camera.height) == (1280, 966)
    for theta in (0.2, 1.0, 1.7):
        pixel = 339.749 * theta - 31.988 * theta**2 + 48.275 * theta**3 - 7.201 * theta**4
        turn = 0.7
        point = (math.sin(theta) * math.cos(turn), math.sin(theta) * math.sin(turn), math.cos(theta))
        expected = (
            pixel * math.cos(turn) + 3.942 + 1280 / 2 - 0.5,
            1.01 * pixel * math.sin(turn) - 3.093 + 966 / 2 - 0.5,
        )
        np.testing.assert_allclose(front.camera.project(point)[0], expected, atol=1e-9)
    # The published front lens: its radius rises all the way; half of the image's width lies at 94.9 degrees.
    assert front.camera.theta_max == math.pi
    ray, _ = front.camera.unproject((front.camera.cx + 640.0, front.camera.cy))
    assert math.degrees(math.atan2(ray[0], ray[2])) == pytest.approx(94.9, abs=0.05)
    # This quaternion turns the optical axes into x forward, y left, z up.
    vehicle = transform(front.poses["vehicle"], (0.1, 0.2, 5.0))
    np.testing.assert_allclose(vehicle, (3.75 + 5.0, 0.02 - 0.1, 0.65 - 0.2), atol=1e-12)


def test_woodscape_without_pose(tmp_path: Path) -> None:
    only_lens = {"intrinsic": WOODSCAPE["intrinsic"]}
    assert load(tmp_path, json.dumps(only_lens)).camera("side").poses == {}
