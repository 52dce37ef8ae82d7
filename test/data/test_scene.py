"""The generated street: what is painted lies where the camera model says."""

import dataclasses
import math

import numpy as np
import pytest

from internimage_perception.data.scene import EGO_BODY, StreetScene
from internimage_perception.data.scene_boxes import (
    PERIOD_M,
    SUN,
    TEXELS_PER_M,
    Box,
    ground_texture,
    standing,
    street_boxes,
)
from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import KannalaBrandtCamera, Rig
from internimage_perception.geometry.poses import invert, transform
from internimage_perception.resources import share_path

RED = (255, 0, 0)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load(share_path("config/rigs/four_fisheye.yaml"))


@pytest.fixture(scope="module")
def scene(rig):
    return StreetScene(rig, seed=3)


def kannala_brandt(lens, point):
    """Project by the formula of the paper, written out again."""
    x, y, z = point
    theta = math.atan2(math.hypot(x, y), z)
    radius = theta + sum(k * theta ** (2 * n + 3) for n, k in enumerate(lens.d))
    phi = math.atan2(y, x)
    return np.array([lens.fx * radius * math.cos(phi) + lens.cx, lens.fy * radius * math.sin(phi) + lens.cy])


def reddish(image):
    return (image[..., 0] > 90) & (image[..., 1] < 60) & (image[..., 2] < 60)


def centroid(mask):
    rows, columns = np.nonzero(mask)
    assert rows.size, "the marker is not in the picture"
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("name", ["front", "left", "rear", "right"])
@pytest.mark.parametrize(
    ("theta_deg", "phi_deg"), [(10, -90), (45, -60), (75, -20), (88, 190), (91, -8), (92.5, 185), (93, -30)]
)
def test_marker_lands_where_the_lens_formula_says(rig, name, theta_deg, phi_deg):
    camera = rig.camera(name)
    theta, phi = math.radians(theta_deg), math.radians(phi_deg)
    ray = np.array([math.sin(theta) * math.cos(phi), math.sin(theta) * math.sin(phi), math.cos(theta)])
    x, y, z = transform(camera.base_from_camera, 1.8 * ray)
    side = 0.05
    marker = standing(x, y, (side, side, side), RED, z=z - side / 2)
    image = StreetScene(Rig({name: camera}), boxes=[marker]).render(name, 0.0)
    assert np.linalg.norm(centroid(reddish(image)) - kannala_brandt(camera.camera, ray)) < 0.5


def test_a_large_box_fills_exactly_the_outline_of_its_edges(rig):
    camera = rig.camera("left")
    low, high = np.array([-1.0, 3.0, 0.6]), np.array([1.5, 4.0, 2.2])
    image = StreetScene(rig, boxes=[Box(tuple(low), tuple(high), RED)]).render("left", 0.0)
    steps = np.linspace(0, 1, 200)
    faces = np.array([(a, b, c) for a in steps for b in steps for c in (0, 1)])
    faces = np.concatenate([np.roll(faces, shift, axis=1) for shift in range(3)])
    points = transform(invert(camera.base_from_camera), low + faces * (high - low))
    pixels, valid = camera.camera.project(points)
    inside = pixels[valid & camera.camera.in_image(pixels)]
    red = reddish(image)
    columns, rows = np.rint(inside).astype(int).T
    painted = np.zeros_like(red)
    painted[rows, columns] = True
    # Surface points and red pixels cover the same pixels, up to the outline.
    assert painted.sum() > 4000
    assert red[rows, columns].mean() > 0.97
    assert painted[red].mean() > 0.97
    assert abs(np.flatnonzero(red.any(axis=0))[0] - np.rint(inside[:, 0].min())) <= 1


def test_nearer_boxes_hide_farther_ones_in_any_order(rig):
    near = Box((8.0, -1.0, 0.0), (9.0, 1.0, 2.0), (0, 0, 255))
    far = Box((14.0, -0.4, 0.2), (15.0, 0.4, 1.0), RED)
    first, second = (
        StreetScene(rig, boxes=boxes).render("front", 0.0) for boxes in ([near, far], [far, near])
    )
    np.testing.assert_array_equal(first, second)
    assert not reddish(first).any()
    assert reddish(StreetScene(rig, boxes=[far]).render("front", 0.0)).any()


def test_ground_paint_lies_where_the_camera_projects_it(rig):
    image = StreetScene(rig, boxes=[]).render("right", 0.0).astype(int)
    camera = rig.camera("right")
    line = np.array([(x, -1.86, 0.0) for x in np.linspace(0.5, 3.5, 7)])
    beside = line + np.array((0.0, -0.25, 0.0))
    for points, low, high in ((line, 180, 256), (beside, 40, 150)):
        pixels, _ = camera.camera.project(transform(invert(camera.base_from_camera), points))
        columns, rows = np.rint(pixels).astype(int).T
        brightness = image[rows, columns].mean(axis=1)
        assert (brightness > low).all()
        assert (brightness < high).all()


