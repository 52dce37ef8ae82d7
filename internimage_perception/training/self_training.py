"""Self-training on unlabelled pictures: the averaged network teaches the trained one (mean teacher).

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017; the weight by the share of sure
pixels is that of Tranheden et al., "DACS", WACV 2021.
"""

from typing import NamedTuple

import torch
from torch import nn

from internimage_perception.data.sample import IGNORED
from internimage_perception.training.collectives import count_over_processes
from internimage_perception.training.config import LossConfig, SelfTrainingConfig
from internimage_perception.training.losses import SegmentationLoss


class PseudoLabels(NamedTuple):
    """What the teacher says of a batch.

    Attributes:
        labels: class ids, int64 (N, H, W), `IGNORED` where the teacher is not sure.
        share: of the pixels of all processes that show a scene, those the teacher is sure of.
    """

    labels: torch.Tensor
    share: torch.Tensor


class SelfTraining:
    """The part of a step that learns from unlabelled pictures.

    Args:
        config: threshold and weights.
        num_classes: of the network.
    """

    def __init__(self, config: SelfTrainingConfig, num_classes: int) -> None:
        self._config = config
        # Which classes are rare among pictures without labels is not known.
        self._loss = SegmentationLoss(LossConfig(average="valid", auxiliary=0.0), num_classes)

    def pseudo_labels(self, teacher: nn.Module, images: torch.Tensor, known: torch.Tensor) -> PseudoLabels:
        """Return the teacher's labels where it is sure.

        Args:
            teacher: images (N, 3, H, W) to logits (N, C, H, W).
            images: normalised, as the student sees them but for their colours.
            known: (N, H, W), `IGNORED` where the picture shows no scene: outside the lens, own body, padding.
        """
        teacher.eval()
        with torch.no_grad():
            best, ids = teacher(images).float().softmax(1).max(1)
        scene = known != IGNORED
        sure = (best >= self._config.threshold) & scene
        sums = count_over_processes(torch.stack([sure.sum(), scene.sum()]).double())
        labels = torch.where(sure, ids, torch.full_like(ids, IGNORED))
        return PseudoLabels(labels, (sums[0] / sums[1].clamp(min=1)).float())

    def loss(
        self, logits: torch.Tensor, found: PseudoLabels, step: int, parts: int = 1
    ) -> dict[str, torch.Tensor]:
        """Return `target`, to be added to the labelled pictures' loss, and `target_share`.

        Args:
            logits: of the student.
            found: of the teacher.
            step: from 0.
            parts: that the step's pictures come in.
        """
        weight = self._config.weight * min(1.0, (step + 1) / (self._config.warm_up + 1))
        entropy = self._loss(logits, found.labels, parts)["loss"]
        return {"target": weight * found.share * entropy, "target_share": found.share / parts}
