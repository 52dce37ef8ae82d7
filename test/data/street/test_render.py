"""What is rendered lies where the camera model says, beyond 90 degrees too, with exact labels and depth."""

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the street needs the extra `sim`")

from internimage_perception.data.street.appearance import draw_appearance
from internimage_perception.data.street.classes import IGNORED, StreetClass
from internimage_perception.data.street.materials import Material
from internimage_perception.data.street.mesh import Piece, Soup, ball, box
from internimage_perception.data.street.objects2d import visible_objects
from internimage_perception.data.street.render import render
from internimage_perception.data.street.street import Street, moment_of
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL, invert, pose, rpy_to_matrix, transform

WIDE = KannalaBrandtCamera(
    width=320, height=260, fx=80.0, fy=82.0, cx=157.3, cy=131.2, d=(-0.02, 0.003, -0.002, 0.0003),
    theta_max=math.radians(105),
)  # fmt: skip
MOUNT = pose((3.7, 0.1, 0.7), rpy_to_matrix(0.03, 0.3, 0.2)) @ BODY_FROM_OPTICAL
GREY = Material(color=(0.3, 0.3, 0.3))


def ground(material=GREY):
    square = np.array([(-300, -300, 0), (300, -300, 0), (300, 300, 0), (-300, 300, 0)], np.float64)
    return Piece(Soup(square[[[0, 1, 2], [0, 2, 3]]]), material, StreetClass.ROAD)


@pytest.mark.parametrize(
    "camera", [WIDE, PinholeCamera(width=320, height=240, fx=200, fy=205, cx=161, cy=118)]
)
@pytest.mark.parametrize("theta_deg", [4.0, 40.0, 85.0, 93.0, 101.0])
@pytest.mark.parametrize("around_deg", [10.0, 140.0, 200.0, 290.0])
def test_a_marker_appears_where_the_camera_model_projects_it(camera, theta_deg, around_deg) -> None:
    theta, around = math.radians(theta_deg), math.radians(around_deg)
    ray = np.array([math.sin(theta) * math.cos(around), math.sin(theta) * math.sin(around), math.cos(theta)])
    pixel, valid = camera.project(ray)
    radius = 0.12
    marker = Piece(ball((radius,) * 3, transform(MOUNT, 4.0 * ray), rows=16, sides=24), GREY, StreetClass.CAR)
    frame = render(moment_of([(marker, 7)]), camera, MOUNT, samples=1)
    v, u = np.nonzero(frame.instance_ids == 7)
    seen = (
        bool(valid)
        and bool(camera.in_image(pixel))
        and (abs(pixel - (camera.width, camera.height) * np.array(0.5)) < (140, 110)).all()
    )
    if seen:
        assert abs(u.mean() - pixel[0]) <= 0.5 and abs(v.mean() - pixel[1]) <= 0.5
        assert np.nanmin(frame.depth) == pytest.approx(4.0 - radius, abs=0.01)
        assert (frame.class_ids[v, u] == StreetClass.CAR).all()
    elif not valid:
        assert u.size == 0 or theta_deg - camera.theta_max < 3.0


def test_markers_beyond_90_degrees_were_really_tested() -> None:
    for around in np.radians([10.0, 200.0]):
        theta = math.radians(101.0)
        ray = [math.sin(theta) * math.cos(around), math.sin(theta) * math.sin(around), math.cos(theta)]
        pixel, valid = WIDE.project(ray)
        assert valid and WIDE.in_image(pixel) and ray[2] < 0.0


def test_depth_of_a_plane_is_the_formula() -> None:
    frame = render(moment_of([(ground(), 0)]), WIDE, MOUNT)
    rays, valid = WIDE.unproject(WIDE.pixel_grid())
    down = (rays @ MOUNT[:3, :3].T)[..., 2]
    near = valid & (down < -0.02)
    assert near.sum() > 10_000
    np.testing.assert_allclose(frame.depth[near], -0.7 / down[near], rtol=2e-4)
    assert (frame.class_ids[near] == StreetClass.ROAD).all()
    sky = valid & (down > 0.01)
    assert np.isinf(frame.depth[sky]).all() and (frame.class_ids[sky] == StreetClass.SKY).all()
    assert (frame.class_ids[~valid] == IGNORED).all() and np.isnan(frame.depth[~valid]).all()
    assert not frame.image[~valid].any()


