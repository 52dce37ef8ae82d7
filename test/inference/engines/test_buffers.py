"""How much memory calls need."""

import numpy as np
import pytest

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.buffers import Tensor, growth, numpy_type


def test_bytes_follow_shape_and_type():
    assert Tensor("a", (2, 3, 5), np.float32).size == 120
    assert Tensor("a", (2, 3, 5), np.uint8).size == 30
    assert Tensor("a", (), np.int64).size == 8


def test_only_what_is_too_small_grows():
    tensors = [Tensor("small", (2,), np.uint8), Tensor("same", (4,), np.uint8), Tensor("new", (3,), np.int32)]
    assert growth({"small": 8, "same": 4}, tensors) == {"new": 12}
    assert growth({"small": 1, "same": 4, "new": 11}, tensors) == {"small": 2, "new": 12}


def test_sizes_that_depend_on_the_frames_are_refused():
    with pytest.raises(BackendError, match=r"boxes, \(1, -1, 4\), is not known"):
        growth({}, [Tensor("boxes", (1, -1, 4), np.float32)])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("UINT8", np.uint8),
        ("HALF", np.float16),
        ("FLOAT", np.float32),
        ("INT32", np.int32),
        ("BOOL", np.bool_),
    ],
)
def test_types(kind, expected):
    assert numpy_type("a", kind) is expected


def test_types_that_arrays_lack_are_named():
    with pytest.raises(BackendError, match="scores has the type FP8"):
        numpy_type("scores", "FP8")
