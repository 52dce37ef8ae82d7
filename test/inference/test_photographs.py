"""Photographs from files: what a viewer would show, whatever the file is."""

import cv2
import numpy as np
import pytest

from internimage_perception.errors import ImageError
from internimage_perception.inference.encodings import MAX_SIDE
from internimage_perception.inference.photographs import read_photograph

RED, GREEN, BLUE, WHITE = (230, 20, 30), (10, 200, 40), (20, 30, 210), (250, 250, 250)


def corners(height=48, width=64):
    """RGB with another colour in each quarter, red in the upper left one."""
    rgb = np.empty((height, width, 3), np.uint8)
    middle_row, middle_column = height // 2, width // 2
    rgb[:middle_row, :middle_column], rgb[:middle_row, middle_column:] = RED, GREEN
    rgb[middle_row:, :middle_column], rgb[middle_row:, middle_column:] = BLUE, WHITE
    return rgb


def save(path, pixels, *parameters):
    assert cv2.imwrite(str(path), pixels, parameters)
    return path


def with_orientation(jpeg, orientation):
    """Insert an EXIF segment with one entry, the orientation."""
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


# What a camera stored, made from the upright picture (EXIF 2.3, tag 274).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda upright: np.rot90(upright.transpose(1, 0, 2), 2),
    8: lambda upright: np.rot90(upright, 3),
}


@pytest.mark.parametrize("orientation", STORED)
def test_a_photograph_is_turned_upright(tmp_path, orientation):
    stored = np.ascontiguousarray(STORED[orientation](corners())[..., ::-1])
    path = save(tmp_path / "a.jpg", stored, cv2.IMWRITE_JPEG_QUALITY, 98)
    path.write_bytes(with_orientation(path.read_bytes(), orientation))
    pixels = read_photograph(path)
    assert pixels.shape == (48, 64, 3)
    np.testing.assert_allclose(pixels[[12, 12, 36, 36], [16, 48, 16, 48]], [RED, GREEN, BLUE, WHITE], atol=8)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".webp", ".JPG"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_formats_and_channel_orders(tmp_path, ending, order):
    quality = {".webp": (cv2.IMWRITE_WEBP_QUALITY, 101)}.get(ending, ())
    path = save(tmp_path / f"a{ending}", corners()[..., ::-1], *quality)
    pixels = read_photograph(path, order)
    expected = corners() if order == "rgb" else corners()[..., ::-1]
    np.testing.assert_allclose(pixels[[12, 36], [16, 16]], expected[[12, 36], [16, 16]], atol=8)
    assert pixels.dtype == np.uint8


def test_grey_becomes_colour(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = read_photograph(save(tmp_path / "grey.png", grey))
    np.testing.assert_array_equal(pixels, grey[..., None].repeat(3, axis=2))
    deep = read_photograph(save(tmp_path / "deep.png", grey.astype(np.uint16) << 8 | 7))
    np.testing.assert_array_equal(deep, pixels)


def test_alpha_falls_away(tmp_path):
    """As in Pillow's conversion to RGB, which the official evaluation begins with."""
    rgba = np.dstack([corners()[..., ::-1], np.zeros((48, 64), np.uint8)])
    np.testing.assert_array_equal(read_photograph(save(tmp_path / "a.png", rgba)), corners())


def test_what_is_no_picture_is_named(tmp_path):
    whole = save(tmp_path / "whole.jpg", corners()).read_bytes()
    header = bytearray(save(tmp_path / "whole.png", corners()).read_bytes())
    header[16:20] = (MAX_SIDE + 1).to_bytes(4, "big")
    for name, content, complaint in (
        ("cut.jpg", whole[:-40], "truncated"),
        ("empty.jpg", b"", "is no picture"),
        ("text.png", b"not a picture", "is no picture"),
        ("wide.png", bytes(header), f"each side must be 1 to {MAX_SIDE}"),
        ("half.bmp", b"BM" + bytes(60), r"is no picture|is damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=complaint) as caught:
            read_photograph(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    for path in (tmp_path / "nowhere.jpg", tmp_path):
        with pytest.raises(ImageError, match="cannot be read: "):
            read_photograph(path)
