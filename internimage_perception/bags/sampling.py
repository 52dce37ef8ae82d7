"""A few frames of a bag, spread over its time and cameras."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.bags.reader import open_bags
from internimage_perception.errors import BagError, ImageError
from internimage_perception.inference.messages import frame_from_message


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """A decoded frame: its topic, receive time in nanoseconds, pixels uint8 (H, W, 3)."""

    topic: str
    receive_ns: int
    image: npt.NDArray[np.uint8]


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` numbers below `total`, at even distances from 0 to the last one."""
    return [round(place) for place in np.linspace(0, total - 1, min(count, total))]


def sample_frames(
    bags: Sequence[Path], count: int, *, topics: Sequence[str] = (), channel_order: str = "rgb"
) -> list[SampledFrame]:
    """Return up to `count` frames at even distances, from a recording's first to its last, in receive order.

    Frames that cannot be decoded are passed over, and the next one is taken.

    Args:
        bags: read as one recording, see `open_bags`.
        count: frames wanted, 1 or more.
        topics: image topics; empty: all.
        channel_order: "rgb" or "bgr".

    Raises:
        BagError: no bag, no such topic, no images, or none that can be decoded.
    """
    with open_bags(bags) as reader:
        names = list(topics) or [topic.name for topic in reader.image_topics()]
        total = reader.message_count(names) if names else 0
        if not total:
            raise BagError(
                f"{', '.join(map(str, bags))} holds no images; see `internimage-perception inspect`"
            )
        wanted = spread(total, count)
        found: list[SampledFrame] = []
        reasons: list[str] = []
        for number, message in enumerate(reader.messages(names)):
            if len(found) == len(wanted):
                break
            if number < wanted[len(found)]:
                continue
            try:
                frame = frame_from_message(message.message, message.topic, message.receive_ns)
                found.append(SampledFrame(message.topic, message.receive_ns, frame.decode(channel_order)))
            except (BagError, ImageError) as error:
                reasons.append(str(error))
    if not found:
        raise BagError(
            f"none of {len(reasons)} frames could be decoded: {reasons[0] if reasons else 'none there'}"
        )
    return found