def test_depth_on_the_street_agrees_with_its_elevation() -> None:
    street = Street.generate(3)
    moment = street.at(1.0)
    frame = render(moment, WIDE, MOUNT, samples=1)
    road = (frame.class_ids == StreetClass.ROAD) & (frame.depth < 40.0)
    rays = WIDE.unproject(WIDE.pixel_grid())[0][road]
    points = transform(MOUNT, rays * frame.depth[road][:, None])
    points = transform(moment.street_from_base, points)
    off = points[:, 2] - street.route.elevation(points[:, :2])
    assert road.sum() > 5_000
    assert np.abs(off).max() < 0.02


def test_labels_are_those_of_centre_rays_and_never_blended() -> None:
    street = Street.generate(4)
    frame = render(street.at(0.0), WIDE, MOUNT, samples=4)
    single = render(street.at(0.0), WIDE, MOUNT, samples=1)
    assert np.array_equal(frame.class_ids, single.class_ids)
    assert np.array_equal(frame.instance_ids, single.instance_ids)
    assert set(np.unique(frame.class_ids)) <= {*StreetClass}


def test_boxes_hold_exactly_their_instances_pixels() -> None:
    frame = render(Street.generate(5).at(2.0), WIDE, MOUNT, samples=1)
    objects = visible_objects(frame.class_ids, frame.instance_ids)
    assert len(objects) > 5
    assert {item.instance_id for item in objects} == set(np.unique(frame.instance_ids)) - {0}
    rows, columns = np.indices(frame.class_ids.shape)
    for item in objects:
        own = frame.instance_ids == item.instance_id
        x0, y0, x1, y1 = item.box
        inside = (columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)
        assert not (own & ~inside).any() and item.pixels == own.sum()
        for edge in (columns == x0 + 0.5, columns == x1 - 0.5, rows == y0 + 0.5, rows == y1 - 0.5):
            assert (own & edge).any()
        assert (frame.class_ids[own] == item.class_id).all()
        for outline in item.outlines:
            assert own[outline[:, 1], outline[:, 0]].all()


def test_smoothing_mixes_the_colours_of_an_edge() -> None:
    white, black = (
        dataclasses.replace(GREY, color=(c,) * 3, grain_amount=0.0, blotch_amount=0.0, tint_amount=0.0)
        for c in (0.9, 0.0)
    )
    block = Piece(box((1.0, 1.0, 3.0), (8.0, 0.0, 1.0)), white, StreetClass.CONSTRUCTION)
    look = dataclasses.replace(
        draw_appearance(np.random.default_rng(1)), blur_px=0.0, vignette=0.0, haze_m=1e9
    )
    moment = moment_of([(ground(black), 0), (block, 0)], look)
    fine, coarse = (render(moment, WIDE, MOUNT, samples=n).image for n in (4, 1))
    changed = (fine != coarse).any(axis=-1)
    assert 0.001 < changed.mean() < 0.05
    adaptive = render(moment, WIDE, MOUNT, samples=4, adaptive=True).image
    assert (adaptive != fine).any(axis=-1).mean() < 0.002


def test_shadow_falls_away_from_the_sun() -> None:
    look = dataclasses.replace(
        draw_appearance(np.random.default_rng(2)), sun=np.array([0.0, -0.6, 0.8], np.float32), glow=0.0,
        sun_light=np.ones(3, np.float32), sky_light=np.full(3, 0.2, np.float32), blur_px=0.0, haze_m=1e9,
    )  # fmt: skip
    post = Piece(box((0.8, 0.4, 2.0), (5.5, 0.0, 1.0)), GREY, StreetClass.POLE)
    flat = dataclasses.replace(GREY, grain_amount=0.0, blotch_amount=0.0, tint_amount=0.0)
    frame = render(moment_of([(ground(flat), 0), (post, 0)], look), WIDE, MOUNT)
    for y, dark in ((0.8, True), (-0.8, False)):
        pixel, _ = WIDE.project(transform(invert(MOUNT), (5.5, y, 0.0)))
        u, v = np.rint(pixel).astype(int)
        away = np.rint(WIDE.project(transform(invert(MOUNT), (5.5, 3 * np.sign(y), 0.0)))[0]).astype(int)
        ratio = frame.image[v, u].mean() / frame.image[away[1], away[0]].mean()
        assert (ratio < 0.7) == dark


def test_noise_is_the_generators_and_labels_do_not_depend_on_it() -> None:
    moment = Street.generate(6).at(0.0)
    frames = [render(moment, WIDE, MOUNT, samples=1, rng=np.random.default_rng(n)) for n in (1, 1, 2)]
    assert np.array_equal(frames[0].image, frames[1].image)
    assert not np.array_equal(frames[0].image, frames[2].image)
    assert np.array_equal(frames[0].class_ids, frames[2].class_ids)


def test_another_number_of_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="samples must be 1 or 4"):
        render(moment_of([(ground(), 0)]), WIDE, MOUNT, samples=3)
