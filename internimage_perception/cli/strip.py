"""A picture of a replay for people: each camera's image beside its overlay."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.bags.reader import open_bags
from internimage_perception.errors import PerceptionError
from internimage_perception.files import write_bytes
from internimage_perception.inference.frames import Frame
from internimage_perception.inference.messages import frame_from_message

Image = npt.NDArray[np.uint8]

_WIDTH = 640
_GAP = 6
_PAPER = 255


def write_strip(path: Path, bags: Sequence[Path], results: Path, topics: Mapping[str, str]) -> bool:
    """Write a JPEG: a row per camera, its image on the left, its overlay on the right.

    The overlay is the middle one of the recording, the image the one with its stamp.

    Args:
        path: the JPEG.
        bags: what was replayed.
        results: the bag the replay wrote.
        topics: camera name to image topic.

    Returns:
        Whether there was anything to show.
    """
    overlays = {name: frame for name in topics if (frame := _middle_overlay(results, name)) is not None}
    images = _images(bags, {topics[name]: (name, frame.stamp_ns) for name, frame in overlays.items()})
    rows = [_row(name, images[name], overlays[name]) for name in topics if name in images]
    if not rows:
        return False
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0)), constant_values=_PAPER) for row in rows
    ]
    done, data = cv2.imencode(".jpg", np.concatenate(padded), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise PerceptionError(f"{path}: the picture strip cannot be encoded")
    write_bytes(path, data.tobytes())
    return True


def _middle_overlay(results: Path, camera: str) -> Frame | None:
    topic = f"/perception/segmentation/{camera}/overlay/compressed"
    with open_bags(results) as reader:
        if topic not in reader.topics:
            return None
        wanted = (reader.topics[topic].count - 1) // 2
        for number, item in enumerate(reader.messages([topic])):
            if number == wanted:
                return frame_from_message(item.message, camera, item.receive_ns)
    return None


def _images(bags: Sequence[Path], wanted: Mapping[str, tuple[str, int]]) -> dict[str, Frame]:
    """Return the first image with the wanted stamp of each topic."""
    found: dict[str, Frame] = {}
    with open_bags(bags) as reader:
        for item in reader.messages([topic for topic in wanted if topic in reader.topics]):
            name, stamp_ns = wanted[item.topic]
            if name in found or item.error is not None:
                continue
            frame = frame_from_message(item.message, name, item.receive_ns)
            if frame.stamp_ns == stamp_ns:
                found[name] = frame
            if len(found) == len(wanted):
                break
    return found


def _row(name: str, image: Frame, overlay: Frame) -> Image:
    left, right = _fitted(image.decode("bgr")), _fitted(overlay.decode("bgr"))
    cv2.putText(left, name, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.65, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.putText(left, name, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.65, (255, 255, 255), 1, cv2.LINE_AA)
    height = max(left.shape[0], right.shape[0])
    gap = np.full((height, _GAP, 3), _PAPER, np.uint8)
    parts = [
        np.pad(part, ((0, height - part.shape[0]), (0, 0), (0, 0)), constant_values=_PAPER)
        for part in (left, right)
    ]
    return np.concatenate([parts[0], gap, parts[1]], axis=1)


def _fitted(image: Image) -> Image:
    """Return a copy that is `_WIDTH` wide; small pictures grow by whole pixels."""
    height, width = image.shape[:2]
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    how = cv2.INTER_AREA if width > _WIDTH else cv2.INTER_NEAREST
    return np.array(cv2.resize(image, size, interpolation=how), np.uint8)
