"""Reading photographs from files, for people's pictures rather than for cameras' messages."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.errors import ImageError
from internimage_perception.inference.encodings import MAX_SIDE
from internimage_perception.inference.image_files import is_jpeg_or_png, read_header


def read_photograph(path: Path, channel_order: str = "rgb") -> npt.NDArray[np.uint8]:
    """Return a picture file's pixels as a viewer shows them, uint8 (h, w, 3).

    Turned upright by EXIF's orientation; grey becomes colour, an alpha channel falls away, 16 bits become
    their high byte. JPEG and PNG must be whole; other formats are read as far as OpenCV knows them.

    Args:
        path: the file.
        channel_order: "rgb" or "bgr".

    Raises:
        ImageError: the file cannot be read, is damaged, too large or no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}") from error
    if is_jpeg_or_png(memoryview(data)):
        try:
            header = read_header(memoryview(data))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        if not 1 <= min(header.width, header.height) <= max(header.width, header.height) <= MAX_SIDE:
            size = f"{header.width}x{header.height}"
            raise ImageError(f"{path} has {size} pixels; each side must be 1 to {MAX_SIDE}")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise ImageError(f"{path} is damaged ({error.err})") from error
    if pixels is None:
        raise ImageError(f"{path} is no picture that can be read (JPEG, PNG, WebP, BMP, TIFF), or is damaged")
    if channel_order == "rgb":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return np.asarray(pixels, np.uint8)
