"""Boxes, outlines and masks: they hold their object, tightly, and are cut at image and lens."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.data.distortion.objects import carried_outline, visible_share, warped_objects
from internimage_perception.data.distortion.warp_map import warp_map
from internimage_perception.data.distortion.warps import CameraWarp
from internimage_perception.data.sample import ObjectLabel
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera
from internimage_perception.geometry.poses import rpy_to_matrix

PINHOLE = PinholeCamera(width=160, height=120, fx=40.0, fy=40.0, cx=79.5, cy=59.5)


def fisheye(theta_max=1.6, focal=42.0):
    return KannalaBrandtCamera(
        width=150,
        height=110,
        fx=focal,
        fy=focal,
        cx=74.0,
        cy=56.0,
        d=(0.02, 0.0, 0.0, 0.0),
        theta_max=theta_max,
    )


def warp_of(roll=0.0, pitch=0.0, yaw=0.0, target=None, source=PINHOLE):
    rotation = tuple(map(tuple, rpy_to_matrix(roll, pitch, yaw).tolist()))
    return CameraWarp(source=source, target=target or fisheye(), rotation=rotation)


def rectangle(left, top, right, bottom, *, mask=True, polygon=True):
    """An object that covers whole pixels from (left, top) to before (right, bottom)."""
    covered = np.zeros((PINHOLE.height, PINHOLE.width), bool)
    covered[top:bottom, left:right] = True
    box = np.array([left, top, right, bottom]) - 0.5
    corners = np.array([(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])])
    return ObjectLabel(4, box, (corners,) if polygon else (), covered if mask else None, instance_id=7)


def filled(outline, shape):
    raster = np.zeros(shape, np.uint8)
    cv2.fillPoly(raster, [np.rint(outline * 256).astype(np.int32)], 1, shift=8)
    return raster.astype(bool)


angle = st.floats(-0.4, 0.4)


@settings(max_examples=40)
@given(angle, angle, angle, st.integers(0, 120), st.integers(0, 90), st.integers(4, 40), st.integers(4, 30))
def test_boxes_hold_their_pixels_tightly(roll, pitch, yaw, left, top, width, height):
    placed = warp_map(warp_of(roll, pitch, yaw))
    right, bottom = min(left + width, 160), min(top + height, 120)
    nothing = np.zeros_like(placed.inside)
    hidden = nothing | placed.outside_lens
    given_mask = rectangle(left, top, right, bottom)
    truth = placed.nearest(given_mask.mask.view(np.uint8), 0).astype(bool)
    boxes = {}
    for kind in ("mask", "polygon", "box"):
        item = rectangle(left, top, right, bottom, mask=kind == "mask", polygon=kind != "box")
        found = warped_objects([item], placed, hidden, 0.0)
        if found:
            boxes[kind] = found[0].box
            assert (found[0].class_id, found[0].instance_id) == (4, 7)
    if "mask" in boxes:
        rows, columns = np.nonzero(truth)
        tight = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
        np.testing.assert_array_equal(boxes["mask"], tight)
        for kind in ("polygon", "box"):
            # A thin corner may reach up to a pixel beyond the last pixel whose centre it covers, or more.
            assert (boxes[kind][:2] <= boxes["mask"][:2] + 0.6).all(), boxes
            assert (boxes[kind][2:] >= boxes["mask"][2:] - 0.6).all(), boxes
    elif boxes:
        assert truth.sum() == 0


@settings(max_examples=30)
@given(angle, angle, angle)
def test_an_outline_covers_the_pixels_of_its_mask(roll, pitch, yaw):
    placed = warp_map(warp_of(roll, pitch, yaw))
    (found,) = warped_objects([rectangle(50, 35, 110, 90)], placed, placed.outside_lens, 0.0)
    drawn = filled(found.polygons[0], placed.inside.shape)
    # fillPoly draws its border too.
    wrong = drawn & ~cv2.dilate(found.mask.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    missing = found.mask & ~cv2.dilate(drawn.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert wrong.sum() <= 4
    assert missing.sum() == 0
    assert abs(drawn.sum() - found.mask.sum()) < 0.12 * found.mask.sum() + 30


def test_a_concave_outline_is_cut_at_image_and_lens():
    """A comb: what lies outside is gone, what lies inside is untouched."""
    teeth = [(20.0, 100.0), (20.0, 10.0)]
    for x in range(30, 140, 20):
        teeth += [(x, 10.0), (x, 80.0), (x + 10.0, 80.0), (x + 10.0, 10.0)]
    teeth += [(150.0, 10.0), (150.0, 100.0)]
    comb = np.array(teeth)
    warp = warp_of(0.2, 0.5, 0.1, fisheye(theta_max=0.9, focal=70.0))
    placed = warp_map(warp)
    cut = filled(carried_outline(comb, warp), placed.inside.shape)
    source = np.zeros((120, 160), np.uint8)
    cv2.fillPoly(source, [np.rint(comb).astype(np.int32)], 1)
    truth = placed.nearest(source, 0).astype(bool)
    edge = cv2.morphologyEx(truth.view(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(bool)
    # Along the rim and the image's border the outline runs on the very edge.
    near_rim = cv2.dilate(placed.outside_lens.view(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    near_rim[:2], near_rim[-2:], near_rim[:, :2], near_rim[:, -2:] = True, True, True, True
    firm = ~edge & ~near_rim
    assert (truth & firm).sum() > 500
    assert ((cut != truth) & firm).sum() == 0
    assert placed.outside_lens.any()


def test_objects_that_leave_or_hide_are_dropped():
    warp = warp_of(target=fisheye(theta_max=0.7))
    placed = warp_map(warp)
    corner, middle = rectangle(0, 0, 20, 20), rectangle(70, 50, 90, 70)
    for kinds in ({"mask": True}, {"mask": False}, {"mask": False, "polygon": False}):
        items = [rectangle(0, 0, 20, 20, **kinds), rectangle(70, 50, 90, 70, **kinds)]
        found = warped_objects(items, placed, placed.outside_lens, 0.25)
        assert len(found) == 1
        assert found[0].box[0] > 50.0
    hidden = placed.outside_lens.copy()
    hidden[:, :75] = True
    half = visible_share(np.argwhere(middle.mask)[:, ::-1].astype(float), warp, hidden)
    assert 0.3 < half < 0.7
    assert len(warped_objects([middle], placed, hidden, half - 0.05)) == 1
    assert len(warped_objects([middle], placed, hidden, half + 0.05)) == 0
    (cut,) = warped_objects([middle], placed, hidden, 0.0)
    assert cut.box[0] == 74.5
    assert visible_share(np.argwhere(corner.mask)[:, ::-1].astype(float), warp, placed.outside_lens) == 0.0


def test_a_box_behind_a_fisheyes_own_back_is_carried():
    """From fisheye to fisheye, beyond 90 degrees off the axis."""
    source = fisheye(theta_max=1.9, focal=36.0)
    warp = warp_of(pitch=-0.5, source=source, target=fisheye(theta_max=1.9, focal=36.0))
    placed = warp_map(warp)
    rays, _ = source.unproject(np.array([8.0, 56.0]))
    assert rays[2] < 0.0
    mask = np.zeros((source.height, source.width), bool)
    mask[45:68, 3:14] = True
    item = ObjectLabel(1, np.array([2.5, 44.5, 13.5, 67.5]), (), mask)
    found = warped_objects([item], placed, placed.outside_lens, 0.0)
    assert found
    assert found[0].mask.sum() > 20


@pytest.mark.parametrize("polygon", [True, False])
def test_an_object_cut_by_the_rim_of_the_sources_lens_keeps_its_bulge(polygon):
    """Beyond the rim nothing is known: the outline must follow the rim, not the chord between its ends."""
    source = fisheye(theta_max=1.0)
    warp = warp_of(yaw=0.3, source=source, target=PINHOLE)
    placed = warp_map(warp)
    covered = source.valid_mask().copy()
    covered[:, :100] = False
    rows, columns = np.nonzero(covered)
    box = np.array([99.5, rows.min() - 3.5, 130.5, rows.max() + 3.5])
    corners = np.array([(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])])
    assert columns.max() > 113
    assert not source.unproject(corners)[1].any()
    item = ObjectLabel(3, box, (corners,) if polygon else ())
    (found,) = warped_objects([item], placed, placed.outside_lens, 0.0)
    rows, columns = np.nonzero(placed.nearest(covered.view(np.uint8), 0))
    tight = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
    # Outwards along the rim it may be larger: corners are moved towards the lens's centre.
    larger = (tight - found.box) * (1.0, 1.0, -1.0, -1.0)
    assert (larger > -0.6).all(), (found.box, tight)
    assert (larger < 4.0).all(), (found.box, tight)
    unseen = ObjectLabel(3, np.array([0.0, 0.0, 9.0, 9.0]))
    assert not source.unproject(np.array([9.0, 9.0]))[1]
    assert warped_objects([unseen], placed, placed.outside_lens, 0.0) == ()


@pytest.mark.parametrize("outline", [[(0.0, 0.0), (1.0, 1.0)], [(5.0, 5.0)] * 4])
def test_an_outline_without_area_is_dropped(outline):
    assert carried_outline(np.array(outline), warp_of()) is None
