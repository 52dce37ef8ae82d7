"""Calibration files in the styles of ROS, Kalibr, KITTI-360 and WoodScape, to load and to damage."""

import json
from pathlib import Path

from internimage_perception.geometry import Calibration, CameraModel, load_calibration
from internimage_perception.geometry.poses import pose, rpy_to_matrix


def load(folder: Path, text: str, **options: object) -> Calibration:
    (folder / "side.txt").write_text(text, encoding="utf-8")
    return load_calibration(folder / "side.txt", **options)


def only(calibration: Calibration) -> CameraModel:
    (camera,) = calibration.cameras.values()
    return camera.camera


ROS = """\
image_width: 640
image_height: 480
camera_name: narrow_left
camera_matrix:
  rows: 3
  cols: 3
  data: [430.21, 0, 306.9, 0, 430.53, 227.2, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.3375, 0.1113, -0.000107, 0.000237, 0.0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [383.1, 0, 311.2, 0, 0, 404.8, 225.6, 0, 0, 0, 1, 0]
"""


ECHO = """\
header:
  stamp: {sec: 12, nanosec: 34}
  frame_id: rear_optical
height: 960
width: 1280
distortion_model: equidistant
d: [0.05, -0.01, 0.003, -0.0005]
k: [325.5, 0.0, 639.5, 0.0, 326.5, 479.5, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [325.5, 0.0, 639.5, 0.0, 0.0, 326.5, 479.5, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 2
binning_y: 0
roi: {x_offset: 4, y_offset: 2, height: 900, width: 1200, do_rectify: false}
---
"""


TURN = rpy_to_matrix(0.1, -0.2, 0.3)


IMU_TO_CAM0 = pose((0.02, -0.01, 0.05), rpy_to_matrix(1.5, 0.01, 1.6))


CAM0_TO_CAM1 = pose((-0.11, 0.002, 0.003), TURN)


CAM1_TO_CAM2 = pose((0.3, 0.1, -0.2), rpy_to_matrix(-0.4, 0.9, 0.2))


KALIBR = f"""\
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [0.0034, 0.00072, -0.0021, 0.0002]
  distortion_model: equidistant
  intrinsics: [190.978, 190.973, 254.93, 256.89]
  resolution: [512, 513]
  rostopic: /cam0/image_raw
  T_cam_imu: {IMU_TO_CAM0.tolist()}
cam1:
  T_cn_cnm1: {CAM0_TO_CAM1.tolist()}
  camera_model: ds
  distortion_coeffs: []
  distortion_model: none
  intrinsics: [-0.18, 0.59, 160.1, 160.2, 255.3, 256.4]
  resolution: [512, 513]
  rostopic: /cam1/image_raw
cam2:
  T_cn_cnm1: {CAM1_TO_CAM2.tolist()}
  camera_model: omni
  distortion_coeffs: [-0.335, 0.132, 0.00056, 0.00058]
  distortion_model: radtan
  intrinsics: [0.80065662, 833.006, 830.345, 373.85, 253.749]
  resolution: [752, 480]
"""


KITTI_360 = """\
%YAML:1.0
---
model_type: MEI
camera_name: image_02
image_width: 1400
image_height: 1402
mirror_parameters:
   xi: 2.2134047507854890e+00
distortion_parameters:
   k1: 1.6798235660113681e-02
   k2: 1.6548773243373522e+00
   p1: 4.2223943394772046e-04
   p2: 4.2462134260997584e-04
projection_parameters:
   gamma1: 1.3363220825849971e+03
   gamma2: 1.3357883350012958e+03
   u0: 7.1694323510126321e+02
   v0: 7.0576498308221585e+02
"""


WOODSCAPE = {
    "extrinsic": {"quaternion": [0.5, -0.5, 0.5, -0.5], "translation": [3.75, 0.02, 0.65]},
    "intrinsic": {
        "aspect_ratio": 1.01, "cx_offset": 3.942, "cy_offset": -3.093, "height": 966.0, "k1": 339.749,
        "k2": -31.988, "k3": 48.275, "k4": -7.201, "model": "radial_poly", "poly_order": 4, "width": 1280.0,
    },
    "name": "FV",
}  # fmt: skip


def woodscape(**changes: object) -> str:
    return json.dumps(WOODSCAPE | {"intrinsic": WOODSCAPE["intrinsic"] | changes}, indent=1)
