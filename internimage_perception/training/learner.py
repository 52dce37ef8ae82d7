"""What a step learns from: gradients of its labelled pictures, and of unlabelled ones in self-training."""

from collections.abc import Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule

from internimage_perception.models.inference_modes import MEAN, STD
from internimage_perception.models.layers import batch_part
from internimage_perception.training.averaging import WeightAverage
from internimage_perception.training.config import TrainingConfig
from internimage_perception.training.data import Part, TrainingData
from internimage_perception.training.losses import BatchTotals, SegmentationLoss
from internimage_perception.training.self_training import SelfTraining

Losses = dict[str, torch.Tensor]


class Learner:
    """Computes the gradients of steps.

    Args:
        config: the run.
        fabric: of this process.
        model: as Fabric wrapped it.
        average: of its weights: the teacher of self-training.
        data: tells the classes and their weights.
    """

    def __init__(
        self,
        config: TrainingConfig,
        fabric: Fabric,
        model: _FabricModule,
        average: WeightAverage | None,
        data: TrainingData,
    ) -> None:
        self._fabric, self._model, self._average, self._seed = fabric, model, average, config.seed
        self._loss = SegmentationLoss(config.loss, len(data.classes), data.class_weights()).to(fabric.device)
        self._target: SelfTraining | None = None
        if config.self_training is not None:
            self._target = SelfTraining(config.self_training, len(data.classes))
        mean, std = (torch.tensor(values, device=fabric.device).view(3, 1, 1) for values in (MEAN, STD))
        self._mean, self._inverse_std = mean, 1 / std

    def gradients(self, step: int, parts: Sequence[Part]) -> Losses:
        """Add the gradients of a step's parts to the parameters; returns the losses of the step."""
        fabric, found = self._fabric, Losses()
        totals = self._totals(parts)
        for number, part in enumerate(parts):
            # Every process and part draws for the whole batch, and takes its own.
            torch.manual_seed(step_seed(self._seed, step))
            place, places = number * fabric.world_size + fabric.global_rank, len(parts) * fabric.world_size
            losses = Losses()
            with batch_part(place, places):
                # Processes exchange gradients once, with the last ones of the step: those of labelled
                # pictures, which all parameters get.
                if self._target is not None:
                    with fabric.no_backward_sync(self._model, enabled=True):
                        losses |= self._unlabelled(self._target, part, step, len(parts))
                with fabric.no_backward_sync(self._model, enabled=number < len(parts) - 1):
                    losses |= self._labelled(part, len(parts), totals)
            for name, value in losses.items():
                found[name] = found[name] + value.detach() if name in found else value.detach()
        return found

    def _labelled(self, part: Part, parts: int, totals: BatchTotals | None) -> Losses:
        logits = self._logits(part.labelled.images)
        losses = self._loss(logits, part.labelled.labels, parts, totals=totals)
        self._fabric.backward(losses["loss"])
        return losses

    def _unlabelled(self, target: SelfTraining, part: Part, step: int, parts: int) -> Losses:
        views = part.target
        assert views is not None  # noqa: S101 - there are target pictures in self-training ...
        assert views.student_images is not None  # noqa: S101 - ... which the student sees in other colours
        assert self._average is not None  # noqa: S101 - the configuration was checked
        with self._fabric.autocast():
            known = target.pseudo_labels(self._average.module, self._normalised(views.images), views.labels)
        logits, _ = self._logits(views.student_images)
        losses = target.loss(logits, known, step, parts)
        self._fabric.backward(losses["target"])
        return losses

    def _logits(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        # Fabric does so by itself only where it wraps the network.
        with self._fabric.autocast():
            return self._model.head_logits(self._normalised(images))

    def _totals(self, parts: Sequence[Part]) -> BatchTotals | None:
        """Return what the step's parts are measured by together; None for a single part, which knows."""
        if len(parts) == 1:
            return None
        first, *others = (self._loss.totals(part.labelled.labels) for part in parts)
        return sum(others, first)

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() - self._mean) * self._inverse_std


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step's random numbers in the network."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
