"""The own car's body, found in frames of streets that no threshold was chosen on."""

import dataclasses

import numpy as np
import pytest

from internimage_perception.data.distortion.auto_regions import find_regions
from internimage_perception.data.distortion.ego_body import find_ego_body
from internimage_perception.data.street.render import render
from internimage_perception.data.street.rig_view import fit_ego, lens_of, with_ego_masks
from internimage_perception.data.street.street import Street
from internimage_perception.geometry import Rig
from internimage_perception.resources import share_path

SEED, COUNT, APART_S = 42, 8, 2.5
CAMERAS = ("left", "rear")


@pytest.fixture(scope="module")
def rig():
    whole = Rig.load(share_path("config/rigs/four_fisheye.yaml"))
    small = {
        name: dataclasses.replace(whole.cameras[name], camera=whole.cameras[name].camera.resized(320, 240))
        for name in CAMERAS
    }
    return with_ego_masks(Rig(small, whole.base_frame))


@pytest.fixture(scope="module")
def ego():
    return fit_ego(Rig.load(share_path("config/rigs/four_fisheye.yaml")))


@pytest.fixture(scope="module")
def hidden(ego):
    """A body so small that no camera sees it."""
    return dataclasses.replace(ego, front=0.3, rear=0.0, half_width=0.1, roof=0.2, bonnet=0.1)


def frames_of(rig, body, count=COUNT, speed_mps=8.0):
    """Frames of each camera; at the usual speed, the car has moved 20 m between them."""
    street = Street.generate(SEED, split="test", speed_mps=speed_mps)
    rng = np.random.default_rng(SEED)
    frames = {name: [] for name in rig.cameras}
    for number in range(count):
        moment = street.at(APART_S * number, ego=body)
        for name, camera in rig.cameras.items():
            frames[name].append(render(moment, *lens_of(camera), samples=1, rng=rng).image)
    return frames


@pytest.fixture(scope="module")
def driven(rig, ego):
    return frames_of(rig, ego)


def true_body(camera):
    return np.asarray(camera.ego_mask, bool) & lens_of(camera)[0].valid_mask()


@pytest.mark.parametrize("name", CAMERAS)
def test_the_body_is_found(rig, driven, name):
    found, truth = find_regions(driven[name]).ego_body, true_body(rig.cameras[name])
    assert found[truth].mean() > 0.8
    assert truth[found].mean() > 0.93


def test_few_frames_in_changing_light_make_no_road_of_the_body(rig, driven):
    truth = true_body(rig.cameras["left"])
    factors = (1.0, 0.5, 0.7, 0.4, 0.8)
    dark = [(frame * factor).astype(np.uint8) for frame, factor in zip(driven["left"], factors, strict=False)]
    found = find_regions(dark).ego_body
    assert found.any()
    assert truth[found].mean() > 0.9


def test_without_a_body_none_is_found(rig, hidden, caplog):
    for frames in frames_of(rig, hidden, count=6).values():
        assert not find_regions(frames).ego_body.any()
    assert "no ego body" in caplog.text


def test_a_car_that_stands_tells_nothing(rig, ego, caplog):
    left = Rig({"left": rig.cameras["left"]}, rig.base_frame)
    frames = frames_of(left, ego, count=6, speed_mps=0.0)["left"]
    assert not find_regions(frames).ego_body.any()
    assert "places" in caplog.text
    # Frames so noisy that none looks like another.
    found = find_ego_body(frames, ~lens_of(left.cameras["left"])[0].valid_mask())
    assert not found.mask.any()
    assert "stood still" in found.reason


def test_a_stop_on_the_way_changes_nothing(driven):
    rng = np.random.default_rng(0)
    frame = driven["left"][3].astype(np.float32)
    stop = [np.clip(frame + rng.normal(0.0, 5.0, frame.shape), 0, 255).astype(np.uint8) for _ in range(12)]
    expected = find_regions(driven["left"]).ego_body
    found = find_regions([*driven["left"][:3], *stop, *driven["left"][4:]]).ego_body
    assert (found & expected).sum() > 0.95 * (found | expected).sum()
    assert not find_regions(stop).ego_body.any()


def test_frames_of_any_size_and_without_any_edge_have_no_body(caplog):
    assert not find_regions([np.full((3, 5, 3), 90, np.uint8)] * 5).ego_body.any()
    flat = [np.full((240, 320, 3), 60 + 20 * number, np.uint8) for number in range(6)]
    assert not find_regions(flat).anywhere.any()
    dark = find_ego_body([np.zeros((30, 40, 3), np.uint8)] * 5, np.ones((30, 40), bool))
    assert not dark.mask.any()
    assert dark.reason == "the frames are dark"
    assert caplog.text.count("no ego body") == 2
