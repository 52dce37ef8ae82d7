"""What a run is fed with: the parts of its steps, and what is known about the labels."""

from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric

from internimage_perception.data.sample import IGNORED
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training.collectives import gather_objects
from internimage_perception.training.config import TrainingConfig
from internimage_perception.training.losses import class_weights_from, pixel_shares
from internimage_perception.training.pipeline import Batch, Failure, SampleStream, batches, open_sources

_MOST_CLASSES = 255
_FEW = 100
# Streams of one run draw apart from each other.
_TARGET = 1 << 32


@dataclass(frozen=True)
class Part:
    """One process's part of a step, or of a part of it, on its device.

    Attributes:
        labelled: pictures with labels.
        target: unlabelled ones, in self-training.
    """

    labelled: Batch
    target: Batch | None = None


class TrainingData:
    """The pictures of a run, as this process sees them.

    Args:
        config: the run.
        fabric: of this process.

    Attributes:
        classes: names of the classes.
        skipped: samples that could not be read, by all processes, as far as `take_failures` told.

    Raises:
        ConfigError: datasets that do not fit together, or a batch that cannot be shared out evenly.
        DatasetError: a dataset cannot be opened.
    """

    def __init__(self, config: TrainingConfig, fabric: Fabric) -> None:
        self._config, self._fabric = config, fabric
        data, self_training = config.data, config.self_training
        self._stream = open_sources(data.sources, data.pipeline, seed=config.seed)
        self._target: SampleStream | None = None
        if self_training is not None:
            self._target = open_sources(
                self_training.sources, self_training.pipeline, seed=config.seed + _TARGET, labelled=False,
                student=self_training.student_pipeline,
            )  # fmt: skip
        self.classes = self._stream.classes
        if len(self.classes) > _MOST_CLASSES:
            raise ConfigError(
                f"{len(self.classes)} classes do not fit into a mask; at most {_MOST_CLASSES} do"
            )
        self.skipped = 0
        self._asked = self._failed = 0
        self._failures: list[Failure] = []

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the pictures that the network sees."""
        height, width = self._stream[0].sample.image.shape[:2]
        return height, width

    def class_weights(self) -> torch.Tensor | None:
        """Return weights by the rarity of classes among the first pictures; None where that is not asked for.

        Raises DatasetError when no pixel is labelled.
        """
        if (rarity := self._config.loss.rarity) is None:
            return None
        weights = torch.ones(len(self.classes))
        if self._fabric.is_global_zero:
            count = min(400, sum(len(source.dataset) for source in self._stream.sources))
            drawn = (self._stream[number].sample.labels for number in range(count))
            maps = (labels if labels is not None else np.full(1, IGNORED, np.uint8) for labels in drawn)
            weights = class_weights_from(pixel_shares(maps, len(self.classes)), rarity)
        return self._fabric.broadcast(weights)

    def steps(self, first: int) -> Generator[tuple[int, list[Part]], None, None]:
        """Yield the steps from `first` to the last one, each with its parts.

        Raises:
            ConfigError: pictures of a batch differ in size.
            DatasetError: too many samples cannot be read.
            PerceptionError: a process that prepares samples ended unexpectedly.
        """
        config, fabric = self._config, self._fabric
        with ExitStack() as stack:
            labelled = stack.enter_context(closing(self._batches(self._stream, config.batch, first)))
            target = None
            if self._target is not None and config.self_training is not None:
                batch = config.self_training.batch
                target = stack.enter_context(closing(self._batches(self._target, batch, first)))
            for step in range(first, config.steps):
                parts = []
                for _ in range(config.accumulate):
                    mine = self._checked(next(labelled)).to(fabric.device)
                    theirs = None if target is None else self._checked(next(target)).to(fabric.device)
                    parts.append(Part(mine, theirs))
                yield step, parts

    def take_failures(self) -> list[Failure]:
        """Return the samples that no process could read since the last call; all processes must call it."""
        mine, self._failures = self._failures, []
        found = [failure for theirs in gather_objects(mine) for failure in theirs]
        self.skipped += len(found)
        return found

    def _batches(self, stream: SampleStream, batch: int, first: int) -> Generator[Batch, None, None]:
        config, fabric = self._config, self._fabric
        return batches(
            stream, batch, first_step=first, last_step=config.steps, workers=config.data.workers,
            rank=fabric.global_rank, ranks=fabric.world_size, accumulate=config.accumulate,
        )  # fmt: skip

    def _checked(self, batch: Batch) -> Batch:
        """Count samples that could not be read; raises DatasetError when they are too many."""
        self._asked += len(batch.names) + len(batch.failures)
        self._failed += len(batch.failures)
        self._failures.extend(batch.failures)
        # Of few samples, chance alone may have made many unreadable.
        most = self._config.data.failures * max(self._asked, _FEW)
        if batch.failures and self._failed > most:
            last = batch.failures[-1]
            raise DatasetError(
                f"{self._failed} of {self._asked} samples cannot be read, such as {last.name}: "
                f"{last.reason}; mend the dataset, or set data.failures to a larger share"
            )
        return batch
