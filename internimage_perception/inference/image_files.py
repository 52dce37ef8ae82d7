"""Read just enough of a JPEG or PNG file to know its size and that it is whole.

Decoders answer a truncated JPEG with a picture whose lower part is grey (libjpeg pads it and merely
warns), and they allocate whatever size a header claims. Both are settled here, before decoding.
"""

import re
from typing import NamedTuple

from internimage_perception.errors import ImageError

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

# In entropy-coded data 0xff is followed by a stuffed 0x00 or a restart marker (d0..d7); between segments
# it may be repeated as filling. Whatever else follows it is a marker (ITU-T T.81, B.1.1).
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_END = 0xD9
_JPEG_ALONE = frozenset({0x01, 0xD8})
_JPEG_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


class ImageFileHeader(NamedTuple):
    """What a picture file says about itself.

    Attributes:
        kind: "jpeg" or "png".
        width: columns.
        height: rows.
        channels: samples per pixel; a PNG with a palette counts as 3.
    """

    kind: str
    width: int
    height: int
    channels: int


def is_jpeg_or_png(data: memoryview) -> bool:
    """Return whether the bytes begin like a JPEG or PNG file."""
    return data[: len(_JPEG_MAGIC)] == _JPEG_MAGIC or data[: len(_PNG_MAGIC)] == _PNG_MAGIC


def read_header(data: memoryview) -> ImageFileHeader:
    """Return the header of a complete JPEG or PNG file.

    Raises ImageError when the bytes are neither, or end before the file's end marker.
    """
    if data[: len(_JPEG_MAGIC)] == _JPEG_MAGIC:
        return _read_jpeg(data)
    if data[: len(_PNG_MAGIC)] == _PNG_MAGIC:
        return _read_png(data)
    if not len(data):
        raise ImageError("the compressed image holds no data")
    message = f"the data is neither JPEG nor PNG: it starts with {bytes(data[:8]).hex(' ')}"
    raise ImageError(message)


def _read_jpeg(data: memoryview) -> ImageFileHeader:
    """Walk the segments up to the end-of-image marker, so that one inside a thumbnail does not count."""
    header: ImageFileHeader | None = None
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        position = found.end()
        marker = data[position - 1]
        if marker == _JPEG_END:
            if header is None:
                raise ImageError("the JPEG is damaged: it ends before it states a size")
            return header
        if marker in _JPEG_ALONE:
            continue
        if marker in _JPEG_FRAME and position + 8 <= len(data):
            header = ImageFileHeader(
                kind="jpeg",
                height=int.from_bytes(data[position + 3 : position + 5], "big"),
                width=int.from_bytes(data[position + 5 : position + 7], "big"),
                channels=data[position + 7],
            )
        position += int.from_bytes(data[position : position + 2], "big")
    message = f"the JPEG is truncated: its {len(data)} bytes stop before the end-of-image marker"
    raise ImageError(message)


def _read_png(data: memoryview) -> ImageFileHeader:
    """Walk the chunks (length, type, content, checksum) up to IEND."""
    position = len(_PNG_MAGIC)
    header: ImageFileHeader | None = None
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = bytes(data[position + 4 : position + 8])
        content = data[position + 8 : position + 8 + length]
        if kind == b"IHDR" and len(content) >= 13:
            header = ImageFileHeader(
                kind="png",
                width=int.from_bytes(content[:4], "big"),
                height=int.from_bytes(content[4:8], "big"),
                channels=_PNG_CHANNELS.get(content[9], 0),
            )
        position += 12 + length
        if kind == b"IEND" and header is not None:
            return header
    message = f"the PNG is truncated: its {len(data)} bytes stop before the end chunk (IEND)"
    raise ImageError(message)
