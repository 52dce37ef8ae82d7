"""A backend without a network: measures everything around it."""

import numpy as np

from internimage_perception.inference.backends.base import Images, Outputs
from internimage_perception.inference.bundle import CLASSIFICATION, Bundle
from internimage_perception.inference.frame_sizes import FrameSizes
from internimage_perception.inference.results import RANKS


class NullBackend:
    """Answers class 0 with confidence 0 for every pixel, or the first classes with probability 0."""

    name = "null"
    prefers_batch = False

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.frame_sizes = FrameSizes.of_export(bundle)

    def run(self, images: Images) -> Outputs:
        """See `Backend.run`."""
        count, height, width, _ = images.shape
        if self._bundle.task == CLASSIFICATION:
            ranks = np.arange(min(RANKS, len(self._bundle.classes)), dtype=np.int32)
            return {
                "class_ids": np.tile(ranks, (count, 1)),
                "probabilities": np.zeros((count, ranks.size), np.float32),
            }
        size = self._bundle.output.resolve(self._bundle.input, height, width)
        return {
            "class_ids": np.zeros((count, *size), np.uint8),
            "confidence": np.zeros((count, *size), np.uint8),
        }
