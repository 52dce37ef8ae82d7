"""Scores of a trained network on frames of several lenses, in total, per lens, per class and per ring."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from internimage_perception.data.datasets import Dataset, open_dataset
from internimage_perception.data.sample import IGNORED
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.evaluation.confusion import ConfusionMatrix, count_pixels
from internimage_perception.evaluation.rings import NO_RING, RINGS, ring_map
from internimage_perception.models import Segmentor, create_model
from internimage_perception.models.checkpoints import load_checkpoint
from internimage_perception.models.inference_modes import EvaluationMode, probabilities

Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

CLASSES = len(StreetClass) - 1
"""All but `StreetClass.IGNORED`."""
SCENE = range(StreetClass.BACKGROUND)
"""The twelve classes that are scored."""


def open_lenses(folder: Path) -> dict[str, Dataset]:
    """Return the sets of a folder such as `test`, one per lens."""
    return {file.parent.name: open_dataset(file) for file in sorted(folder.glob("*/dataset.yaml"))}


def load_network(architecture: str, weights: Path) -> Segmentor:
    """Return a trained network, ready to answer."""
    network = create_model(architecture)
    assert isinstance(network, Segmentor)  # noqa: S101 - the experiment trains nothing else
    network.load_state_dict(load_checkpoint(weights))
    return network.eval()


def answer(network: Segmentor, image: Bytes) -> Bytes:
    """Return the class of each pixel, uint8 (height, width)."""
    found = probabilities(network, image, EvaluationMode()).argmax(0)
    return np.asarray(found.to(torch.uint8).numpy(), np.uint8)


@dataclass(frozen=True)
class Tally:
    """Pixels of the scored classes: how often each truth met each answer, by ring.

    Attributes:
        counts: int64 (rings, classes, classes + 1), see `count_pixels`; rows of Background are empty.
    """

    counts: Counts

    @classmethod
    def of(cls, network: Segmentor, dataset: Dataset) -> "Tally":
        """Return what a network makes of a set; every sample must have labels and a lens."""
        counts = np.zeros((len(RINGS), CLASSES, CLASSES + 1), np.int64)
        for index in range(len(dataset)):
            sample = dataset[index]
            assert sample.labels is not None and sample.camera is not None  # noqa: S101, PT018 - so it was drawn
            height, width = sample.labels.shape
            rings = ring_map(sample.camera, width, height)
            truth = scored_labels(sample.labels, rings)
            rings[rings == NO_RING] = 0
            counts += count_pixels(truth, answer(network, sample.image), CLASSES, rings, len(RINGS))
        return cls(counts)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.counts + other.counts)

    def miou(self) -> float:
        """Return the mean IoU of the scored classes."""
        return ConfusionMatrix(CLASSES, self.counts.sum(0)).miou(SCENE)

    def class_iou(self) -> list[float | None]:
        """Return the IoU of each scored class."""
        found = ConfusionMatrix(CLASSES, self.counts.sum(0)).iou()
        return [_rounded(found[index]) for index in SCENE]

    def ring_miou(self) -> list[float | None]:
        """Return the mean IoU of the scored classes in each ring."""
        return [_rounded(ConfusionMatrix(CLASSES, ring).miou(SCENE)) for ring in self.counts]

    def ring_share(self) -> list[float]:
        """Return each ring's share of the scored pixels."""
        pixels = self.counts.sum((1, 2))
        return [round(float(part), 4) for part in pixels / max(pixels.sum(), 1)]


def scored_labels(labels: Bytes, rings: Bytes) -> Bytes:
    """Return labels with 255 where nothing is scored: Background, and what no ray reaches."""
    return np.where((labels == StreetClass.BACKGROUND) | (rings == NO_RING), np.uint8(IGNORED), labels)


def score(network: Segmentor, lenses: Mapping[str, Dataset]) -> dict[str, object]:
    """Return `total`, `lenses` and `rings` (mean IoU), `classes` (IoU) and `ring_share`, as plain values."""
    tallies = {name: Tally.of(network, dataset) for name, dataset in lenses.items()}
    whole = sum(tallies.values(), Tally(np.zeros((len(RINGS), CLASSES, CLASSES + 1), np.int64)))
    return {
        "total": _rounded(whole.miou()),
        "lenses": {name: _rounded(tally.miou()) for name, tally in tallies.items()},
        "rings": dict(zip(RINGS, whole.ring_miou(), strict=True)),
        "classes": dict(zip((item.name.lower() for item in StreetClass), whole.class_iou(), strict=False)),
        "ring_share": dict(zip(RINGS, whole.ring_share(), strict=True)),
    }


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
