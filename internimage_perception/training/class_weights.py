"""Weights of classes by how rare they are."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from internimage_perception.data.sample import IGNORED
from internimage_perception.errors import DatasetError


def class_weights_from(shares: NDArray[np.float64], rarity: float) -> torch.Tensor:
    """Return (num_classes,) weights that lift rare classes: shares to the power of -rarity, mean 1.

    A ten-thousandth is added to each share, which bounds the weights of classes that were not seen.
    """
    weights = (shares + 1e-4) ** -rarity
    return torch.from_numpy(weights / weights.mean()).float()


def pixel_shares(
    label_maps: Iterable[NDArray[np.integer]], num_classes: int, samples: int = 400
) -> NDArray[np.float64]:
    """Return (num_classes,) shares of the labelled pixels of the first `samples` maps of class ids, sum 1.

    Raises DatasetError for classes that there are not, and where no pixel is labelled.
    """
    totals = np.zeros(IGNORED + 1, np.int64)
    for labels in islice(label_maps, samples):
        counts = np.bincount(labels.reshape(-1), minlength=len(totals))
        unknown = num_classes + np.flatnonzero(np.delete(counts[num_classes:], IGNORED - num_classes))
        if len(unknown):
            raise DatasetError(
                f"labels name class {unknown[0]}, but there are {num_classes} classes, 0 to "
                f"{num_classes - 1}, and {IGNORED} for pixels to be ignored; check the dataset's label map"
            )
        totals += counts
    known = totals[:num_classes]
    if not known.any():
        raise DatasetError(f"no pixel is labelled in the first {samples} samples; check the dataset's labels")
    return known / known.sum()
