"""What is said about calibrations that cannot be used: file, line, camera, key."""

import json
from pathlib import Path

import pytest
from support.calibration_files import (
    ECHO,
    KALIBR,
    KITTI_360,
    ROS,
    WOODSCAPE,
    load,
    only,
    woodscape,
)

from internimage_perception.errors import CalibrationError

PROBLEMS = [
    (ECHO.replace("325.5", "0.0"), ":1: CameraInfo message: fx of this equidistant camera is 0.0"),
    (ECHO.replace("width: 1280", "width: -1"), ":5: CameraInfo message: width: must be a whole number"),
    (ECHO.replace("equidistant", "omni"), "CameraInfo message: unknown distortion_model 'omni'"),
    (ECHO.replace("width: 1200", "width: 1300"), "CameraInfo message: the region of interest"),
    (ECHO.replace("[0.05", "[x"), ":7: CameraInfo message: d: must be a number, not 'x'"),
    (ROS.replace("distortion_model: plumb_bob\n", ""), "ROS .*: distortion_model: this key is missing"),
    (
        ROS.replace("plumb_bob", "kannala"),
        ":8: ROS camera calibration: distortion_model: unknown .* 'kannala'",
    ),
    (
        ROS.replace("plumb_bob", "equidistant"),
        "distortion_coefficients: .* takes 4 coefficients, but d has 5",
    ),
    (ROS.replace("[430.21", "[-430.21"), ":4: .*camera_matrix: fx of this pinhole camera is -430.21"),
    (ROS.replace("[430.21, 0", "[430.21, 0.7"), "camera_matrix: has the skew 0.7"),
    (ROS.replace("image_width: 640", "image_width: wide"), ":1: .*image_width: must be a number, not 'wide'"),
    (
        ROS.replace("image_width: 640", "image_width: -640"),
        ":1: .*image_width: must be a whole number of pixels, at least 1, not -640",
    ),
    (ROS.replace("[383.1, 0,", "[383.1,"), "projection_matrix.data: has 11 numbers, .* 3 x 4"),
    (ROS.replace("0, 0, 1]\ndist", "0, 0, 1, 7]\ndist"), ":7: .*camera_matrix.data: has 10 numbers"),
    (
        KALIBR.replace("ds\n", "fov\n"),
        ":12: Kalibr camera chain, camera 'cam1': camera_model: 'fov' is unknown",
    ),
    (
        KALIBR.replace("equidistant", "fov"),
        "cam0.: distortion_model: 'fov' on 'pinhole': .*not supported; with",
    ),
    (
        KALIBR.replace("none", "radtan"),
        "cam1.: distortion_model: 'radtan' on 'ds': unknown; .* these are: none",
    ),
    (KALIBR.replace("coeffs: []", "coeffs: [0.1]"), "cam1.: distortion_coeffs: has coefficients although"),
    (KALIBR.replace("[190.978,", "[1, 190.978,"), "must be the 4 numbers fx, fy, cx, cy, not 5 numbers"),
    (KALIBR.replace("[-0.18,", "[-1.18,"), "cam1.: intrinsics: xi of this double_sphere camera is -1.18"),
    (KALIBR.replace("[0.0034, ", "["), "cam0.: distortion_coeffs: of 'equidistant' must be 4 numbers, not 3"),
    (
        KALIBR.replace("[512, 513]", "[512, -513]"),
        "cam0.: resolution: must be a whole number of pixels, at least 1, not -513",
    ),
    (KALIBR.replace("[512, 513]", "[512]"), "resolution: must be width and height, not 1 numbers"),
    (
        KALIBR.replace("cam0:", "cam7:"),
        ":11: .*'cam1': T_cn_cnm1: refers to the camera before, which the file",
    ),
    (KALIBR.replace("cam1:", "cam3:"), "'cam2': T_cn_cnm1: refers to cam1, which is missing"),
    (KALIBR.replace("T_cn_cnm1: [[", "T_cn_cnm1: [[9"), "cam1.: T_cn_cnm1: .* is not a rotation"),
    (KALIBR.replace("rostopic: /cam0/image_raw", "rostopic: 7"), "cam0.: rostopic: must be a text, not 7"),
    (KALIBR + "cam3: 5\n", "camera 'cam3': must be a mapping"),
    (KITTI_360.replace("MEI", "SCARAMUZZA"), ":3: KITTI-360: model_type: is 'SCARAMUZZA'; known are MEI,"),
    (KITTI_360.replace("   xi: 2.", "   xi: -2."), ":8: KITTI-360: mirror_parameters.xi: must be at least 0"),
    (KITTI_360.replace("   v0:", "   v:"), "projection_parameters.v0: this key is missing"),
    (KITTI_360.replace("1.3363220825849971e+03", ".nan"), "projection_parameters.gamma1: must be a finite"),
    (KITTI_360.replace("gamma1: 1", "gamma1: -1"), "gamma1: fx of this mei camera is -1336"),
    (
        KITTI_360.replace("image_height: 1402", "image_height: 0"),
        "image_height: must be a whole number of pixels, at least 1, not 0",
    ),
    (woodscape(model="mei"), "WoodScape: intrinsic.model: is 'mei'; only radial_poly"),
    (woodscape(poly_order=5), "intrinsic.poly_order: is 5"),
    (woodscape(k1=-1.0), "intrinsic.k1: must be greater than 0"),
    (woodscape(k2=None), "intrinsic.k2: must be a finite number, not None"),
    (woodscape(k3=1e400), "intrinsic.k3: must be a"),
    (woodscape(aspect_ratio=-1), "intrinsic.aspect_ratio: fy of this woodscape camera"),
    (woodscape(width=-1280), "intrinsic.width: must be a whole number .* not -1280"),
    (
        json.dumps(WOODSCAPE).replace("0.5, -0.5, 0.5", "0.9, -0.5, 0.5"),
        "extrinsic.quaternion: .* has length",
    ),
    (json.dumps(WOODSCAPE).replace("3.75, ", ""), "extrinsic.translation: must be a list of 3 numbers"),
    (json.dumps(WOODSCAPE | {"name": 3}), "WoodScape: name: must be a text, not 3"),
]


@pytest.mark.parametrize(("text", "reason"), PROBLEMS)
def test_complaints_name_file_line_and_key(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CalibrationError, match=reason) as caught:
        load(tmp_path, text)
    assert caught.match(r"side\.txt:\d+: ")


def test_the_caller_contradicts_the_file(tmp_path: Path) -> None:
    assert only(load(tmp_path, KITTI_360, model="mei", size=(1400, 1402))).model == "mei"
    with pytest.raises(CalibrationError, match="'image_02': is a mei camera, although model='equidistant'"):
        load(tmp_path, KITTI_360, model="fisheye")
