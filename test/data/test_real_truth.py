"""Truth of published sets: CamVid's ids, and roads that lie where the pictures show them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from internimage_perception.data.image_sets import camvid_seq, opencalib_surround
from internimage_perception.data.real_truth import IGNORED, camvid_classes, camvid_truth, opencalib_road
from internimage_perception.errors import PerceptionError
from internimage_perception.geometry import KannalaBrandtCamera, RigCamera
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL, pose


def test_camvid_ids(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cv2.imwrite(str(tmp_path / "x_f1_label.png"), labels)
    found = camvid_truth(tmp_path / "x_f1.png")
    assert found.reshape(-1).tolist() == [8, 2, 4, 0, 1, 7, 6, 3, 11, 9, 10, 255]
    cv2.imwrite(str(tmp_path / "y_f1_label.png"), labels + 1)
    with pytest.raises(PerceptionError, match=r"y_f1_label\.png holds id 12"):
        camvid_truth(tmp_path / "y_f1.png")
    with pytest.raises(PerceptionError, match="cannot read"):
        camvid_truth(tmp_path / "z_f1.png")


@pytest.mark.shared
def test_camvid_frames_hold_all_classes(shared_data: Path) -> None:
    pictures = camvid_seq(shared_data / "camvid_seq").pictures
    ids = set().union(*(np.unique(camvid_truth(item.path)).tolist() for item in pictures))
    assert ids == {*camvid_classes(), IGNORED}


def test_bird_view_of_a_known_ground(tmp_path: Path) -> None:
    """A camera looking forward from 1.5 m: the ground point of a pixel is known in closed form."""
    lens = KannalaBrandtCamera(width=641, height=481, fx=200.0, fy=200.0, cx=320.0, cy=240.0, theta_max=1.6)
    camera = RigCamera(
        name="front", image_topic="/f", camera=lens,
        base_from_camera=pose(translation=(0.0, 0.0, 1.5)) @ BODY_FROM_OPTICAL,
    )  # fmt: skip
    road = np.zeros((1000, 1000), np.uint8)
    road[:300, 400:600] = 255
    cv2.imwrite(str(tmp_path / "road.png"), road)
    ids = np.zeros((481, 641), np.uint8)
    ids[:, 321:] = 7
    truth, answers = opencalib_road(camera, tmp_path / "road.png", ids)
    # Behind the camera and nearer than the file's road, nothing is scored.
    assert (truth[301:] == IGNORED).all()
    assert (truth[100:300, 400:600] == 0).all() and (truth[100:300, 300:399] == 1).all()
    # Left of the axis the left half of the image, right of it the right half.
    assert (answers[100:300, 510:590] == 7).all() and (answers[100:300, 410:490] == 0).all()


@pytest.mark.shared
def test_lane_line_of_a_real_car(shared_data: Path) -> None:
    """The picture drawn as bird's-eye view puts the right lane line at x = +2.9 m, on the road."""
    folder = shared_data / "fisheye" / "opencalib_surround" / "set1"
    images = opencalib_surround(folder)
    picture = next(item for item in images.pictures if item.camera == "front")
    gray = cv2.imread(str(picture.path), cv2.IMREAD_GRAYSCALE)
    truth, drawn = opencalib_road(images.rig.cameras["front"], folder / "bev_road_mask_front.png", gray)
    profile = drawn[50:300].mean(axis=0)
    line = 640 + int(np.argmax(profile[640:760]))
    assert abs((line - 500) * 6 / 421 - 2.9) < 0.05
    assert profile[line] > profile[line - 25] + 10 and profile[line] > profile[line + 25] + 10
    assert (truth[50:300, line] == 0).all()
