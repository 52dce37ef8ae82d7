"""Random streams of a street: training and held-out streets never share one."""

from typing import Literal

import numpy as np

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
# Entropy that starts every stream of a split; numpy's SeedSequence keeps streams of different entropy apart.
_ENTROPY = {"train": 0x7261_494E, "test": 0x7465_5354}


def stream(split: Split, seed: int, *path: int) -> np.random.Generator:
    """Return the generator of one purpose: `path` names it, negative numbers allowed.

    Raises ValueError for another split or a negative seed.
    """
    if split not in _ENTROPY or seed < 0:
        message = f"a street needs split train or test and a seed >= 0, got {split!r} and {seed}"
        raise ValueError(message)
    words = [2 * number if number >= 0 else -2 * number - 1 for number in path]
    return np.random.default_rng([_ENTROPY[split], seed, len(words), *words])
