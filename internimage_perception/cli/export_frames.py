"""The frames that `export` checks and calibrates with: a recording's, pictures', and rendered streets."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.bags.sampling import sample_frames, spread
from internimage_perception.data.datasets.files import PICTURES, list_files
from internimage_perception.errors import ConfigError, ImageError
from internimage_perception.inference.photographs import read_photograph

Image = npt.NDArray[np.uint8]

_METADATA = "metadata.yaml"
_STREETS = 2
_STREET_PIXELS = 1_300_000
"""Larger pictures are rendered smaller and enlarged: a check needs edges, not detail."""
_HELD_OUT = 4
"""One frame is kept for the check for this many to calibrate with."""


def read_frames(source: Path, count: int, size: tuple[int, int], channel_order: str) -> list[Image]:
    """Return frames spread evenly over a bag or a folder of pictures, at one size.

    Frames that cannot be decoded are passed over.

    Args:
        source: a bag, or a folder with JPEG and PNG files.
        count: how many at most.
        size: (height, width) they are resized to.
        channel_order: "rgb" or "bgr".

    Raises:
        BagError: `source` is no bag that can be read.
        ConfigError: fewer than two frames can be used; a folder holds neither, or both.
    """
    read = _from_folder if _holds_pictures(source) else _from_bag
    frames = [_resized(image, size) for image in read(source, count, channel_order)]
    if len(frames) < 2:
        raise ConfigError(f"{source} holds {len(frames)} frames that can be decoded; 2 are needed at least")
    return frames


def hold_out(frames: list[Image]) -> tuple[list[Image], list[Image]]:
    """Divide frames into those to calibrate with, and others in between to check with."""
    checked = frames[1 :: _HELD_OUT + 1]
    return [image for index, image in enumerate(frames) if index % (_HELD_OUT + 1) != 1], checked


def held_out(count: int) -> int:
    """Return how many frames to read so that `count` are left to calibrate with."""
    return count + -(-count // _HELD_OUT)


def street_frames(size: tuple[int, int], channel_order: str) -> list[Image]:
    """Render views of a street that no model was trained on, uint8 (height, width, 3).

    Raises ImportError where the renderer is not installed.
    """
    from internimage_perception.data.street.samples import random_samples  # noqa: PLC0415 - needs embreex

    height, width = size
    scale = min(1.0, (_STREET_PIXELS / (height * width)) ** 0.5)
    rows, columns = max(32, round(height * scale)), max(32, round(width * scale))
    views = random_samples(0, _STREETS, width=columns, height=rows, split="test", samples=1)
    images = [image if channel_order == "rgb" else image[..., ::-1] for image, _ in views]
    return [_resized(np.ascontiguousarray(image), size) for image in images]


def _holds_pictures(source: Path) -> bool:
    """Return whether to read pictures, not a bag. Raises ConfigError where that cannot be told."""
    if not source.is_dir() or any(map(_is_bag, source.iterdir())):
        return False
    below = sorted(source.rglob("*"))
    picture = next((path for path in below if path.suffix.lower() in PICTURES), None)
    bag = next((path.parent if path.name == _METADATA else path for path in below if _is_bag(path)), None)
    if picture is None and bag is None:
        raise ConfigError(f"{source} holds neither a bag nor pictures ({', '.join(PICTURES)})")
    if picture is not None and bag is not None:
        # A recording with its truth beside it: masks and depth are pictures too, and no camera's.
        raise ConfigError(f"{source} holds a bag and pictures; name which to read, for example {bag}")
    return bag is None


def _is_bag(path: Path) -> bool:
    return path.name == _METADATA or path.suffix in (".mcap", ".db3", ".bag")


def _from_folder(source: Path, count: int, channel_order: str) -> Iterator[Image]:
    paths = list(list_files(source, PICTURES, "pictures").values())
    for index in spread(len(paths), count):
        try:
            yield read_photograph(paths[index], channel_order)
        except ImageError:
            continue


def _from_bag(source: Path, count: int, channel_order: str) -> Iterator[Image]:
    yield from (item.image for item in sample_frames([source], count, channel_order=channel_order))


def _resized(image: Image, size: tuple[int, int]) -> Image:
    if image.shape[:2] != size:
        smaller = image.shape[0] >= size[0] and image.shape[1] >= size[1]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=method), np.uint8)
    return np.ascontiguousarray(image)
