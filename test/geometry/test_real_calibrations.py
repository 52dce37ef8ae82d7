"""Real vehicles: tape-measured points, a chessboard cloth of known size, one lane line in two cameras."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from internimage_perception.geometry import KannalaBrandtCamera, Rig
from internimage_perception.geometry.poses import invert, transform

pytestmark = pytest.mark.shared


def test_tape_measured_points_of_a_rover(shared_data: Path, tmp_path: Path) -> None:
    """24 hand-picked pixels of 12 measured points, 29 to 73 degrees off axis, through a rig file."""
    folder = shared_data / "fisheye" / "jeyp4_rover_surround"
    measured = yaml.safe_load((folder / "calibration_points.yaml").read_text())
    cameras = {}
    for name, node in yaml.safe_load((folder / "camerasParam.yaml").read_text()).items():
        values = node["ros__parameters"]
        k = values["intrinsic_matrix"]
        cameras[name] = {
            "image_topic": f"/{name}/image_raw",
            "camera": {
                "model": "equidistant", "width": values["image_width"], "height": values["image_height"],
                "fx": k[0], "fy": k[4], "cx": k[2], "cy": k[5], "d": values["distortion_coefficients"],
            },
            # The file's own comment says the reverse; the measured points tell.
            "base_from_camera": {"matrix": values["transformation_matrix"]},
        }  # fmt: skip
    (tmp_path / "rover.yaml").write_text(yaml.safe_dump({"cameras": cameras}))
    rig = Rig.load(tmp_path / "rover.yaml")
    errors = {}
    angles = []
    for name, groups in measured["image_points"].items():
        camera = rig.cameras[name]
        for group, picked in groups.items():
            points = transform(invert(camera.base_from_camera), measured["world_points"][group])
            angles += np.degrees(np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])).tolist()
            pixels, valid = camera.camera.project(points)
            assert valid.all()
            assert camera.camera.in_image(pixels).all()
            errors[name, group] = np.linalg.norm(pixels - picked, axis=-1)
    every = np.concatenate(list(errors.values()))
    assert every.size == 24
    assert every.mean() <= 2.3
    assert max(error.max() for (name, _), error in errors.items() if name != "rearCamera") < 2.3
    assert min(angles) < 30.0
    assert max(angles) > 70.0


def test_squares_of_a_cloth_measure_40_pixels(shared_data: Path) -> None:
    """Project the ground through the fisheye and the published homography; 1 px of the result is 1 cm."""
    folder = shared_data / "fisheye" / "neozhaoliang_surround"
    storage = cv2.FileStorage(str(folder / "front.yaml"), cv2.FILE_STORAGE_READ)
    k, d, homography, scale, shift = (
        storage.getNode(key).mat()
        for key in ("camera_matrix", "dist_coeffs", "project_matrix", "scale_xy", "shift_xy")
    )
    camera = KannalaBrandtCamera(
        width=960, height=640, fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2], d=d.ravel(),
        theta_max=math.radians(95),
    )  # fmt: skip
    u, v = np.meshgrid(np.arange(1200.0), np.arange(500.0))
    flat = np.stack((u, v, np.ones_like(u)), axis=-1) @ np.linalg.inv(homography).T
    flat /= flat[..., 2:]
    view = k.copy()
    view[[0, 1], [0, 1]] *= scale.ravel()
    view[:2, 2] += shift.ravel()
    pixels, valid = camera.project(flat @ np.linalg.inv(view).T)
    assert valid.all()
    grey = cv2.cvtColor(cv2.imread(str(folder / "front.png")), cv2.COLOR_BGR2GRAY)
    plan = cv2.remap(grey, *np.moveaxis(pixels.astype(np.float32), -1, 0), cv2.INTER_LINEAR)
    # Inner corners of the board to the left of the discs, found where the image has them.
    rows, columns = 4, 4
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    start = (grid * 40.0 + (340.0, 340.0)).astype(np.float32)
    term = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-3)
    corners = cv2.cornerSubPix(plan, start.reshape(-1, 1, 2).copy(), (11, 11), (-1, -1), term).reshape(-1, 2)
    for corner in corners:
        around = [
            float(plan[int(corner[1] + y), int(corner[0] + x)])
            for x, y in ((-9, -9), (9, 9), (-9, 9), (9, -9))
        ]
        assert abs(np.mean(around[:2]) - np.mean(around[2:])) > 60.0
    design = np.hstack((grid, np.ones((len(grid), 1))))
    slopes, *_ = np.linalg.lstsq(design, corners, rcond=None)
    assert slopes[0, 0] == pytest.approx(40.0, abs=1.0)
    assert slopes[1, 1] == pytest.approx(40.0, abs=1.0)
    assert np.abs([slopes[0, 1], slopes[1, 0]]).max() < 1.0


@pytest.mark.parametrize("name", ["Front", "Right"])
def test_two_cameras_see_the_lane_line_in_one_place(shared_data: Path, name: str) -> None:
    folder = shared_data / "fisheye" / "opencalib_surround"
    values = json.loads((folder / "calibration.json").read_text())["cameras"][name]
    k, camera_from_ground = np.array(values["K"]), np.array(values["T_cam_from_ground"])
    camera = KannalaBrandtCamera(
        width=1280, height=1080, fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2], d=values["D"]
    )
    x, y = np.meshgrid(np.arange(1.5, 4.0, 0.02), np.arange(2.0, 6.0, 0.02))
    pixels, valid = camera.project(transform(camera_from_ground, np.stack((x, y, np.zeros_like(x)), axis=-1)))
    assert valid.all()
    image = cv2.imread(str(folder / "set1" / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
    plan = cv2.remap(image, *np.moveaxis(pixels.astype(np.float32), -1, 0), cv2.INTER_LINEAR)
    profile = plan.mean(axis=0)
    assert profile.max() > np.median(profile) + 30.0
    assert x[0, profile.argmax()] == pytest.approx(2.9, abs=0.08)