def test_driving_moves_the_world_and_repeats_after_a_period(rig):
    marker = standing(9.0, 2.0, (0.2, 0.2, 0.2), RED, z=0.6)
    scene = StreetScene(rig, boxes=[marker])
    camera = rig.camera("front")
    for travelled in (0.0, 3.25, PERIOD_M + 3.25):
        moved = np.array([9.0 - travelled % PERIOD_M, 2.0, 0.7])
        expected, _ = camera.camera.project(transform(invert(camera.base_from_camera), moved))
        assert np.linalg.norm(centroid(reddish(scene.render("front", travelled))) - expected) < 0.6


def test_same_seed_same_street(rig, scene):
    again, other = StreetScene(rig, seed=3), StreetScene(rig, seed=4)
    picture = scene.render("front", 5.0)
    np.testing.assert_array_equal(picture, again.render("front", 5.0))
    assert (picture != other.render("front", 5.0)).any(axis=-1).mean() > 0.1
    assert (picture != scene.render("front", 6.0)).any(axis=-1).mean() > 0.1


def test_black_exactly_outside_the_lens(rig, scene):
    for name in rig.cameras:
        valid = rig.camera(name).camera.valid_mask()
        image = scene.render(name, 12.0)
        assert image.shape == (480, 640, 3)
        assert image.dtype == np.uint8
        assert not image[~valid].any()
        assert (image[valid].max(axis=-1) > 5).mean() > 0.99
        assert 0.1 < (~valid).mean() < 0.2


def test_pictures_are_rgb_with_the_sky_above(scene):
    image = scene.render("rear", 0.0).astype(int)
    sky = image[4:30, 280:360].reshape(-1, 3).mean(axis=0)
    assert sky[2] > sky[0] + 30


def test_ego_mask_is_the_own_car_and_nothing_else(rig, scene):
    for name, camera in scene.rig.cameras.items():
        mask = camera.ego_mask
        assert 0.01 < mask.mean() < 0.3
        assert not (mask & ~camera.camera.valid_mask()).any()
        # The own car looks the same wherever it is; the world beside it does not.
        first, second = scene.render(name, 0.0), scene.render(name, 31.0)
        np.testing.assert_array_equal(first[mask], second[mask])
        rows = np.nonzero(mask)[0]
        assert rows.mean() > 300
    # A point on the front bumper's upper edge.
    front = rig.camera("front")
    edge = transform(invert(front.base_from_camera), (EGO_BODY[1].high[0] - 0.01, 0.3, EGO_BODY[1].high[2]))
    (u, v), _ = front.camera.project(edge)
    assert scene.rig.camera("front").ego_mask[round(v), round(u)]


def test_more_samples_smooth_the_same_picture(rig):
    small = Rig(
        {
            "front": dataclasses.replace(
                rig.camera("front"), camera=rig.camera("front").camera.resized(320, 240)
            )
        }
    )
    rough = StreetScene(small, seed=3).render("front", 7.0).astype(float)
    smooth = StreetScene(small, seed=3, samples=2).render("front", 7.0).astype(float)
    assert smooth.shape == rough.shape
    assert 0.5 < np.abs(smooth - rough).mean() < 6.0
    assert np.abs(np.diff(smooth, axis=1)).mean() < np.abs(np.diff(rough, axis=1)).mean()


def test_any_lens_will_do(rig):
    wide = KannalaBrandtCamera(
        width=200, height=160, fx=40.0, fy=40.0, cx=99.5, cy=79.5, theta_max=math.radians(110)
    )
    camera = dataclasses.replace(rig.camera("front"), camera=wide)
    image = StreetScene(Rig({"front": camera})).render("front", 0.0)
    assert (image[wide.valid_mask()].max(axis=-1) > 5).mean() > 0.99


@pytest.mark.parametrize("missing", ["camera", "base_from_camera"])
def test_lens_and_pose_are_needed(rig, missing):
    camera = dataclasses.replace(rig.camera("front"), **{missing: None})
    with pytest.raises(CalibrationError, match="camera 'front': a scene needs"):
        StreetScene(Rig({"front": camera}))


def test_a_camera_below_the_ground_is_refused(rig):
    pose = rig.camera("rear").base_from_camera.copy()
    pose[2, 3] = -0.1
    camera = dataclasses.replace(rig.camera("rear"), base_from_camera=pose)
    with pytest.raises(CalibrationError, match=r"'rear'.*below the ground"):
        StreetScene(Rig({"rear": camera}))


def test_boxes_stand_on_the_street_and_throw_shadows():
    boxes = street_boxes(0)
    assert len(boxes) > 50
    assert all(low < high for box in boxes for low, high in zip(box.low, box.high, strict=True))
    assert all(box.low[2] >= 0.0 for box in boxes)
    # Nothing stands in the two lanes.
    assert not any(box.low[1] < 5.4 and box.high[1] > -1.8 and box.low[2] < 2.0 for box in boxes)
    block = standing(20.0, 2.0, (1.0, 1.0, 3.0), RED)
    lit, shaded = ground_texture([], 0).astype(int), ground_texture([block], 0).astype(int)
    darker = (shaded.sum(axis=-1) < lit.sum(axis=-1) * 0.7).sum()
    # The block's square, swept to where its top throws its shadow; OpenCV versions soften edges differently.
    area = 1.0 + 3.0 / SUN[2] * (abs(SUN[0]) + abs(SUN[1]))
    assert darker == pytest.approx(area * TEXELS_PER_M**2, rel=0.1)
