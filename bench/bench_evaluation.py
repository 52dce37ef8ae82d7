"""How fast pixels are counted into a confusion matrix, on one core: full-HD masks, 13 classes, 9 groups."""

import sys
import time

import numpy as np
from results import durations, save

from internimage_perception.evaluation.confusion import count_pixels

SHAPE = (1080, 1920)
CLASSES, GROUPS = 13, 9


def main() -> int:
    """Measure masks of noise, the hardest to predict, and such of large regions, as streets have them."""
    rng = np.random.default_rng(0)
    groups = np.broadcast_to(np.arange(SHAPE[1]) * GROUPS // SHAPE[1], SHAPE).astype(np.uint8)
    noise = rng.integers(0, CLASSES, (2, *SHAPE), np.uint8)
    regions = noise[:, :: SHAPE[0] // 9, :: SHAPE[1] // 16].repeat(120, 1).repeat(120, 2)
    found = {}
    for name, masks in (("noise", noise), ("regions", regions[:, : SHAPE[0], : SHAPE[1]])):
        truth, answers = np.ascontiguousarray(masks)
        (taken,) = durations(
            lambda truth=truth, answers=answers: count_pixels(truth, answers, CLASSES, groups, GROUPS),
            20, time.process_time,
        )  # fmt: skip
        found[name] = round(truth.size / float(np.median(taken)) / 1e6, 1)
    save("evaluation", {"million_pixels_per_s": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
