"""Means of losses since the last line of the log, kept on the device so that no step waits for them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric


class Meters:
    """Sums values over steps; `take` gives their means over steps and processes."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0
        self._start = time.monotonic()

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add one step's values."""
        self._steps += 1
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value.detach() if name in self._sums else value.detach()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time of a block out of `pictures_per_s`: checkpoints and scores are no training."""
        begin = time.monotonic()
        yield
        self._start += time.monotonic() - begin

    def take(self, fabric: Fabric, batch: int) -> dict[str, float]:
        """Return the means and `pictures_per_s`, and begin anew; all processes must call it."""
        names = sorted(self._sums)
        sums = torch.stack([self._sums[name].double() for name in names]) / max(1, self._steps)
        means = fabric.all_reduce(sums, reduce_op="mean")
        assert isinstance(means, torch.Tensor)  # noqa: S101 - a tensor went in
        now = time.monotonic()
        found = dict(zip(names, means.tolist(), strict=True))
        found["pictures_per_s"] = batch * self._steps / max(now - self._start, 1e-9)
        self._sums, self._steps, self._start = {}, 0, now
        return found
