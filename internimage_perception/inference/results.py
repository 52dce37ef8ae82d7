"""What a task answers with. The same objects become messages, files or metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

INVALID_ID = 255
"""Published where the lens sees nothing: outside the valid region, ego body."""
RANKS = 5
"""Classes that a classification graph answers with, as far as it has that many."""


@dataclass(frozen=True, slots=True)
class SemanticMask:
    """Class of every pixel of one camera image.

    Attributes:
        camera: camera name.
        frame_id: optical frame of the camera.
        stamp_ns: the image's own stamp, nanoseconds.
        class_ids: uint8 (h, w), ids of the bundle's classes, 255 where the lens sees nothing.
            h x w is the bundle's output size; it covers the whole image.
        confidence: uint8 (h, w), softmax probability of the chosen class times 255.
        image_width: columns of the image the mask was made from.
        image_height: rows of the image the mask was made from.
    """

    camera: str
    frame_id: str
    stamp_ns: int
    class_ids: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    image_width: int
    image_height: int


@dataclass(frozen=True, slots=True)
class RankedClass:
    """One of the classes an image most probably shows.

    Attributes:
        id: of the bundle's classes.
        name: the class's name.
        probability: softmax over all classes, 0 to 1.
    """

    id: int
    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class SegmentationResult:
    """Masks of one FrameSet, and why cameras have none.

    Attributes:
        masks: camera name to mask, in the rig's order.
        errors: camera name to the reason its frame could not be used.
        stages_ns: duration of each stage in nanoseconds ("decode", "infer", "finish").
    """

    masks: Mapping[str, SemanticMask]
    errors: Mapping[str, str] = field(default_factory=dict)
    stages_ns: Mapping[str, int] = field(default_factory=dict)
