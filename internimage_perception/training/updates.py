"""What a step does with its gradients: learning rate, clipping, optimisers, moving average."""

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
        optimizers: without Fabric's wrapping.
        average: of the weights, or None.
    """

    def __init__(
        self, config: TrainingConfig, fabric: Fabric, network: nn.Module, copy: nn.Module | None
    ) -> None:
        self._config, self._fabric, self._network = config, fabric, network
        self.optimizers = create_optimizers(network, config.optimizer)
        # Untyped: Fabric's wrapper takes the optimiser's class as its own.
        self._wrapped: list[Any] = [fabric.setup_optimizers(optimizer) for optimizer in self.optimizers]
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
        if (clip := self._config.optimizer.clip) is not None:
            for optimizer in self.optimizers:
                self._fabric.strategy.precision.unscale_gradients(optimizer)
            # Of all parameters together, whichever optimiser they belong to.
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), clip)
        for wrapped in self._wrapped:
            wrapped.step()
            wrapped.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
