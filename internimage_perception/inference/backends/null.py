"""A backend without a network: measures everything around it."""

import numpy as np

from internimage_perception.inference.backends.base import Images, Outputs
from internimage_perception.inference.bundle import Bundle


class NullBackend:
    """Answers class 0 with confidence 0 for every pixel, at the bundle's output size."""

    name = "null"
    prefers_batch = False

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def run(self, images: Images) -> Outputs:
        """See `Backend.run`."""
        count, height, width, _ = images.shape
        size = self._bundle.output.resolve(self._bundle.input, height, width)
        return {
            "class_ids": np.zeros((count, *size), np.uint8),
            "confidence": np.zeros((count, *size), np.uint8),
        }
