"""Confusion matrices: by hand, and against a slow reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from internimage_perception.evaluation.confusion import ConfusionMatrix, count_pixels, unknown_id


def ids(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def test_by_hand() -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(ids([0, 0, 0, 1], [1, 2, 255, 255]), ids([0, 0, 1, 1], [255, 0, 0, 3]))
    # Row: truth; column: answer; last column: no answer. Truth 255 is out, so class 3 never appears.
    expected = [[2, 1, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(matrix.counts, expected)
    assert matrix.pixels == 6
    # 0: hit 2, missed 1, false 1. 1: hit 1, missed 1 (unanswered), false 1. 2: missed. 3: absent.
    np.testing.assert_allclose(matrix.iou(), [2 / 4, 1 / 3, 0, np.nan])
    np.testing.assert_allclose(matrix.recall(), [2 / 3, 1 / 2, 0, np.nan])
    np.testing.assert_allclose(matrix.precision(), [2 / 3, 1 / 2, np.nan, np.nan])
    assert matrix.miou() == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert matrix.miou(range(2)) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert np.isnan(matrix.miou([3]))
    assert matrix.accuracy() == 3 / 6


def test_a_class_only_answered_counts_as_zero() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(ids([0, 0]), ids([0, 2]))
    np.testing.assert_allclose(matrix.iou(), [0.5, np.nan, 0.0])
    assert matrix.miou() == 0.25


def test_one_matrix_over_the_set_is_not_the_mean_over_images() -> None:
    one, other = ConfusionMatrix(2), ConfusionMatrix(2)
    one.add(ids([0] * 9 + [1]), ids([0] * 10))
    other.add(ids([1] * 10), ids([1] * 10))
    both = one + other
    np.testing.assert_allclose(both.iou(), [9 / 10, 10 / 11])
    assert both.miou() != pytest.approx((one.miou() + other.miou()) / 2)
    np.testing.assert_array_equal(one.counts.sum(), 10)  # adding leaves the parts alone


def test_empty() -> None:
    matrix = ConfusionMatrix(13)
    assert np.isnan(matrix.miou()) and np.isnan(matrix.accuracy()) and np.isnan(matrix.iou()).all()


@st.composite
def images(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    classes = draw(st.sampled_from([1, 2, 13, 19, 150, 254, 255]))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=12))
    known = st.one_of(st.integers(0, classes - 1), st.just(255)) if classes < 255 else st.integers(0, 255)
    truth = draw(hnp.arrays(np.uint8, shape, elements=known))
    answers = draw(hnp.arrays(np.uint8, shape, elements=known))
    return classes, truth, answers, draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 3)))


@given(images())
def test_equals_the_slow_reference(sample: tuple[int, np.ndarray, np.ndarray, np.ndarray]) -> None:
    classes, truth, answers, groups = sample
    slow = np.zeros((4, classes, classes + 1), np.int64)
    for t, a, g in zip(truth.flat, answers.flat, groups.flat, strict=True):
        if t != 255:
            slow[g, t, classes if a == 255 else a] += 1
    np.testing.assert_array_equal(count_pixels(truth, answers, classes, groups, 4), slow)
    np.testing.assert_array_equal(count_pixels(truth, answers, classes)[0], slow.sum(axis=0))
    matrix = ConfusionMatrix(classes, slow.sum(axis=0))
    for index, iou in enumerate(matrix.iou()):
        hit = ((truth == index) & (answers == index)).sum()
        union = (((truth == index) | (answers == index)) & (truth != 255)).sum()
        assert iou == hit / union if union else np.isnan(iou)


def test_more_pixels_than_one_block() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 13, (700, 900), np.uint8)
    answers = rng.integers(0, 13, (700, 900), np.uint8)
    counts = count_pixels(truth[:, ::2], answers[:, ::2], 13)[0]  # strided views too
    slow = np.zeros((13, 14), np.int64)
    np.add.at(slow, (truth[:, ::2], answers[:, ::2]), 1)
    np.testing.assert_array_equal(counts, slow)


@pytest.mark.parametrize(
    ("truth", "answers", "said"), [(13, 0, "truth holds id 13"), (0, 200, "answers holds id 200")]
)
def test_unknown_ids_are_refused(truth: int, answers: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        count_pixels(ids([truth]), ids([answers]), 13)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        count_pixels(ids([0, 1]), ids([0]), 13)
    with pytest.raises(ValueError, match="int64"):
        count_pixels(np.array([0]), ids([0])[0], 13)
    with pytest.raises(ValueError, match="group 2 of 2"):
        count_pixels(ids([0]), ids([0]), 13, ids([2]), 2)
    with pytest.raises(ValueError, match="num_classes"):
        ConfusionMatrix(256)
    with pytest.raises(ValueError, match="shape"):
        ConfusionMatrix(2, np.zeros((2, 2), np.int64))


def test_unknown_id() -> None:
    assert unknown_id(ids([0, 12, 255]), 13) is None
    assert unknown_id(ids([0, 13, 255]), 13) == 13
    assert unknown_id(np.zeros((0, 4), np.uint8), 13) is None
