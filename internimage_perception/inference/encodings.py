"""Turn the bytes of image messages into pixels, with at most one pass over them.

Encoding names are those of `sensor_msgs/image_encodings.hpp`. What the conversions mean:

- 16-bit samples become 8-bit by their high byte (`>> 8`), so 65535 is white;
- `8UC3` and `8UC4` carry no colour meaning of their own and are read as BGR and BGRA, as cv_bridge does;
- YUV is ITU-R BT.601 with limited range (16..235), as OpenCV converts it;
- `nv12` and `nv21` hold the luma plane and then the half-size chroma plane, both with `step` bytes per row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.errors import ImageError
from internimage_perception.inference.image_files import read_header

Pixels = npt.NDArray[np.uint8]

MAX_SIDE = 16384
"""Largest width or height that is believed, in pixels."""

_MIN_BAYER_SIDE = 3
"""OpenCV answers a smaller mosaic with black."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one encoding lies in memory and which OpenCV conversion reads it (None: it is that already)."""

    channels: int
    to_rgb: int | None
    to_bgr: int | None
    sample_bytes: int = 1
    even_width: bool = False
    chroma_plane: bool = False
    min_side: int = 1


_GRAY = _Layout(1, cv2.COLOR_GRAY2RGB, cv2.COLOR_GRAY2BGR)
_RGB = _Layout(3, None, cv2.COLOR_RGB2BGR)
_BGR = _Layout(3, cv2.COLOR_BGR2RGB, None)
_RGBA = _Layout(4, cv2.COLOR_RGBA2RGB, cv2.COLOR_RGBA2BGR)
_BGRA = _Layout(4, cv2.COLOR_BGRA2RGB, cv2.COLOR_BGRA2BGR)
_UYVY = _Layout(2, cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2BGR_UYVY, even_width=True)
_YUYV = _Layout(2, cv2.COLOR_YUV2RGB_YUY2, cv2.COLOR_YUV2BGR_YUY2, even_width=True)
_NV12 = _Layout(1, cv2.COLOR_YUV2RGB_NV12, cv2.COLOR_YUV2BGR_NV12, even_width=True, chroma_plane=True)
_NV21 = _Layout(1, cv2.COLOR_YUV2RGB_NV21, cv2.COLOR_YUV2BGR_NV21, even_width=True, chroma_plane=True)
# ROS names a mosaic by its top left 2x2 pixels, OpenCV by the 2x2 that start at the second row and column.
_BAYER = {
    "bayer_rggb": _Layout(1, cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerBG2BGR, min_side=_MIN_BAYER_SIDE),
    "bayer_bggr": _Layout(1, cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerRG2BGR, min_side=_MIN_BAYER_SIDE),
    "bayer_gbrg": _Layout(1, cv2.COLOR_BayerGR2RGB, cv2.COLOR_BayerGR2BGR, min_side=_MIN_BAYER_SIDE),
    "bayer_grbg": _Layout(1, cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerGB2BGR, min_side=_MIN_BAYER_SIDE),
}
_BOTH_DEPTHS = {"mono": _GRAY, "rgb": _RGB, "bgr": _BGR, "rgba": _RGBA, "bgra": _BGRA, **_BAYER}
_OPENCV_NAMES = {"C1": _GRAY, "C3": _BGR, "C4": _BGRA}

_LAYOUTS: Mapping[str, _Layout] = {
    **{f"{name}8": layout for name, layout in _BOTH_DEPTHS.items()},
    **{f"{name}16": replace(layout, sample_bytes=2) for name, layout in _BOTH_DEPTHS.items()},
    **{f"8U{name}": layout for name, layout in _OPENCV_NAMES.items()},
    **{f"16U{name}": replace(layout, sample_bytes=2) for name, layout in _OPENCV_NAMES.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _NV12,
    "nv21": _NV21,
}

ENCODINGS = tuple(_LAYOUTS)
"""Names that `decode_image` understands."""

# Since OpenCV 4.11 the file decoders can write RGB themselves.
_IMREAD_RGB: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)
_UNDECODABLE = ("compresseddepth", "h264", "h265", "hevc", "av1", "vp8", "vp9", "mpeg4", "ffmpeg", "theora")


