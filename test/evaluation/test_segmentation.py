"""Scores of masks against truth where sizes, lenses and answers differ."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from internimage_perception.errors import CalibrationError
from internimage_perception.evaluation.segmentation import SegmentationScore, nearest
from internimage_perception.evaluation.truth import same_shape
from internimage_perception.geometry import KannalaBrandtCamera, Rig, RigCamera
from internimage_perception.inference.lens import LensMasks

NAMES = [f"class {index}" for index in range(13)]


def full(value: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def lenses(theta_max: float = 1.2) -> LensMasks:
    lens = KannalaBrandtCamera(width=64, height=48, fx=18.0, fy=18.0, cx=31.5, cy=23.5, theta_max=theta_max)
    return LensMasks(Rig({"front": RigCamera(name="front", image_topic="/front", camera=lens)}))


def test_masks_of_the_product_lose_nothing_at_the_rim() -> None:
    # The mask is coarser than the truth and cut to the lens at its own size, as it is published.
    known = lenses()
    score = SegmentationScore(NAMES, known)
    blind = known.blind("front", (48, 64), (12, 16))
    frame = score.add("front", 1, full(4, 12, 16) | blind, full(4, 96, 128), (48, 64))
    assert frame.miou == frame.accuracy == 1.0
    pixels = score.summary()["pixels"]
    assert pixels["unanswered"] == 0 and pixels["scored"] == frame.pixels
    assert pixels["scored"] + pixels["unscored"] == 96 * 128
    assert 0.9 < frame.pixels / (np.pi * (1.2 * 36) ** 2) < 1.0


def test_no_answer_inside_the_lens_is_a_miss() -> None:
    score = SegmentationScore(NAMES, lenses())
    mask = full(4)
    mask[:, :32] = 255
    frame = score.add("front", 1, mask, full(4), (48, 64))
    assert frame.miou == frame.accuracy == 0.5
    summary = score.summary()
    assert summary["pixels"]["unanswered"] == frame.pixels / 2
    assert summary["classes"][4]["precision"] == 1.0 and summary["classes"][4]["recall"] == 0.5
    assert np.array(summary["confusion"])[4, 13] == frame.pixels / 2


def test_answers_outside_the_lens_or_without_truth_cost_nothing() -> None:
    score = SegmentationScore(NAMES, lenses(theta_max=0.5))
    y, x = np.mgrid[:48, :64]
    outside = np.hypot(x - 31.5, y - 23.5) > 18 * 0.5
    mask, truth = full(4), full(4)
    mask[outside] = 9
    truth[20:24], mask[20:24] = 255, 7
    frame = score.add("front", 1, mask, truth, (48, 64))
    assert frame.miou == 1.0
    summary = score.summary()
    assert summary["per_class"]["class 9"] is None and summary["per_class"]["class 7"] is None
    assert summary["pixels"]["unscored"] == int((outside & (truth != 255)).sum())
    assert summary["pixels"]["ignored"] == 4 * 64


def test_rings_cameras_and_the_set_add_up() -> None:
    rng = np.random.default_rng(5)
    score = SegmentationScore(NAMES, lenses())
    for camera in ("front", "side"):
        for index in range(3):
            truth = rng.choice([*range(13), 255], (48, 64)).astype(np.uint8)
            score.add(camera, index, rng.integers(0, 13, (24, 32), np.uint8), truth, (48, 64))
    rings = sum((score.matrix("front", ring).counts for ring in score.summary()["per_ring"]), start=0)
    np.testing.assert_array_equal(rings, score.matrix("front").counts)
    # "side" has no lens: it counts in the set, in no ring.
    np.testing.assert_array_equal(score.matrix().counts, rings + score.matrix("side").counts)
    summary = score.summary()
    assert summary["per_camera"]["side"]["per_ring"] is None
    assert sum(item["scored_pixels"] for item in summary["per_ring"].values()) == rings.sum()
    assert sum(frame.pixels for frame in score.frames) == summary["scored_pixels"]
    assert summary["per_camera"]["front"]["resolutions"]["mask"] == ["32x24"]


@pytest.mark.parametrize(
    ("count", "twelve", "thirteen"), [(13, 11 / 12, 12 / 13), (12, 11 / 12, None), (19, None, None)]
)
def test_which_means_a_set_of_classes_has(count: int, twelve: float | None, thirteen: float | None) -> None:
    score = SegmentationScore([str(index) for index in range(count)])
    truth = np.arange(count, dtype=np.uint8)[None].repeat(2, axis=0)
    mask = truth.copy()
    mask[:, 3] = 255
    score.add("a", 0, mask, truth, (2, count))
    summary = score.summary()
    assert summary["miou12"] == (None if twelve is None else pytest.approx(twelve))
    assert summary["miou13"] == (None if thirteen is None else pytest.approx(thirteen))
    assert summary["miou"] == pytest.approx((count - 1) / count)


def test_what_does_not_fit_is_refused() -> None:
    score = SegmentationScore(NAMES, lenses())
    with pytest.raises(CalibrationError, match="64x64"):
        score.add("front", 0, full(1, 64, 64), full(1, 64, 64), (64, 64))
    with pytest.raises(ValueError, match="answers holds id 40"):
        score.add("front", 0, full(40), full(1), (48, 64))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 90), st.integers(1, 90))
def test_nearest_takes_the_pixel_that_holds_the_centre(
    rows: int, columns: int, height: int, width: int
) -> None:
    ids = np.arange(rows * columns).reshape(rows, columns).astype(np.uint8)
    found = nearest(ids, width, height)
    for v in {0, height // 2, height - 1}:
        for u in {0, width // 3, width - 1}:
            row, column = (2 * v + 1) * rows // (2 * height), (2 * u + 1) * columns // (2 * width)
            assert found[v, u] == ids[row, column]
    if height % rows == 0 and width % columns == 0:
        exact = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(found, exact)


@given(st.integers(8, 4000), st.integers(8, 4000), st.floats(0.1, 3))
def test_same_shape_accepts_every_even_scale(height: int, width: int, scale: float) -> None:
    assert same_shape((round(height * scale), round(width * scale)), (height, width))


@pytest.mark.parametrize("size", [(47, 64), (48, 62), (64, 48), (480, 630), (96, 126)])
def test_same_shape_refuses_other_shapes(size: tuple[int, int]) -> None:
    assert not same_shape(size, (48, 64))
