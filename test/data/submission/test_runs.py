"""Run lengths of the contest: row by row, from 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from internimage_perception.data.datasets.run_lengths import mask_of_counts
from internimage_perception.data.submission import EMPTY, decode_runs, encode_classes, mask_of_runs

MAPS = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 2, 11, 12, 255]),
)


def by_hand(mask):
    """Pixel after pixel, as the contest describes it."""
    found, start = [], None
    for place, inside in enumerate([*mask.reshape(-1).tolist(), False], start=1):
        if inside and start is None:
            start = place
        elif not inside and start is not None:
            found += [start, place - start]
            start = None
    return " ".join(map(str, found)) or EMPTY


def test_the_example_of_the_rules():
    assert encode_classes(np.array([[1, 1, 0], [0, 1, 1]], np.uint8), 2) == ["3 2", "1 2 5 2"]
    np.testing.assert_array_equal(mask_of_runs("1 2 5 2", 2, 3), [[True, True, False], [False, True, True]])


def test_a_run_goes_on_in_the_next_row():
    assert encode_classes(np.array([[0, 1], [1, 0]], np.uint8), 2) == ["1 1 4 1", "2 2"]


def test_it_is_not_the_order_of_coco():
    mask = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
    assert encode_classes(mask, 2)[1] == "2 2 6 1"
    np.testing.assert_array_equal(mask_of_counts([2, 1, 1, 2], 2, 3), mask == 1)


@given(MAPS)
def test_every_map_comes_back(ids):
    texts = encode_classes(ids, 12)
    assert len(texts) == 12
    for number, text in enumerate(texts):
        assert text == by_hand(ids == number)
        np.testing.assert_array_equal(mask_of_runs(text, *ids.shape), ids == number)


def test_a_view_is_read_row_by_row():
    ids = np.arange(24, dtype=np.uint8).reshape(4, 6)[::-1, ::2] % 3
    assert encode_classes(ids, 3) == encode_classes(np.ascontiguousarray(ids), 3)


def test_full_and_empty_masks():
    assert encode_classes(np.zeros((540, 960), np.uint8), 3) == ["1 518400", EMPTY, EMPTY]
    assert mask_of_runs("1 518400", 540, 960).all()
    assert not mask_of_runs(EMPTY, 540, 960).any()
    assert encode_classes(np.zeros((0, 0), np.uint8), 2) == [EMPTY, EMPTY]


def test_runs_that_touch_are_allowed():
    np.testing.assert_array_equal(mask_of_runs("1 2 3 1", 1, 4), [[True, True, True, False]])
    starts, ends = decode_runs("1 2 3 1", 4)
    assert (starts.tolist(), ends.tolist()) == ([0, 2], [2, 3])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "whole numbers"), (" ", "whole numbers"), ("-2", "whole numbers"), ("1 -1", "whole numbers"),
        ("1.0 2", "whole numbers"), ("1  2", "whole numbers"), ("1 2 ", "whole numbers"),
        ("1,2", "whole numbers"), ("\u0661 \u0662", "whole numbers"), ("nan", "whole numbers"),
        ("1\n2", "whole numbers"),
        ("1", "come in pairs"), ("1 2 3", "come in pairs"),
        ("0 1", "counted from 1"), ("1 0", "counted from 1"),
        ("13 1", "the run 13 1 ends behind"), ("11 3", "the run 11 3 ends behind"),
        ("1 1 12 2", "the run 12 2 ends behind"),
        ("99999999999999999999 1", "ends behind"), ("1 99999999999999999999", "ends behind"),
        ("1 3 3 1", "the run 3 1 begins before"), ("5 1 1 1", "the run 1 1 begins before"),
    ],
)  # fmt: skip
def test_what_is_no_mask_is_refused(text, problem):
    for decode in (lambda: decode_runs(text, 12), lambda: mask_of_runs(text, 3, 4)):
        with pytest.raises(ValueError, match=r"\w") as error:
            decode()
        assert problem in str(error.value)
