"""Frames to try a model on where there is no camera: stored with an export, or drawn as patterns."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BundleError
from internimage_perception.inference.bundle import Bundle

CHECK = "check.npz"
"""File of an export: frames, and what PyTorch answers to them."""
FRAMES = "frames"

Image = npt.NDArray[np.uint8]

_CELLS = (64, 16, 4)


@dataclass(frozen=True, eq=False)
class StoredCheck:
    """Frames of an export with PyTorch's answers.

    Attributes:
        frames: uint8 (N, H, W, 3) in the bundle's channel order.
        answers: the outputs by name, of all frames.
    """

    frames: Image
    answers: dict[str, npt.NDArray[np.generic]]


def stored_check(bundle: Bundle) -> StoredCheck | None:
    """Return the frames and answers that travel with an export; None where there are none.

    Raises BundleError when the file is damaged.
    """
    if CHECK not in bundle.files:
        return None
    path = bundle.file(CHECK)
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        frames = arrays.pop(FRAMES)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        message = f"{path} cannot be read ({error}); export the model again"
        raise BundleError(message) from error
    fits = all(len(item) == len(frames) for item in arrays.values())
    if frames.ndim != 4 or frames.dtype != np.uint8 or not fits:
        raise BundleError(f"{path} holds arrays that do not fit each other; export the model again")
    return StoredCheck(frames, arrays)


def store_check(path: Path, check: StoredCheck) -> None:
    """Write frames and answers to an export's folder; the same ones give the same bytes."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{FRAMES: check.frames, **check.answers})


def patterned_frames(generator: np.random.Generator, shape: tuple[int, int, int, int]) -> Image:
    """Return noise with structure at several scales, (N, H, W, 3): a network has something to decide."""
    count, height, width, channels = shape
    total = np.zeros(shape)
    for cell in _CELLS:
        coarse = generator.uniform(0, 255, (count, height // cell + 1, width // cell + 1, channels))
        total += coarse.repeat(cell, axis=1).repeat(cell, axis=2)[:, :height, :width]
    return np.asarray(total / len(_CELLS), np.uint8)
