"""What a wide lens does to light: less of it, and less sharp, towards its rim."""

import cv2
import numpy as np

from internimage_perception.data.distortion.warp_map import Singles
from internimage_perception.data.sample import Bools, Bytes

_LEAST = 0.05


def with_optics(
    image: Bytes, eccentricity: Singles, shown: Bools, *, vignette: float, blur_px: float
) -> Bytes:
    """Return the picture with vignette and blur; pixels that are not shown stay as they are.

    With the eccentricity e, the light that is left is 1 - vignette e^3, and the blur's standard deviation is
    blur_px e: a share e^2 of the blurred picture has that variance.

    Args:
        image: uint8 (height, width, channels).
        eccentricity: 0 in the middle to 1 at the rim, float32 (height, width).
        shown: pixels that come through the lens; no light leaks in from others.
        vignette: share of the light lost at the rim, 0 to 1.
        blur_px: standard deviation at the rim, pixels of the picture.
    """
    if vignette <= 0.0 and blur_px < _LEAST:
        return image
    result: Singles = image.astype(np.float32)
    if blur_px >= _LEAST:
        weight = shown.astype(np.float32)
        light = cv2.GaussianBlur(result * _wide(weight, image), (0, 0), blur_px)
        weight = np.asarray(cv2.GaussianBlur(weight, (0, 0), blur_px), np.float32)
        soft = np.asarray(light, np.float32).reshape(result.shape)
        soft /= _wide(np.maximum(weight, np.float32(1e-3)), image)
        soft -= result
        soft *= _wide(np.square(eccentricity), image)
        result += soft
    if vignette > 0.0:
        result *= _wide(np.float32(1.0) - np.float32(vignette) * eccentricity**3, image)
    result += np.float32(0.5)
    np.clip(result, 0.0, 255.0, out=result)
    answer = image.copy()
    cv2.copyTo(result.astype(np.uint8), shown.view(np.uint8), answer)
    return answer


def _wide(plane: Singles, image: Bytes) -> Singles:
    """Return a plane once per channel: numpy is slow where a last axis of three is broadcast."""
    return np.asarray(cv2.merge([plane] * image.shape[2]), np.float32).reshape(image.shape)