def byte_view(data: object) -> Pixels:
    """Return any buffer (bytes, memoryview, array.array, ndarray) as one-dimensional uint8 without a copy.

    Raises ImageError when `data` is no buffer of plain bytes.
    """
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    try:
        view = memoryview(data)  # type: ignore[arg-type]  # whether it is a buffer is what is asked here
        return np.frombuffer(view, dtype=np.uint8) if view.nbytes else np.empty(0, dtype=np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        message = f"image data must be a buffer of bytes, got {type(data).__name__}"
        raise ImageError(message) from error


def decode_image(
    data: object,
    width: int,
    height: int,
    encoding: str,
    step: int,
    *,
    big_endian: bool = False,
    channel_order: str = "rgb",
) -> Pixels:
    """Return the pixels of a sensor_msgs/Image, uint8 (height, width, 3).

    Args:
        data: the image's bytes: one-dimensional uint8 array, bytes, memoryview or array.array.
        width: columns.
        height: rows.
        encoding: a name of `ENCODINGS`; see the module for what each means.
        step: bytes per row, padding included. The last row may lack its padding.
        big_endian: byte order of 16-bit samples (`is_bigendian`).
        channel_order: "rgb" or "bgr".

    Returns:
        A read-only view of `data` (rows may be padded) where its layout already fits, else a new array.

    Raises:
        ImageError: an unknown encoding, an impossible size, a step or a length that does not fit.
    """
    layout = _LAYOUTS.get(encoding) or _LAYOUTS.get(encoding.lower())
    if layout is None:
        message = f"image encoding {encoding!r} is not supported; known are {', '.join(ENCODINGS)}"
        raise ImageError(message)
    code = _conversion(layout, channel_order)
    _check_size(width, height, encoding, layout)
    view = _rows(byte_view(data), width, height, encoding, step, layout)
    if layout.sample_bytes == 2:
        view = np.ascontiguousarray(view[:, (0 if big_endian else 1) :: 2])
    if layout.channels > 1:
        # Splitting an axis never copies, whatever the padding.
        view = view.reshape(-1, width, layout.channels)
    if code is None:
        view.flags.writeable = False
        return view
    return _convert(view, code)


def decode_compressed(
    data: object,
    format: str,  # noqa: A002  # the field's name in sensor_msgs/CompressedImage
    channel_order: str = "rgb",
) -> Pixels:
    """Return the pixels of a sensor_msgs/CompressedImage holding a JPEG or PNG file, uint8 (h, w, 3).

    The bytes decide what the file is; `format` only adds what a file cannot say, by the convention of
    image_transport ("<encoding of the source>; jpeg compressed <encoding handed to the encoder>"): channels
    are swapped when a colour image was handed over as "rgb8" instead of "bgr8", and a Bayer mosaic stored
    as a grey picture is demosaiced. Any other format string, also an empty one, means an ordinary picture.
    EXIF orientation is ignored: calibration belongs to the pixels as the sensor delivered them.

    Args:
        data: the file's bytes.
        format: the message's format string, such as "jpeg" or "bgr8; jpeg compressed bgr8".
        channel_order: "rgb" or "bgr".

    Raises:
        ImageError: no data, depth or video formats, a truncated or damaged file.
    """
    source, target = _parse_format(format)
    buffer = byte_view(data)
    try:
        header = read_header(buffer.data)
        _check_size(header.width, header.height, header.kind)
        mosaic = _BAYER.get(source.rstrip("0123456789"))
        if mosaic is not None and not target and header.channels == 1:
            _check_size(header.width, header.height, source, mosaic)
            code = _conversion(mosaic, channel_order)
            gray = _read_file(buffer, cv2.IMREAD_GRAYSCALE)
            return gray if code is None else _convert(gray, code)
        handed_over_as_rgb = target.startswith("rgb")
        if _wants_bgr(channel_order) != handed_over_as_rgb:
            return _read_file(buffer, cv2.IMREAD_COLOR)
        if _IMREAD_RGB is not None:
            return _read_file(buffer, _IMREAD_RGB)
        return _convert(_read_file(buffer, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    except ImageError as error:
        message = f"cannot decode the compressed image (format {format!r}): {error}"
        raise ImageError(message) from error


def _wants_bgr(channel_order: str) -> bool:
    if channel_order not in {"rgb", "bgr"}:
        message = f"channel order must be 'rgb' or 'bgr', got {channel_order!r}"
        raise ImageError(message)
    return channel_order == "bgr"


def _conversion(layout: _Layout, channel_order: str) -> int | None:
    return layout.to_bgr if _wants_bgr(channel_order) else layout.to_rgb


def _convert(pixels: Pixels, code: int) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def _check_size(width: int, height: int, encoding: str, layout: _Layout = _GRAY) -> None:
    """Raise ImageError unless an image of `encoding` can have this size."""
    smallest, largest = layout.min_side, MAX_SIDE
    if not (smallest <= width <= largest and smallest <= height <= largest):
        message = f"{encoding} image of {width}x{height} pixels: each side must be {smallest} to {largest}"
        raise ImageError(message)
    if layout.even_width and width % 2:
        message = f"{encoding} needs an even width (two pixels share their colour), got {width}x{height}"
        raise ImageError(message)
    if layout.chroma_plane and height % 2:
        message = f"{encoding} needs an even height (two rows share their colour), got {width}x{height}"
        raise ImageError(message)


def _rows(data: Pixels, width: int, height: int, encoding: str, step: int, layout: _Layout) -> Pixels:
    """View `data` as rows of bytes without their padding; planar layouts have their chroma rows below."""
    rows = height * 3 // 2 if layout.chroma_plane else height
    row_bytes = width * layout.channels * layout.sample_bytes
    if layout.chroma_plane and 2 * step == 3 * width and data.size == step * height:
        # Some drivers keep the rule "data is step * height bytes" by counting the chroma into step.
        step = width
    subject = f"{encoding} image of {width}x{height}"
    if step < row_bytes:
        message = f"{subject}: step must be at least {row_bytes} bytes per row, got {step}"
        raise ImageError(message)
    needed = step * (rows - 1) + row_bytes
    if data.size < needed:
        message = f"{subject} with step {step} needs {needed} bytes, got {data.size}"
        raise ImageError(message)
    return np.ndarray((rows, row_bytes), dtype=np.uint8, buffer=data, strides=(step, 1))


def _parse_format(text: str) -> tuple[str, str]:
    """Return the source encoding and the encoding handed to the encoder, either "" when not stated.

    Raises ImageError for formats that are no picture files.
    """
    lowered = text.lower()
    if any(name in lowered for name in _UNDECODABLE):
        message = f"compressed image format {text!r} is not supported: only JPEG and PNG pictures are"
        raise ImageError(message)
    source, separator, rest = lowered.partition(";")
    return (source.strip(), rest.partition("compressed")[2].strip()) if separator else ("", "")


def _read_file(buffer: Pixels, flags: int) -> Pixels:
    try:
        pixels = cv2.imdecode(buffer, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        message = f"the file is damaged ({error.err})"
        raise ImageError(message) from error
    if pixels is None:
        raise ImageError("the file is damaged: the decoder found no picture in it")
    return np.asarray(pixels, dtype=np.uint8)
