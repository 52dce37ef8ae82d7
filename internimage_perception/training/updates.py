"""What a step does with its gradients: learning rate, clipping, optimisers, moving average."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from internimage_perception.training.averaging import WeightAverage
from internimage_perception.training.config import TrainingConfig
from internimage_perception.training.optimizers import create_optimizers, set_learning_rate
from internimage_perception.training.schedules import learning_rate_factor


class Updates:
    """Optimisers and average of a network.

    Args:
        config: the run.
        fabric: of this process.
        network: as Fabric has set it up, unwrapped.
        copy: another one in the same place, to hold the average; None: there is none.

    Attributes:
        optimizers: of all parameters together.
        average: of the weights, or None.
    """

    def __init__(
        self, config: TrainingConfig, fabric: Fabric, network: nn.Module, copy: nn.Module | None
    ) -> None:
        self._config, self._network = config, network
        self.optimizers = create_optimizers(network, config.optimizer)
        self._joined = _Joined(self.optimizers)
        self._scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
        self.average: WeightAverage | None = None
        if config.average is not None and copy is not None:
            self.average = WeightAverage(network, config.average, copy)

    @property
    def learning_rate(self) -> float:
        """Return that of the last layers."""
        return float(self.optimizers[-1].param_groups[-1]["lr"])

    def apply(self, step: int) -> None:
        """Update the weights by their gradients, which are gone afterwards."""
        set_learning_rate(
            self.optimizers, learning_rate_factor(self._config.schedule, step, self._config.steps)
        )
        if self._scaler is not None:
            self._scaler.unscale_(self._joined)  # type: ignore[arg-type]  # all that it looks at is there
        if (clip := self._config.optimizer.clip) is not None:
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), clip)
        if self._scaler is None:
            self._joined.step()
        else:
            self._scaler.step(self._joined)  # type: ignore[arg-type]
            self._scaler.update()
        self._network.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()


class _Joined:
    """Optimisers that loss scaling takes for one: after an overflow none of them does a step."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()
