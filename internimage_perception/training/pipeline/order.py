"""Which sample of which dataset has which number, for ever; without state, any number can be asked for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import ConfigError

# Shares are rounded to this part of the whole.
_FINEST = 10_000
# Orders of epochs per dataset: parts of a step may lie on both sides of an epoch's end.
_KEPT = 2
_TAG = 1
"""Keeps these random numbers apart from those that samples are changed with."""


class Order:
    """An endless order of samples of several datasets, in a short period that keeps to their shares.

    Each dataset's samples come once per epoch of its own, in an order drawn by seed and epoch.

    Args:
        lengths: samples of each dataset.
        shares: how often each is asked, in proportion; None: as often as it has samples.
        seed: of the orders.
        runs: samples of each dataset that stay together and in order, such as those of one street; 1: none.

    Raises:
        ConfigError: a share that is not positive, or too small beside the others.
    """

    def __init__(
        self, lengths: Sequence[int], shares: Sequence[float] | None, seed: int, runs: Sequence[int]
    ) -> None:
        self._lengths, self._seed, self._runs = tuple(lengths), seed, tuple(runs)
        self._weights = _whole(np.asarray(lengths if shares is None else shares, np.float64))
        # As evenly as possible: the t-th of n takes its turn at the time (t + 1/2) / n.
        datasets = np.repeat(np.arange(len(self._weights)), self._weights)
        turns = np.concatenate([(np.arange(count) + 0.5) / count for count in self._weights])
        places = np.argsort(turns, kind="stable")
        self._datasets = datasets[places]
        self._kept: dict[int, dict[int, npt.NDArray[np.int64]]] = {}
        self._turns = np.concatenate([np.arange(count) for count in self._weights])[places]

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Return the dataset and the index in it."""
        period, slot = divmod(number, len(self._datasets))
        dataset = int(self._datasets[slot])
        ordinal = period * int(self._weights[dataset]) + int(self._turns[slot])
        epoch, place = divmod(ordinal, self._lengths[dataset])
        return dataset, int(self._shuffled(dataset, epoch)[place])

    def _shuffled(self, dataset: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return the order of a dataset's samples in an epoch; the last ones are kept."""
        kept = self._kept.setdefault(dataset, {})
        if epoch not in kept:
            if len(kept) >= _KEPT:
                del kept[min(kept)]
            rng = np.random.default_rng([self._seed, _TAG, dataset, epoch])
            length, run = self._lengths[dataset], self._runs[dataset]
            starts = rng.permutation(-(-length // run)) * run
            indices = (starts[:, np.newaxis] + np.arange(run)).reshape(-1)
            kept[epoch] = indices[indices < length]
        return kept[epoch]


def _whole(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return small whole numbers in the proportion of shares, exact for simple ones."""
    if not (np.isfinite(shares).all() and shares.min() > 0.0):
        raise ConfigError(f"shares are {shares.tolist()}; they must be above 0")
    if (shares != np.floor(shares)).any() or shares.sum() > _FINEST:
        shares = shares / shares.sum() * _FINEST
    rounded = np.maximum(np.rint(shares), 1.0).astype(np.int64)
    return np.asarray(rounded // np.gcd.reduce(rounded))
