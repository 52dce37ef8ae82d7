"""Bicubic resizing with antialiasing, to the last bit as Pillow does it on 8-bit images.

Classifiers were trained and evaluated on images resized that way; OpenCV has no such filter. Weights are
Keys' cubic (a = -0.5), stretched by the factor of reduction, cut off at the image's border and normalised.
As in Pillow they are whole multiples of 2^-22, and the values between the two passes are rounded to bytes.
The pass along the rows comes first, but for tall images second, as in Pillow from version 13 on.

Keys, *Cubic Convolution Interpolation for Digital Image Processing*, IEEE TASSP 1981.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_A = -0.5
_REACH = 2.0
"""Half the filter's width, in pixels of the coarser image."""
_ONE = 1 << 22
"""The weight 1 in fixed point."""
_BLOCK = 8
"""Rows of the answer that one matrix product computes: their inputs overlap."""
_PRODUCT = 250_000
"""Multiplications of one matrix product: few enough that OpenBLAS wakes no threads, which cost more here."""


def resize_and_crop(image: Image, height: int, width: int) -> Image:
    """Return the middle of an image at a given size, as classifiers are evaluated.

    The image is resized until one side fits and the other one reaches beyond; of that one the middle is cut
    out. For a square this is torchvision's `Resize` of the short side and `CenterCrop`, its rounding too.
    What is cut off is not computed.

    Args:
        image: uint8 (h, w, channels), not empty.
        height: rows of the answer.
        width: columns of the answer.

    Returns:
        uint8 (height, width, channels), in one piece.
    """
    rows, columns = image.shape[:2]
    if columns * height <= rows * width:
        full = max(height, int(width * rows / columns)), width
    else:
        full = height, max(width, int(height * columns / rows))
    # Python rounds halves to even, and so does the official crop.
    top, left = round((full[0] - height) / 2), round((full[1] - width) / 2)
    return resize_bicubic(image, full, (top, height), (left, width))


def resize_bicubic(
    image: Image, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> Image:
    """Return a part of the resized image.

    Args:
        image: uint8 (h, w, channels), not empty.
        size: rows and columns of the whole resized image.
        rows: the first row that is wanted, and how many.
        columns: the first column that is wanted, and how many.

    Returns:
        uint8 (rows, columns, channels), in one piece.
    """
    lost_rows, lost_columns = image.shape[0] - size[0], image.shape[1] - size[1]
    if lost_rows > max(0, 2 * lost_columns):
        turned = np.asarray(cv2.transpose(image), np.uint8).reshape(image.shape[1], image.shape[0], -1)
        answer = _resize_rows_first(turned, size[::-1], columns, rows)
        return np.ascontiguousarray(answer.transpose(1, 0, 2))
    return _resize_rows_first(image, size, rows, columns)


def _resize_rows_first(
    image: Image, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> Image:
    """Shorten each row, then each column."""
    channels = image.shape[2]
    starts, stops, weights = _filter(image.shape[0], size[0], *rows)
    first, last = int(starts[0]), int(stops[-1])
    # Only rows that the second pass reads. Lying first, the axis to resize makes a matrix product.
    turned = np.asarray(cv2.transpose(image[first:last]), np.uint8).reshape(image.shape[1], -1)
    narrow = _weigh(turned, *_filter(image.shape[1], size[1], *columns))
    narrow = narrow.reshape(columns[1], last - first, channels).transpose(1, 0, 2)
    resized = _weigh(narrow.reshape(last - first, -1), starts - first, stops - first, weights)
    return resized.reshape(rows[1], columns[1], channels)


def _filter(length: int, size: int, first: int, count: int) -> tuple[_Ints, _Ints, _Floats]:
    """Return for `count` of `size` places where their inputs start, where they stop, and the weights.

    Weights are whole numbers, `_ONE` in sum but for rounding; (count, taps), 0 behind the last input.
    """
    scale = length / size
    stretch = max(scale, 1.0)
    center = (first + np.arange(count) + 0.5) * scale
    reach = _REACH * stretch
    starts = np.maximum((center - reach + 0.5).astype(np.int64), 0)
    stops = np.minimum((center + reach + 0.5).astype(np.int64), length)
    taps = np.arange(2 * math.ceil(reach) + 1)
    distance = (taps + starts[:, None] - center[:, None] + 0.5) * (1.0 / stretch)
    weights = np.where(taps < (stops - starts)[:, None], _cubic(np.abs(distance)), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return starts, stops, np.trunc(weights * _ONE + np.copysign(0.5, weights))


def _cubic(x: _Floats) -> _Floats:
    """Return Keys' kernel at distances from 0 upwards."""
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1, near, np.where(x < _REACH, far, 0.0))


def _weigh(pixels: Image, starts: _Ints, stops: _Ints, weights: _Floats) -> Image:
    """Return the weighted sums of rows of `pixels`, (length, values), as bytes, (count, values)."""
    answer = np.empty((starts.size, pixels.shape[1]), np.uint8)
    for begin in range(0, starts.size, _BLOCK):
        block = slice(begin, begin + _BLOCK)
        first, last = int(starts[block][0]), int(stops[block][-1])
        band = np.zeros((starts[block].size, last - first))
        for row, start, stop, own in zip(band, starts[block], stops[block], weights[block], strict=True):
            row[start - first : stop - first] = own[: stop - start]
        step = max(1, _PRODUCT // band.size)
        for left in range(0, pixels.shape[1], step):
            part = slice(left, left + step)
            # Whole numbers below 2^53: float64 is exact here, in whatever order it adds.
            total = band @ pixels[first:last, part].astype(np.float64)
            answer[block, part] = np.clip(np.floor((total + _ONE / 2) / _ONE), 0, 255)
    return answer
