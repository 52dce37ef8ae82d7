"""Small pictures and label pictures of datasets, to read and to damage."""

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 6, 8


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a random picture, uint8 RGB."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ids(values, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return label ids that repeat `values` over the picture, uint8."""
    return np.resize(np.array(values, np.uint8), (height, width))


def write(path: Path, content: np.ndarray) -> Path:
    """Write RGB or ids as the file that the path's suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), content[..., ::-1] if content.ndim == 3 else content)
    return path
