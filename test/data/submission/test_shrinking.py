"""Which pixels a submitted mask takes."""

import zlib

import cv2
import numpy as np
import pytest

from internimage_perception.data.submission import NEAREST, shrink

# CRC-32 of the picked positions, little-endian int32, as Image.resize(..., NEAREST) of Pillow 13.0.0 picks.
BY_PILLOW = {
    (1920, 960): 0x846FDA1D, (1080, 540): 0x7FAFFED5, (2048, 960): 0x006642AC, (1024, 540): 0x02B518D3,
    (1280, 960): 0xACA3A46A, (1065, 960): 0x1BE35ACA, (473, 540): 0xF8218B71, (640, 960): 0x2D94C3AA,
    (3000, 960): 0xA7779E68, (4095, 540): 0xCBEED5BE, (1, 960): 0xCAD93467,
}  # fmt: skip


def picked(length, wanted, nearest, *, down):
    """Positions along one axis, told by two masks that hold their low and high bytes."""
    places = np.arange(length)
    axis = (slice(None), None) if down else (None, slice(None))
    size = (1, wanted) if down else (wanted, 1)
    low, high = (
        shrink(half.astype(np.uint8)[axis], nearest, *size).reshape(-1)
        for half in (places % 256, places // 256)
    )
    return low.astype(np.int32) + 256 * high.astype(np.int32)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("lengths", BY_PILLOW)
def test_pillow_s_positions(lengths, down):
    assert zlib.crc32(picked(*lengths, "pillow", down=down).astype("<i4").tobytes()) == BY_PILLOW[lengths]


def test_the_contest_s_pictures_give_odd_or_even_pixels():
    for length, wanted in ((1920, 960), (1080, 540)):
        np.testing.assert_array_equal(picked(length, wanted, "pillow", down=False), np.arange(1, length, 2))
        np.testing.assert_array_equal(picked(length, wanted, "opencv", down=False), np.arange(0, length, 2))


def test_opencv_is_opencv():
    ids = np.random.default_rng(3).integers(0, 13, (97, 131), dtype=np.uint8)
    expected = cv2.resize(ids, (40, 31), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(shrink(ids, "opencv", 40, 31), expected)


@pytest.mark.parametrize("nearest", NEAREST)
def test_size_and_values(nearest):
    ids = np.random.default_rng(4).choice(np.array([3, 255], np.uint8), (700, 300))
    small = shrink(ids, nearest)
    assert small.shape == (540, 960) and small.dtype == np.uint8
    assert set(np.unique(small)) == {3, 255}
    same = np.random.default_rng(5).integers(0, 13, (540, 960), dtype=np.uint8)
    np.testing.assert_array_equal(shrink(same, nearest), same)


def test_another_name_is_refused():
    with pytest.raises(KeyError):
        shrink(np.zeros((2, 2), np.uint8), "bilinear")
