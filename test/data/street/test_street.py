"""The street: the same seed gives the same street, splits share nothing, things move as they say."""

import hashlib

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the street needs the extra `sim`")

from internimage_perception.data.street.classes import IGNORED, StreetClass
from internimage_perception.data.street.noise import _FAMILIES, atlas
from internimage_perception.data.street.route import Route
from internimage_perception.data.street.samples import (
    draw_ego,
    draw_lens,
    draw_mounting,
    random_sample,
    random_samples,
)
from internimage_perception.data.street.seeds import stream
from internimage_perception.data.street.street import Street
from internimage_perception.geometry.poses import transform


def digest(array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_same_seed_same_triangles_wherever_one_looks_first() -> None:
    first, second = Street.generate(8), Street.generate(8)
    second.at(30.0)
    a, b = first.at(2.0), second.at(2.0)
    assert digest(a.corners) == digest(b.corners) and digest(a.scene.materials) == digest(b.scene.materials)
    assert digest(a.corners) != digest(Street.generate(9).at(2.0).corners)


def test_same_seed_same_samples() -> None:
    images = [list(random_samples(5, 2, width=64, height=48)) for _ in range(2)]
    for (a, la), (b, lb) in zip(*images, strict=True):
        assert np.array_equal(a, b) and np.array_equal(la, lb)
    assert a.shape == (48, 64, 3) and la.shape == (48, 64) and a.dtype == la.dtype == np.uint8
    assert np.array_equal(random_sample(5, 64, 48)[0], images[0][0][0])


@pytest.mark.parametrize(("tall", "low", "high"), [(False, 0.45, 1.4), (True, 1.2, 2.4)])
def test_cameras_hang_as_high_as_documented(tall: bool, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    ego = draw_ego(rng, tall=tall)
    centres = np.array([draw_mounting(rng, ego, tall=tall)[:3, 3] for _ in range(400)])
    on_roof = (centres[:, 0] > ego.rear) & (centres[:, 0] < ego.front) & (abs(centres[:, 1]) < 0.6)
    around = centres[~on_roof, 2]
    assert low <= around.min() < low + 0.05 and high - 0.05 < around.max() <= high
    assert np.all(centres[on_roof, 2] > ego.roof) and centres[:, 2].max() <= 2.4


def test_splits_share_no_stream_texture_or_family() -> None:
    draws = {split: stream(split, 3, 1).random(4).tobytes() for split in ("train", "test")}
    assert draws["train"] != draws["test"]
    assert not set(_FAMILIES["train"]) & set(_FAMILIES["test"])
    tiles = {}
    for split in ("train", "test"):
        tiles[split] = {digest(part) for seed in range(12) for part in np.split(atlas(split, seed), 6)}
    assert len(tiles["train"]) > 20 and not tiles["train"] & tiles["test"]
    with pytest.raises(ValueError, match="split train or test"):
        Street.generate(0, split="validation")
    with pytest.raises(ValueError, match="seed >= 0"):
        Street.generate(-1)


def test_every_class_appears_in_some_streets() -> None:
    seen = set()
    for seed in range(6):
        moment = Street.generate(seed).at(0.0)
        seen |= set(np.unique(moment.scene.class_ids).tolist())
    assert seen == {*range(13)} - {int(StreetClass.SKY)} | {IGNORED}


def test_objects_move_at_their_velocity() -> None:
    street, step = Street.generate(11), 0.02
    before, after = street.at(1.0 - step), street.at(1.0 + step)
    now = street.at(1.0)
    later = {item.instance_id: item for item in after.objects}
    earlier = {item.instance_id: item for item in before.objects}
    moving = 0
    for item in now.objects:
        if item.instance_id not in later or item.instance_id not in earlier:
            continue
        places = [
            transform(moment.street_from_base, other[item.instance_id].pose[:3, 3])
            for moment, other in ((before, earlier), (after, later))
        ]
        velocity = now.street_from_base[:3, :3].T @ (places[1] - places[0]) / (2 * step)
        np.testing.assert_allclose(item.velocity, velocity, atol=0.05)
        moving += np.linalg.norm(velocity) > 0.5
    assert moving > 3


def test_boxes_3d_hold_their_triangles() -> None:
    moment = Street.generate(12).at(0.5)
    part_of = moment.scene.instance_ids[moment.scene.part]
    checked = 0
    for item in moment.objects:
        corners = moment.scene.corners[part_of == item.instance_id].reshape(-1, 3)
        local = (corners - item.pose[:3, 3]) @ item.pose[:3, :3]
        length, width, height = item.size
        slack = 0.16  # a car's mirrors, a walker's step
        assert (np.abs(local[:, 0]) < length / 2 + slack).all() and (
            np.abs(local[:, 1]) < width / 2 + slack
        ).all()
        assert local[:, 2].min() > -0.1 and local[:, 2].max() < height + 0.1
        checked += 1
    assert checked > 5


def test_ego_keeps_its_lane_and_speed() -> None:
    street = Street.generate(13, speed_mps=10.0)
    moment = street.at(4.0)
    assert 9.0 < moment.velocity < 11.0
    a, b = street.ego_pose(4.0), street.ego_pose(4.1)
    ahead = transform(np.linalg.inv(a), b[:3, 3])
    assert 0.9 < ahead[0] < 1.1 and abs(ahead[1]) < 0.02
    np.testing.assert_allclose(a[:3, :3] @ a[:3, :3].T, np.eye(3), atol=1e-12)


def test_longer_routes_begin_like_shorter_ones() -> None:
    near, far = Route(np.random.default_rng(1)), Route(np.random.default_rng(1))
    far.point(5000.0)
    assert np.array_equal(near.point([10.0, -200.0]), far.point([10.0, -200.0]))


def test_lenses_are_valid_and_cover_both_models() -> None:
    rng = np.random.default_rng(0)
    lenses = [draw_lens(rng, 96, 80) for _ in range(60)]
    assert {lens.model for lens in lenses} == {"equidistant", "pinhole"}
    for lens in lenses:
        assert lens.valid_mask().mean() > 0.3
