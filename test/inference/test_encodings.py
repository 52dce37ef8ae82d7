"""Raw image bytes to pixels: every packing round-trips, every misfit is named."""

import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.errors import ImageError
from internimage_perception.inference.encodings import ENCODINGS, MAX_SIDE, byte_view, decode_image

# Position of red, green and blue in a pixel of each interleaved encoding, and its number of samples.
INTERLEAVED = {
    "rgb": ((0, 1, 2), 3),
    "bgr": ((2, 1, 0), 3),
    "rgba": ((0, 1, 2), 4),
    "bgra": ((2, 1, 0), 4),
}
ALIASES = {
    "8UC3": "bgr8",
    "8UC4": "bgra8",
    "16UC3": "bgr16",
    "16UC4": "bgra16",
    "8UC1": "mono8",
    "16UC1": "mono16",
}
MOSAICS = {"rggb": ("rg", "gb"), "bggr": ("bg", "gr"), "gbrg": ("gb", "rg"), "grbg": ("gr", "bg")}


def pad_rows(rows: np.ndarray, step: int, *, last: bool = True, seed: int = 0) -> np.ndarray:
    """Lay rows of bytes out with `step` bytes each, the padding filled with noise."""
    padded = np.random.default_rng(seed).integers(0, 256, (rows.shape[0], step), dtype=np.uint8)
    padded[:, : rows.shape[1]] = rows
    flat = padded.reshape(-1)
    return flat if last else flat[: step * (rows.shape[0] - 1) + rows.shape[1]]


def sixteen_bit(samples: np.ndarray, *, big_endian: bool, seed: int = 0) -> np.ndarray:
    """Widen bytes to 16-bit samples with noise below, as rows of bytes."""
    low = np.random.default_rng(seed).integers(0, 256, samples.shape, dtype=np.uint16)
    wide = (samples.astype(np.uint16) << 8) | low
    return wide.astype(">u2" if big_endian else "<u2").view(np.uint8).reshape(samples.shape[0], -1)


def pack_interleaved(rgb: np.ndarray, name: str) -> np.ndarray:
    order, samples = INTERLEAVED[name]
    packed = np.full((*rgb.shape[:2], samples), 77, dtype=np.uint8)
    for channel, position in enumerate(order):
        packed[..., position] = rgb[..., channel]
    return packed.reshape(rgb.shape[0], -1)


