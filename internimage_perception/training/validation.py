"""Scores of a network on labelled datasets while it is trained."""

from collections.abc import Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from internimage_perception.data.datasets import Dataset, open_dataset
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.evaluation.confusion import ConfusionMatrix
from internimage_perception.models.inference_modes import EvaluationMode, Window, probabilities
from internimage_perception.training.config import ValidationConfig

BACKGROUND = "Background"
"""The class that is no part of the mean over scene classes."""


class Validation:
    """Datasets to score a network on, in the official way (`models.inference_modes`).

    Scores per dataset: `miou` over all classes, and `miou_scene` without `BACKGROUND` where the classes hold
    it; pixels labelled 255 are left out. Processes share the pictures.

    Args:
        config: which datasets, and how pictures are shown to the network.
        classes: of the network.
        steps: of the whole run.

    Raises:
        ConfigError: a dataset has other classes, or no labels.
    """

    def __init__(self, config: ValidationConfig, classes: Sequence[str], steps: int) -> None:
        self._every, self._steps = config.every, steps
        self._classes = tuple(classes)
        self._limit = config.limit
        self._datasets: dict[str, Dataset] = {}
        for name, source in config.sources.items():
            dataset = open_dataset(source)
            if dataset[0].labels is None:
                raise ConfigError(f"validation.sources.{name} has no labels to compare with")
            if tuple(dataset.classes) != self._classes:
                raise ConfigError(
                    f"validation.sources.{name} has the classes {', '.join(dataset.classes)}; the training's "
                    f"are {', '.join(classes)}"
                )
            self._datasets[name] = dataset
        window = None
        if config.mode == "slide" and config.crop is not None and config.stride is not None:
            window = Window(config.crop[::-1], config.stride[::-1])
        self._mode = EvaluationMode(window=window, scale=config.scale)

    @property
    def names(self) -> list[str]:
        """Names of the scores."""
        kinds = ["miou", "miou_scene"] if BACKGROUND in self._classes else ["miou"]
        return [f"{name}/{kind}" for name in self._datasets for kind in kinds]

    def due(self, step: int) -> bool:
        """Return whether the network is to be scored after so many steps."""
        return step == self._steps or (step > 0 and step % self._every == 0)

    def run(self, fabric: Fabric, network: nn.Module) -> dict[str, float]:
        """Return the scores by name; all processes must call it, and get the same."""
        was_training = network.training
        network.eval()
        scores: dict[str, float] = {}
        for name, dataset in self._datasets.items():
            counted = self._count(fabric, network, dataset, name)
            scores[f"{name}/miou"] = counted.miou()
            if BACKGROUND in self._classes:
                scene = [index for index, label in enumerate(self._classes) if label != BACKGROUND]
                scores[f"{name}/miou_scene"] = counted.miou(scene)
        network.train(was_training)
        return scores

    def _count(self, fabric: Fabric, network: nn.Module, dataset: Dataset, name: str) -> ConfusionMatrix:
        matrix = ConfusionMatrix(len(self._classes))
        count = len(dataset) if self._limit is None else min(self._limit, len(dataset))
        indices = np.linspace(0, len(dataset) - 1, count).round().astype(int)
        # A network that is split runs on all processes or on none: the last ones repeat a picture.
        for turn in range(-(-count // fabric.world_size)):
            place = turn * fabric.world_size + fabric.global_rank
            sample = dataset[int(indices[min(place, count - 1)])]
            if sample.labels is None:
                raise DatasetError(f"validation.sources.{name}: {sample.name} has no labels")
            with fabric.autocast():
                found = probabilities(_Shown(network), sample.image, self._mode, device=fabric.device)
            if place < count:
                matrix.add(sample.labels, found.argmax(0).to(torch.uint8).cpu().numpy())
        counts = torch.from_numpy(matrix.counts).to(fabric.device)
        total = fabric.all_reduce(counts, reduce_op="sum")
        assert isinstance(total, torch.Tensor)  # noqa: S101 - a tensor went in
        return ConfusionMatrix(len(self._classes), total.cpu().numpy())


class _Shown:
    """A network not in inference mode: of what it keeps, one that is split could not train with anything."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(mode=False), torch.no_grad():
            return self._network(images)
