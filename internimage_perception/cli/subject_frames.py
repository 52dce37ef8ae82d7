"""Frames of bags for each of several bundles under test."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.bags.sampling import sample_frames
from internimage_perception.evaluation.subject import Subject

Image = npt.NDArray[np.uint8]


def subject_frames(
    subjects: Sequence[Subject], bags: Sequence[Path], count: int, topics: Sequence[str] = ()
) -> list[list[Image]]:
    """Return for each bundle the same frames, in its channel order and as its task prepares them.

    Args:
        subjects: the bundles.
        bags: read as one recording, once for each channel order; none: no frames.
        count: how many frames, spread over time and cameras.
        topics: image topics; empty: all.

    Raises:
        BagError: see `sample_frames`.
    """
    if not bags:
        return [[] for _ in subjects]
    sampled = {
        order: [item.image for item in sample_frames(bags, count, topics=topics, channel_order=order)]
        for order in {subject.bundle.input.channel_order for subject in subjects}
    }
    return [
        [subject.prepared(image) for image in sampled[subject.bundle.input.channel_order]]
        for subject in subjects
    ]
