from dataclasses import replace

import numpy as np
import pytest

from internimage_perception.data.sample import ObjectLabel, Sample
from internimage_perception.geometry import (
    CylindricalCamera,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
)
from internimage_perception.training.pipeline.placement import MEAN_COLOUR, Placement

SIZE = {"width": 96, "height": 64, "cx": 45.0, "cy": 30.0}
ROUND = [
    KannalaBrandtCamera(**SIZE, fx=40.0, fy=40.0, d=(0.02, -0.01, 0.0, 0.0), theta_max=1.7),
    WoodScapeCamera(**SIZE, fx=40.0, fy=40.0, d=(-0.02, 0.03, -0.01), theta_max=1.7),
    EucmCamera(**SIZE, fx=40.0, fy=40.0, alpha=0.6, beta=1.1),
    DoubleSphereCamera(**SIZE, fx=40.0, fy=40.0, xi=0.1, alpha=0.6),
    PinholeCamera(**SIZE, fx=40.0, fy=40.0, d=(-0.02, 0.003, 0.0, 0.0, 0.0)),
]
TANGENTIAL = [
    PinholeCamera(**SIZE, fx=40.0, fy=44.0, d=(-0.05, 0.002, 0.003, -0.004, 0.0)),
    MeiCamera(**SIZE, fx=40.0, fy=44.0, xi=0.9, d=(0.01, 0.0, 0.002, -0.003)),
]
MIRROR = np.diag([-1.0, 1.0])


def turn(radians):
    return np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])


def check(placement, scene):
    """Assert that the moved camera sees the turned or mirrored scene where the moved picture shows it."""
    before, after = placement.source.camera, placement.sample().camera
    rays = np.random.default_rng(0).normal(size=(200, 3)) + np.array([0.0, 0.0, 2.0])
    pixels, valid = before.project(rays)
    expected = pixels @ placement.matrix[:, :2].T + placement.matrix[:, 2]
    found, good = after.project(np.concatenate([rays[:, :2] @ scene.T, rays[:, 2:]], axis=1))
    assert valid.sum() > 100
    assert np.array_equal(valid, good)
    assert found[valid] == pytest.approx(expected[valid], abs=1e-8)
    assert (after.width, after.height) == (placement.width, placement.height)
    assert after.theta_max == pytest.approx(before.theta_max)


def of(camera):
    return Placement.of(Sample("a", np.zeros((64, 96, 3), np.uint8), camera=camera))


@pytest.mark.parametrize("camera", ROUND + TANGENTIAL, ids=lambda camera: camera.model)
def test_cameras_of_scaled_cut_and_mirrored_pictures_are_true(camera):
    check(of(camera).scaled(70, 80).window(-3, 5, 50, 90, MEAN_COLOUR), np.eye(2))
    check(of(camera).scaled(150, 30).mirrored().window(4, 5, 60, 20, MEAN_COLOUR), MIRROR)


@pytest.mark.parametrize("camera", ROUND, ids=lambda camera: camera.model)
def test_cameras_of_turned_pictures_are_turned(camera):
    check(of(camera).turned(0.3, MEAN_COLOUR).scaled(192, 100), turn(0.3))
    check(of(camera).mirrored().turned(-0.2, MEAN_COLOUR), turn(-0.2) @ MIRROR)


@pytest.mark.parametrize("camera", TANGENTIAL, ids=lambda camera: camera.model)
def test_what_no_camera_of_the_model_sees_has_none(camera):
    assert of(camera).turned(0.3, MEAN_COLOUR).sample().camera is None
    stretched = replace(ROUND[0], fy=55.0)
    assert of(stretched).turned(0.3, MEAN_COLOUR).sample().camera is None
    cylinder = CylindricalCamera(width=96, height=64, fx=40.0, fy=40.0, cx=45.0, cy=30.0)
    assert of(cylinder).scaled(50, 50).sample().camera == cylinder.resized(50, 50)
    assert of(cylinder).mirrored().sample().camera is None
    other_size = replace(ROUND[0], width=97)
    assert of(other_size).scaled(50, 50).sample().camera is None


def test_objects_move_with_the_picture_and_are_cut_at_its_border(sample):
    inside, corner = sample.objects
    placement = Placement.of(sample).scaled(192, 128).window(40, 30, 60, 50, MEAN_COLOUR)
    (moved,) = placement.sample().objects
    # 29.5 to 59.5 become 59.5 to 119.5, from the window's 40 on; cut at 59.5.
    assert moved.box == pytest.approx([19.5, 9.5, 59.5, 49.5])
    assert moved.mask.sum() == 40 * 40
    assert moved.mask[10:50, 20:60].all()
    assert np.concatenate(moved.polygons).min(axis=0) == pytest.approx([19.5, 9.5], abs=0.1)
    assert np.concatenate(moved.polygons).max(axis=0) == pytest.approx([59.5, 49.5], abs=0.1)
    assert moved.instance_id == inside.instance_id
    _, at_right = Placement.of(sample).mirrored().sample().objects
    assert at_right.box == pytest.approx([95 - corner.box[2], 0.0, 95.0, 8.0])


def test_masks_of_objects_stay_on_their_labels(sample):
    labels = np.where(sample.objects[0].mask, np.uint8(3), np.uint8(0))
    sample = replace(sample, labels=labels)
    rng = np.random.default_rng(5)
    for _ in range(20):
        width, height = (int(side) for side in rng.integers(20, 200, 2))
        placement = Placement.of(sample).scaled(width, height).turned(float(rng.normal(0, 0.3)), MEAN_COLOUR)
        moved = placement.sample()
        if rng.random() < 0.5:
            moved = Placement.of(sample).scaled(width, height).mirrored().sample()
        assert np.array_equal(moved.objects[0].mask, moved.labels == 3)


def test_boxes_without_outlines_are_those_of_their_turned_corners(sample):
    plain = ObjectLabel(1, np.array([40.0, 25.0, 50.0, 35.0]))
    turned = Placement.of(replace(sample, objects=(plain,))).turned(np.pi / 4, MEAN_COLOUR).sample()
    centre = Placement.of(sample).turned(np.pi / 4, MEAN_COLOUR).carried(45.0, 30.0)
    half = 10.0 / np.sqrt(2.0)
    expected = [centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half]
    assert turned.objects[0].box == pytest.approx(expected)
