"""Frames that one camera took at different places: of those taken standing still, one is kept."""

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.distortion.still_structure import blurred
from internimage_perception.data.sample import Bools

Singles = npt.NDArray[np.float32]

_WIDTH = 160
_FINE, _COARSE, _AROUND = 1.2, 3.0, 5.0
"""Blurs whose difference shows structure, and the surroundings whose contrast it is divided by, pixels."""
_DARK = 16.0
_FAINT = 0.02
_SAME = 0.65
"""Correlation from which two frames show one place. In generated streets it is 0.63 at most where the car had
moved 20 m, its body in both, and mostly above 0.7 where it stood, with noise and other light and traffic."""


def distinct_frames(grey: Singles, outside: Bools) -> list[int]:
    """Return the indices of frames of which no two show the same place.

    Frames are compared by their fine structure, each divided by the contrast around it, so that neither light
    nor few strong edges decide.

    Args:
        grey: the frames, 0 to 255, (frames, height, width).
        outside: pixels outside the lens, bool (height, width).
    """
    height, width = outside.shape
    scale = min(1.0, _WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    seen = np.asarray(cv2.resize((~outside).astype(np.float32), size, interpolation=cv2.INTER_AREA)) > 0.99
    # Away from the rim, whose edge is in all frames.
    inner = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_)
    kept: list[int] = []
    structures: list[Singles] = []
    for number, frame in enumerate(grey):
        own = _structure(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.float32))[inner]
        own = own / max(float(np.linalg.norm(own)), 1e-6)
        if all(float(own @ other) < _SAME for other in structures):
            kept.append(number)
            structures.append(own)
    return kept


def _structure(frame: Singles) -> Singles:
    light = np.log(frame + np.float32(_DARK))
    fine = blurred(light, _FINE) - blurred(light, _COARSE)
    contrast = np.sqrt(blurred(np.square(fine), _AROUND))
    return np.asarray(fine / (contrast + np.float32(_FAINT)), np.float32)
