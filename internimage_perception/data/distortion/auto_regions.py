"""Where a camera's lens ends and the own vehicle begins, found in several frames of one camera."""

import logging
from collections.abc import Sequence

import cv2
import numpy as np

from internimage_perception.data.distortion.distinct_frames import distinct_frames
from internimage_perception.data.distortion.ego_body import EgoBody, find_ego_body
from internimage_perception.data.distortion.lens_rim import outside_lens
from internimage_perception.data.sample import Bools, Bytes, Regions

MIN_FRAMES = 5
"""Frames that are needed: what moves must have moved."""

_log = logging.getLogger(__name__)

_WIDTH = 480
_MOST_FRAMES = 48
"""More show nothing new; so many are taken, spread evenly over all."""


def find_regions(frames: Sequence[Bytes]) -> Regions:
    """Return the rim of the lens and the own vehicle's body, as they are in all of the frames.

    A body is returned only where there is little doubt about it. Where none is, the log says why: there is
    none, it looks like the road, or the car stood still, and the whole scene stays as its body does.

    Args:
        frames: uint8 RGB (height, width, 3) of one size and one camera, at least `MIN_FRAMES`, from places
            and times as different as can be.

    Raises:
        ValueError: too few frames, or of several sizes.
    """
    if len(frames) < MIN_FRAMES or len({frame.shape for frame in frames}) > 1:
        message = f"{len(frames)} frames; it takes {MIN_FRAMES} or more, all of one size"
        raise ValueError(message)
    height, width = frames[0].shape[:2]
    scale = min(1.0, _WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), _MOST_FRAMES)).round().astype(int)
    small = [_resized(frames[index], size) for index in chosen]
    grey = np.stack([np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32) for frame in small])
    outside = outside_lens(grey)
    kept = distinct_frames(grey, outside)
    if len(kept) < MIN_FRAMES:
        reason = f"{len(small)} frames show {len(kept)} places; it takes {MIN_FRAMES}"
        body = EgoBody(np.zeros_like(outside), reason)
    else:
        body = find_ego_body([small[index] for index in kept], outside)
    if body.reason:
        _log.warning("no ego body found in %d frames: %s", len(frames), body.reason)
    masks = [_enlarged(mask, width, height) for mask in (outside, body.mask)]
    return Regions(masks[0], masks[1] & ~masks[0], np.zeros_like(masks[0]))


def _resized(frame: Bytes, size: tuple[int, int]) -> Bytes:
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _enlarged(mask: Bools, width: int, height: int) -> Bools:
    full = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.float32) >= 0.5