def bt601(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 limited range, in real numbers."""
    luma = 255 / 219 * (y.astype(float) - 16)
    blue = 255 / 224 * (u.astype(float) - 128)
    red = 255 / 224 * (v.astype(float) - 128)
    rgb = np.stack(
        [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1
    )
    return np.clip(rgb, 0, 255)


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
paddings = st.integers(0, 7)
seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(
    size=sizes, padding=paddings, seed=seeds, last=st.booleans(),
    name=st.sampled_from(list(INTERLEAVED)), order=st.sampled_from(["rgb", "bgr"]),
)  # fmt: skip
def test_interleaved_8_bit_round_trips_with_padded_rows(size, padding, seed, last, name, order):
    height, width = size
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows = pack_interleaved(rgb, name)
    step = rows.shape[1] + padding
    pixels = decode_image(
        pad_rows(rows, step, last=last), width, height, f"{name}8", step, channel_order=order
    )
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, rgb if order == "rgb" else rgb[..., ::-1])


@settings(deadline=None)
@given(
    size=sizes, padding=paddings, seed=seeds, big_endian=st.booleans(),
    name=st.sampled_from([*INTERLEAVED, "mono"]), order=st.sampled_from(["rgb", "bgr"]),
)  # fmt: skip
def test_16_bit_samples_keep_their_high_byte(size, padding, seed, big_endian, name, order):
    height, width = size
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if name == "mono":
        rgb[..., 1] = rgb[..., 2] = rgb[..., 0]
        samples = rgb[..., 0]
    else:
        samples = pack_interleaved(rgb, name)
    rows = sixteen_bit(samples, big_endian=big_endian, seed=seed)
    step = rows.shape[1] + padding
    pixels = decode_image(
        pad_rows(rows, step), width, height, f"{name}16", step, big_endian=big_endian, channel_order=order
    )
    np.testing.assert_array_equal(pixels, rgb if order == "rgb" else rgb[..., ::-1])


@settings(deadline=None)
@given(size=sizes, padding=paddings, seed=seeds)
def test_gray_fills_three_channels(size, padding, seed):
    height, width = size
    gray = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    pixels = decode_image(pad_rows(gray, width + padding), width, height, "mono8", width + padding)
    np.testing.assert_array_equal(pixels, np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize(("alias", "meaning"), ALIASES.items())
def test_opencv_type_names_are_aliases(alias, meaning):
    data = np.random.default_rng(1).integers(0, 256, 3 * 5 * 8, dtype=np.uint8)
    step = len(data) // 3
    np.testing.assert_array_equal(
        decode_image(data, 5, 3, alias, step), decode_image(data, 5, 3, meaning, step)
    )


@settings(deadline=None)
@given(
    half=st.tuples(st.integers(1, 5), st.integers(1, 5)), padding=paddings, seed=seeds,
    name=st.sampled_from(["uyvy", "yuv422", "yuyv", "yuv422_yuy2"]), order=st.sampled_from(["rgb", "bgr"]),
)  # fmt: skip
def test_yuv422_is_bt601_limited_range(half, padding, seed, name, order):
    height, width = half[0], 2 * half[1]
    rng = np.random.default_rng(seed)
    y = rng.integers(16, 236, (height, width), dtype=np.uint8)
    u, v = rng.integers(16, 241, (2, height, width // 2), dtype=np.uint8)
    packed = np.empty((height, width // 2, 4), dtype=np.uint8)
    positions = (1, 3, 0, 2) if name in {"uyvy", "yuv422"} else (0, 2, 1, 3)
    for position, plane in zip(positions, (y[:, 0::2], y[:, 1::2], u, v), strict=True):
        packed[..., position] = plane
    step = 2 * width + padding
    data = pad_rows(packed.reshape(height, -1), step)
    pixels = decode_image(data, width, height, name, step, channel_order=order)
    expected = bt601(y, u.repeat(2, axis=1), v.repeat(2, axis=1))
    np.testing.assert_allclose(pixels, expected if order == "rgb" else expected[..., ::-1], atol=2)


@settings(deadline=None)
@given(
    half=st.tuples(st.integers(1, 5), st.integers(1, 5)), padding=paddings, seed=seeds,
    name=st.sampled_from(["nv12", "nv21"]), order=st.sampled_from(["rgb", "bgr"]), last=st.booleans(),
)  # fmt: skip
def test_nv12_and_nv21_with_padded_rows(half, padding, seed, name, order, last):
    height, width = 2 * half[0], 2 * half[1]
    rng = np.random.default_rng(seed)
    y = rng.integers(16, 236, (height, width), dtype=np.uint8)
    u, v = rng.integers(16, 241, (2, height // 2, width // 2), dtype=np.uint8)
    chroma = np.stack([u, v] if name == "nv12" else [v, u], axis=-1).reshape(height // 2, width)
    data = pad_rows(np.concatenate([y, chroma]), width + padding, last=last)
    pixels = decode_image(data, width, height, name, width + padding, channel_order=order)
    spread = [plane.repeat(2, axis=0).repeat(2, axis=1) for plane in (u, v)]
    expected = bt601(y, *spread)
    np.testing.assert_allclose(pixels, expected if order == "rgb" else expected[..., ::-1], atol=2)


def test_nv12_whose_step_counts_the_chroma_too():
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, 8 * 4 * 3 // 2, dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(data, 8, 4, "nv12", 12), decode_image(data, 8, 4, "nv12", 8))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("pattern", MOSAICS)
@pytest.mark.parametrize("depth", [8, 16])
def test_bayer_names_mean_the_top_left_pixels(pattern, depth, order):
    colour = {"r": 200, "g": 100, "b": 50}
    tile = np.array([[colour[letter] for letter in row] for row in MOSAICS[pattern]], dtype=np.uint8)
    mosaic = np.tile(tile, (4, 5))
    rows = sixteen_bit(mosaic, big_endian=False) if depth == 16 else mosaic
    step = rows.shape[1] + 6
    pixels = decode_image(pad_rows(rows, step), 10, 8, f"bayer_{pattern}{depth}", step, channel_order=order)
    expected = [200, 100, 50] if order == "rgb" else [50, 100, 200]
    np.testing.assert_array_equal(pixels, np.broadcast_to(expected, (8, 10, 3)))


def test_fitting_layout_is_a_read_only_view():
    data = np.arange(4 * 20, dtype=np.uint8)
    for encoding, order in (("rgb8", "rgb"), ("bgr8", "bgr"), ("8UC3", "bgr")):
        pixels = decode_image(data, 5, 4, encoding, 20, channel_order=order)
        assert np.shares_memory(pixels, data)
        assert not pixels.flags.writeable
    assert data.flags.writeable, "the message itself keeps its flags"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda b: array.array("B", b), np.frombuffer])
def test_any_buffer_of_bytes_is_viewed(make):
    raw = bytes(range(12))
    data = make(raw) if make is not np.frombuffer else np.frombuffer(raw, dtype=np.uint8)
    view = byte_view(data)
    assert view.tobytes() == raw
    assert np.shares_memory(view, np.frombuffer(data, dtype=np.uint8))
    np.testing.assert_array_equal(decode_image(data, 2, 2, "rgb8", 6).reshape(-1), list(range(12)))


@pytest.mark.parametrize("data", [None, "text", [1, 2, 3], 7])
def test_what_is_no_buffer_is_named(data):
    with pytest.raises(ImageError, match=rf"buffer of bytes, got {type(data).__name__}"):
        byte_view(data)


def test_encoding_names_ignore_case():
    data = np.arange(8, dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(data, 2, 2, "UYVY", 4), decode_image(data, 2, 2, "uyvy", 4))


@pytest.mark.parametrize(
    ("width", "height", "encoding", "step", "size", "words"),
    [
        (4, 2, "rgb8", 11, 24, ["rgb8 image of 4x2", "at least 12", "got 11"]),
        (4, 2, "rgb8", 0, 24, ["at least 12", "got 0"]),
        (4, 2, "mono16", 4, 16, ["at least 8", "got 4"]),
        (4, 2, "rgb8", 12, 23, ["needs 24 bytes", "got 23"]),
        (4, 2, "rgb8", 20, 31, ["step 20 needs 32 bytes", "got 31"]),
        (4, 2, "rgb8", 12, 0, ["needs 24 bytes", "got 0"]),
        (4, 2, "nv12", 4, 11, ["needs 12 bytes", "got 11"]),
        (0, 2, "rgb8", 0, 0, ["0x2", "1 to 16384"]),
        (4, 0, "rgb8", 12, 0, ["4x0", "1 to 16384"]),
        (-4, 2, "rgb8", 12, 24, ["-4x2"]),
        (4_000_000_000, 1, "mono8", 4_000_000_000, 10, ["4000000000x1", "1 to 16384"]),
        (MAX_SIDE + 1, 1, "mono8", MAX_SIDE + 1, MAX_SIDE + 1, ["1 to 16384"]),
        (3, 2, "uyvy", 6, 12, ["even width", "3x2"]),
        (3, 2, "yuv422_yuy2", 6, 12, ["even width"]),
        (3, 2, "nv12", 3, 9, ["even width"]),
        (4, 3, "nv21", 4, 20, ["even height", "4x3"]),
        (2, 8, "bayer_rggb8", 2, 16, ["3 to 16384"]),
    ],
)
def test_misfits_say_what_was_expected_and_what_came(width, height, encoding, step, size, words):
    with pytest.raises(ImageError) as caught:
        decode_image(np.zeros(size, dtype=np.uint8), width, height, encoding, step)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("encoding", ["", "32FC1", "jpeg", "rgb", "8UC2"])
def test_unknown_encoding_lists_the_known(encoding):
    with pytest.raises(ImageError) as caught:
        decode_image(np.zeros(100, dtype=np.uint8), 2, 2, encoding, 50)
    assert repr(encoding) in str(caught.value)
    for known in ("rgb8", "bayer_rggb16", "yuv422_yuy2", "nv12"):
        assert known in str(caught.value)
        assert known in ENCODINGS


def test_unknown_channel_order_is_refused():
    with pytest.raises(ImageError, match="'rgb' or 'bgr', got 'gbr'"):
        decode_image(np.zeros(12, dtype=np.uint8), 2, 2, "rgb8", 6, channel_order="gbr")
