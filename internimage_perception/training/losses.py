"""Losses of semantic segmentation that come out the same on any number of processes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training.collectives import (
    count_over_processes,
    process_count,
    sum_over_processes,
)
from internimage_perception.training.config import LossConfig
from internimage_perception.training.hard_examples import hard_pixels
from internimage_perception.training.pixel_sums import IGNORED, Targets, Terms, pixel_sums

Logits = torch.Tensor | tuple[torch.Tensor, torch.Tensor | None] | Mapping[str, torch.Tensor]
"""Of the decode head; of both heads; or of both by name, `main` and `auxiliary`."""


@dataclass(frozen=True)
class BatchTotals:
    """Sums over a whole step, all processes and parts, that the losses of its parts are measured by.

    Totals of parts are added with `+`.

    Attributes:
        denominator: what the sum of the cross entropy is divided by, float64.
        counted: (num_classes,) pixels of each class, weighted.
        sums: overlap and found of each class, for each head, as in `pixel_sums`; None: unknown.
    """

    denominator: torch.Tensor
    counted: torch.Tensor
    sums: tuple[torch.Tensor, ...] | None = None

    def __add__(self, other: "BatchTotals") -> "BatchTotals":
        sums = None
        if self.sums is not None and other.sums is not None:
            sums = tuple(mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True))
        return BatchTotals(self.denominator + other.denominator, self.counted + other.counted, sums)


class SegmentationLoss(nn.Module):
    """Weighted cross entropy and Dice loss of a main and an auxiliary head.

    Cross entropy (weights, smoothing) is PyTorch's, summed over pixels and divided by the number of all
    pixels, ignored ones too ("all"), or by the class weights of the valid ones ("valid", PyTorch's mean).
    Dice is, with sums over all pixels, the mean over the classes among the labels of
    1 - 2 overlap / (found + pixels of the class + 1), the found being probabilities.

    **Processes.** Denominators and Dice's sums go over all processes. Gradients are right when they are
    averaged over processes, as DDP and FSDP do; so is the mean of the returned values.

    **Parts.** With `parts` calls per step, backward after each, the gradients sum up to that of the step's
    loss, and so do the values, for "all" without further ado. For the rest, the step's totals must be known
    before the first part: "valid" needs `totals` of the labels, Dice that of the logits too, from a pass
    without gradients (same seed, so that dropout draws the same). Without them each part takes its own.

    **Hard examples** are mined among the pictures of all processes, but of one part at a time.

    Args:
        config: parts of the loss and their weights.
        num_classes: channels of the logits.
        class_weights: (num_classes,); None: those of `config`, else 1.

    Raises:
        ConfigError: class weights are missing or do not fit.
    """

    class_weights: torch.Tensor

    def __init__(
        self, config: LossConfig, num_classes: int, class_weights: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        if class_weights is None:
            if config.rarity is not None:
                raise ConfigError("loss.rarity: class weights must be estimated from the training labels")
            given = config.class_weights
            class_weights = torch.ones(num_classes) if given is None else torch.tensor(given)
        if class_weights.shape != (num_classes,):
            raise ConfigError(
                f"loss.class_weights: {class_weights.numel()} weights for {num_classes} classes; one each"
            )
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(
        self,
        logits: Logits,
        labels: torch.Tensor,
        parts: int = 1,
        *,
        pixel_weights: torch.Tensor | None = None,
        totals: BatchTotals | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return `loss`, to go backward from, and its parts without gradients or their weights.

        Those are `cross_entropy` and `dice`, as far as wanted, and `auxiliary`: that head's whole loss.

        Args:
            logits: (B, num_classes, h, w) of each head, any floating point type; resized to the labels'
                size where they have another.
            labels: (B, H, W) uint8 or int64; 255 is ignored.
            parts: calls that make up a step on this process, with as many pixels each.
            pixel_weights: (B, H, W), how much each pixel counts; the cross entropy's denominator does not
                depend on them.
            totals: those of the step; None: this call's, as if all parts had the same.

        Raises:
            DatasetError: labels name classes that there are not (for labels on a GPU, CUDA's own error).
            ConfigError: the logits have another number of classes.
        """
        heads = self._heads(logits)
        self._check(heads, labels)
        whole = totals
        if whole is None:
            counts = self.totals(labels, pixel_weights=pixel_weights)
            whole = BatchTotals(counts.denominator * parts, counts.counted)
        results: list[dict[str, torch.Tensor]] = []
        for number, head in enumerate(heads):
            targets = self._targets(head, labels, pixel_weights)
            sums = pixel_sums(head, targets, self._terms(head.device))
            known = None if totals is None or totals.sums is None else totals.sums[number]
            results.append(self._of_head(sums, whole, known, parts))
        losses = dict(results[0])
        if len(results) > 1:
            losses["auxiliary"] = results[1]["loss"]
            losses["loss"] = losses["loss"] + self.config.auxiliary * losses["auxiliary"]
        precision = torch.promote_types(heads[0].dtype, torch.float32)
        return {
            name: (value if name == "loss" else value.detach()).to(precision)
            for name, value in losses.items()
        }

    @torch.no_grad()
    def totals(
        self,
        labels: torch.Tensor,
        logits: Logits | None = None,
        *,
        pixel_weights: torch.Tensor | None = None,
    ) -> BatchTotals:
        """Return the totals of one part over all processes, which must all call this.

        Args:
            labels: (B, H, W) uint8 or int64.
            logits: of the same heads as later; None: the Dice loss of a part goes by its own sums.
            pixel_weights: (B, H, W).
        """
        flat = labels.flatten().long()
        weights = torch.ones_like(flat) if pixel_weights is None else pixel_weights.flatten()
        bins = torch.zeros(2, 256, dtype=torch.float64, device=labels.device)
        bins[0].index_add_(0, flat, torch.ones_like(flat, dtype=torch.float64))
        bins[1].index_add_(0, flat, weights.double())
        bins = count_over_processes(bins)
        if self.config.average == "all":
            denominator = bins[0].sum()
        else:
            denominator = bins[0, : self.num_classes] @ self.class_weights.to(bins)
        sums = None
        if logits is not None and self.config.dice:
            sums = tuple(
                count_over_processes(
                    pixel_sums(head, Targets(labels, pixel_weights), self._terms(head.device))[1:]
                )
                for head in self._heads(logits)
            )
        return BatchTotals(denominator, bins[1, : self.num_classes], sums)

    def _of_head(
        self, sums: torch.Tensor, whole: BatchTotals, known: torch.Tensor | None, parts: int
    ) -> dict[str, torch.Tensor]:
        """Return one head's losses from its sums over this process's pixels."""
        losses: dict[str, torch.Tensor] = {}
        loss = sums.new_zeros(())
        processes = process_count()
        if self.config.cross_entropy:
            divisor = whole.denominator.where(whole.denominator > 0, 1.0)
            losses["cross_entropy"] = sums[0] * processes / divisor
            loss = loss + self.config.cross_entropy * losses["cross_entropy"]
        if self.config.dice:
            if known is None:
                everywhere = sum_over_processes(sums[1:])
            else:
                # The value of the whole step, the gradient of this process's part in it.
                everywhere = known + parts * processes * (sums[1:] - sums[1:].detach())
            losses["dice"] = _dice(everywhere, whole.counted) / parts
            loss = loss + self.config.dice * losses["dice"]
        return losses | {"loss": loss}

    def _targets(
        self, head: torch.Tensor, labels: torch.Tensor, pixel_weights: torch.Tensor | None
    ) -> Targets:
        targets = Targets(labels, pixel_weights)
        if self.config.ohem is None or not self.config.cross_entropy:
            return targets
        return Targets(labels, pixel_weights, hard_pixels(head, targets, self.config.ohem))

    def _terms(self, device: torch.device) -> Terms:
        return Terms(self.class_weights.to(device), self.config.label_smoothing, self.config.dice > 0)

    def _heads(self, logits: Logits) -> list[torch.Tensor]:
        """Return the logits of the heads that count."""
        if isinstance(logits, torch.Tensor):
            return [logits]
        main, auxiliary = (logits["main"], logits.get("auxiliary")) if isinstance(logits, Mapping) else logits
        return [main] if auxiliary is None or not self.config.auxiliary else [main, auxiliary]

    def _check(self, heads: list[torch.Tensor], labels: torch.Tensor) -> None:
        for head in heads:
            if head.shape[1] != self.num_classes:
                raise ConfigError(
                    f"the network tells {head.shape[1]} classes apart, the loss is of {self.num_classes}"
                )
        # On a GPU, looking would make the processor wait for it.
        if labels.device.type == "cpu":
            wrong = (labels != IGNORED) & ((labels < 0) | (labels >= self.num_classes))
            if wrong.any():
                raise DatasetError(
                    f"labels name class {int(labels[wrong][0])}, but there are {self.num_classes} classes, "
                    f"0 to {self.num_classes - 1}, and {IGNORED} for pixels to be ignored; check the "
                    "dataset's label map"
                )


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
    totals = np.zeros(256, np.int64)
    for labels in islice(label_maps, samples):
        totals += np.bincount(labels.reshape(-1), minlength=256)
    known = totals[:num_classes]
    if (rest := totals[num_classes:IGNORED]).any():
        raise DatasetError(
            f"labels name class {num_classes + int(np.flatnonzero(rest)[0])}, but there are {num_classes}; "
            "check the dataset's label map"
        )
    if not known.any():
        raise DatasetError(f"no pixel is labelled in the first {samples} samples; check the dataset's labels")
    return known / known.sum()


def _dice(sums: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the mean Dice loss of the classes among the labels, 0 where there are none."""
    overlap, found = sums.view(2, -1)
    dice = 1 - 2 * overlap / (found + counted + 1)
    present = counted > 0
    return (dice * present).sum() / present.sum().clamp(min=1)
