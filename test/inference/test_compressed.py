"""JPEG and PNG messages: meaning of the format string, whole files only."""

import cv2
import numpy as np
import pytest

from internimage_perception.errors import ImageError
from internimage_perception.inference.encodings import MAX_SIDE, decode_compressed
from internimage_perception.inference.image_files import read_header

RED, GREEN, BLUE = (230, 40, 20), (30, 200, 50), (20, 60, 210)


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """RGB with a red left, a green middle and a blue right third."""
    rgb = np.empty((height, width, 3), dtype=np.uint8)
    third = width // 3
    rgb[:, :third], rgb[:, third : 2 * third], rgb[:, 2 * third :] = RED, GREEN, BLUE
    return rgb


def encode(bgr: np.ndarray, extension: str, *params: int) -> np.ndarray:
    done, data = cv2.imencode(extension, bgr, params)
    assert done
    return data.reshape(-1)


def with_exif(jpeg: bytes, orientation: int = 6, thumbnail: bytes = b"") -> bytes:
    """Insert an EXIF segment with an orientation and, behind it, a whole small JPEG."""
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff + thumbnail
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    "text",
    ["png", "", "jpeg", "bgr8; png compressed bgr8", "rgb8; png compressed", "rgb8;png compressed bgr8"],
)
def test_ordinary_picture_keeps_its_colours(text, order):
    rgb = picture()
    pixels = decode_compressed(encode(rgb[..., ::-1], ".png"), text, order)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, rgb if order == "rgb" else rgb[..., ::-1])


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("text", ["jpeg", "bgr8; jpeg compressed bgr8", "", "rgb8; jpeg compressed bgr8"])
def test_jpeg_keeps_its_colours(text, order):
    rgb = picture()
    pixels = decode_compressed(encode(rgb[..., ::-1], ".jpg", cv2.IMWRITE_JPEG_QUALITY, 98), text, order)
    expected = np.array([RED, GREEN, BLUE]) if order == "rgb" else np.array([RED, GREEN, BLUE])[:, ::-1]
    np.testing.assert_allclose(pixels[24, [8, 32, 56]], expected, atol=6)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_colours_handed_over_as_rgb_are_swapped_back(order):
    rgb = picture()
    as_if_bgr = encode(rgb, ".png")
    pixels = decode_compressed(as_if_bgr, "rgb8; png compressed rgb8", order)
    np.testing.assert_array_equal(pixels, rgb if order == "rgb" else rgb[..., ::-1])


def test_png_with_16_bits_keeps_the_high_byte():
    gray = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    pixels = decode_compressed(encode(gray, ".png"), "mono16; png compressed ")
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 128, 255])
    assert pixels.shape == (1, 5, 3)


def test_alpha_is_dropped_and_gray_is_spread():
    rgb = picture()
    bgra = np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 9, dtype=np.uint8)])
    np.testing.assert_array_equal(decode_compressed(encode(bgra, ".png"), "png"), rgb)
    gray = rgb[..., 0]
    np.testing.assert_array_equal(
        decode_compressed(encode(gray, ".png"), "mono8; png compressed"), np.dstack([gray] * 3)
    )


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_mosaic_stored_as_gray_is_demosaiced(order):
    mosaic = np.tile(np.array([[200, 100], [100, 50]], dtype=np.uint8), (6, 6))
    expected = np.broadcast_to([200, 100, 50] if order == "rgb" else [50, 100, 200], (12, 12, 3))
    pixels = decode_compressed(encode(mosaic, ".png"), "bayer_rggb8; png compressed ", order)
    np.testing.assert_array_equal(pixels, expected)
    gray = decode_compressed(encode(mosaic, ".png"), "bayer_rggb8; jpeg compressed mono8", order)
    np.testing.assert_array_equal(gray[..., 0], mosaic)
    bgr = np.full((12, 12, 3), (50, 100, 200), dtype=np.uint8)
    pixels = decode_compressed(encode(bgr, ".png"), "bayer_rggb8; jpeg compressed bgr8", order)
    np.testing.assert_array_equal(pixels, expected)


def test_exif_orientation_is_ignored():
    jpeg = encode(picture()[..., ::-1], ".jpg").tobytes()
    assert decode_compressed(with_exif(jpeg), "jpeg").shape == (48, 64, 3)


@pytest.mark.parametrize(
    "params", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)]
)
def test_truncated_jpeg_is_refused_at_any_length(params):
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    jpeg = with_exif(
        encode(noise, ".jpg", *params).tobytes(), thumbnail=encode(noise[:8, :8], ".jpg").tobytes()
    )
    assert decode_compressed(jpeg, "jpeg").shape == (40, 56, 3)
    assert decode_compressed(jpeg + b"\0" * 100, "jpeg").shape == (40, 56, 3), (
        "padding behind the end is harmless"
    )
    for length in [*range(1, len(jpeg), 97), len(jpeg) - 1, len(jpeg) - 2]:
        with pytest.raises(ImageError, match=r"truncated|neither"):
            decode_compressed(jpeg[:length], "jpeg")


def test_truncated_png_is_refused_at_any_length():
    png = encode(picture(), ".png")
    for length in range(1, len(png)):
        with pytest.raises(ImageError, match=r"truncated|neither"):
            decode_compressed(png[:length], "png")


def test_damaged_png_is_an_image_error():
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    png = encode(noise, ".png").copy()
    png[len(png) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="damaged"):
        decode_compressed(png, "png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("16UC1; compressedDepth png", "not supported: only JPEG and PNG"),
        ("32FC1; compressedDepth", "not supported"),
        ("h264", "'h264' is not supported"),
        ("ffmpeg;hevc", "not supported"),
    ],
)
def test_depth_and_video_are_named_as_unsupported(text, words):
    with pytest.raises(ImageError, match=words):
        decode_compressed(encode(picture(), ".png"), text)


def test_no_data_and_foreign_data():
    with pytest.raises(ImageError, match="holds no data"):
        decode_compressed(b"", "jpeg")
    with pytest.raises(ImageError, match=r"neither JPEG nor PNG: it starts with 52 49 46 46"):
        decode_compressed(b"RIFF....WEBP", "webp")


def test_absurd_size_is_refused_before_decoding():
    png = bytearray(encode(picture(), ".png").tobytes())
    png[16:20] = (MAX_SIDE + 1).to_bytes(4, "big")
    with pytest.raises(ImageError, match=f"{MAX_SIDE + 1}x48"):
        decode_compressed(bytes(png), "png")
    jpeg = bytearray(encode(picture(), ".jpg").tobytes())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 7] = (65535).to_bytes(2, "big")
    with pytest.raises(ImageError, match="64x65535"):
        decode_compressed(bytes(jpeg), "jpeg")


def test_headers_are_read():
    gray = picture()[..., 0]
    assert read_header(encode(picture(), ".jpg").data) == ("jpeg", 64, 48, 3)
    assert read_header(encode(gray, ".jpg").data) == ("jpeg", 64, 48, 1)
    assert read_header(encode(picture(), ".png").data) == ("png", 64, 48, 3)
    with pytest.raises(ImageError, match="ends before it states a size"):
        read_header(memoryview(b"\xff\xd8\xff\xd9\xff\xd9"))


def test_real_camera_jpeg(shared_data):
    image = next((shared_data / "fisheye" / "jeyp4_rover_surround").rglob("*.[jp][pn]g"))
    data = np.frombuffer(image.read_bytes(), dtype=np.uint8)
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_array_equal(decode_compressed(data, "jpeg", "bgr"), expected)
    np.testing.assert_array_equal(decode_compressed(data, "jpeg", "rgb"), expected[..., ::-1])
