"""Calibration files of real vehicles, as their owners wrote them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import CameraModel, KannalaBrandtCamera, load_calibration

pytestmark = pytest.mark.shared

TERM = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-3)


@pytest.mark.parametrize("name", ["front", "back", "left", "right"])
def test_opencv_yaml_is_read_as_filestorage_reads_it(shared_data: Path, name: str) -> None:
    file = shared_data / "fisheye" / "neozhaoliang_surround" / f"{name}.yaml"
    with pytest.raises(CalibrationError, match=rf"{name}.yaml:9: OpenCV: dist_coeffs: 4 coefficients"):
        load_calibration(file)
    calibration = load_calibration(file, model="fisheye")
    storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_READ)
    k, d, size = (storage.getNode(key).mat() for key in ("camera_matrix", "dist_coeffs", "resolution"))
    assert calibration.camera(name).camera == KannalaBrandtCamera(
        width=int(size[0, 0]), height=int(size[1, 0]),
        fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2], d=d.ravel(),
    )  # fmt: skip


def cloth_corners(camera: CameraModel, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return 4 x 4 corners of the cloth's squares in the front image's plan, and their contrasts.

    Corners are sought near where they belong; contrast is between the two diagonals' squares. The published
    homography takes the plan to an undistorted view with its own camera matrix.
    """
    storage = cv2.FileStorage(str(folder / "front.yaml"), cv2.FILE_STORAGE_READ)
    view, homography, scale, shift = (
        storage.getNode(key).mat() for key in ("camera_matrix", "project_matrix", "scale_xy", "shift_xy")
    )
    view[[0, 1], [0, 1]] *= scale.ravel()
    view[:2, 2] += shift.ravel()
    u, v = np.meshgrid(np.arange(620.0), np.arange(480.0))
    plan = np.stack((u, v, np.ones_like(u)), axis=-1)
    rays = plan @ (np.linalg.inv(view) @ np.linalg.inv(homography)).T
    pixels, _ = camera.project(rays / rays[..., 2:])
    grey = cv2.imread(str(folder / "front.png"), cv2.IMREAD_GRAYSCALE)
    image = cv2.remap(grey, *np.moveaxis(pixels.astype(np.float32), -1, 0), cv2.INTER_LINEAR)
    grid = np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 1, 2)
    start = (grid * 40.0 + 340.0).astype(np.float32)
    corners = cv2.cornerSubPix(image, start, (11, 11), (-1, -1), TERM).reshape(16, 2)
    around = np.array([[-9, -9], [9, 9], [-9, 9], [9, -9]])
    u, v = np.moveaxis((corners[:, np.newaxis] + around).astype(np.int64), -1, 0)
    squares = image[v, u].astype(np.float64)
    return corners, np.abs(squares[:, :2].mean(axis=1) - squares[:, 2:].mean(axis=1))


def test_squares_of_the_cloth_measure_40_pixels_through_the_loaded_lens(shared_data: Path) -> None:
    """A plan pixel is 1 cm. The same four numbers read as a pinhole's put the corners elsewhere."""
    folder = shared_data / "fisheye" / "neozhaoliang_surround"
    lenses = {
        model: load_calibration(folder / "front.yaml", model=model).camera("front").camera
        for model in ("fisheye", "pinhole")
    }
    corners, contrast = cloth_corners(lenses["fisheye"], folder)
    assert contrast.min() > 60.0
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0), [1.0]), axis=-1).reshape(16, 3)
    squares = np.linalg.lstsq(grid, corners, rcond=None)[0][:2]
    np.testing.assert_allclose(squares, [[40.0, 0.0], [0.0, 40.0]], atol=1.0)
    assert cloth_corners(lenses["pinhole"], folder)[1].min() < 30.0


def test_blocks_of_a_rover(shared_data: Path) -> None:
    file = shared_data / "fisheye" / "jeyp4_rover_surround" / "camerasParam.yaml"
    with pytest.raises(CalibrationError, match="camera 'frontCamera': distortion_coefficients: 4 coeff"):
        load_calibration(file)
    calibration = load_calibration(file, model="equidistant")
    written = yaml.safe_load(file.read_text())
    assert list(calibration.cameras) == list(written)
    for name, node in written.items():
        values = node["ros__parameters"]
        camera = calibration.camera(name).camera
        k = values["intrinsic_matrix"]
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (k[0], k[4], k[2], k[5])
        assert list(camera.d) == values["distortion_coefficients"]
        assert (camera.width, camera.height) == (values["image_width"], values["image_height"])
        # The file's comment gives its matrix the wrong direction; only known directions are read.
        assert calibration.camera(name).poses == {}


def test_blocks_of_a_json_file_without_sizes(shared_data: Path) -> None:
    file = shared_data / "fisheye" / "opencalib_surround" / "calibration.json"
    with pytest.raises(CalibrationError, match=r"camera 'Front': the image size .* is missing"):
        load_calibration(file, model="fisheye")
    calibration = load_calibration(file, model="fisheye", size=(1280, 1080))
    written = json.loads(file.read_text())["cameras"]
    assert list(calibration.cameras) == list(written)
    for name, values in written.items():
        camera = calibration.camera(name).camera
        assert list(camera.d) == values["D"]
        assert [camera.fx, 0, camera.cx] == values["K"][0]
        assert (camera.width, camera.height) == (1280, 1080)
