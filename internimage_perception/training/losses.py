"""Losses of semantic segmentation that come out the same on any number of processes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from internimage_perception.data.sample import IGNORED
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training.class_weights import class_weights_from, pixel_shares
from internimage_perception.training.collectives import (
    count_over_processes,
    process_count,
    sum_over_processes,
)
from internimage_perception.training.config import LossConfig
from internimage_perception.training.hard_examples import hard_pixels
from internimage_perception.training.pixel_sums import (
    Targets,
    pixel_sums,
    precision_of,
    true_class_probability,
)

__all__ = ["BatchTotals", "Logits", "SegmentationLoss", "class_weights_from", "pixel_shares"]

Logits = torch.Tensor | tuple[torch.Tensor, torch.Tensor | None] | Mapping[str, torch.Tensor]
"""Of the decode head; of it and the auxiliary head; or of both by name, `main` and `auxiliary`."""


@dataclass(frozen=True)
class BatchTotals:
    """Sums over a whole step, all processes and parts, that the losses of its parts are measured by.

    Totals of parts are added with `+`.

    Attributes:
        denominator: what the sum of the cross entropy is divided by, float64.
        counted: (num_classes,) pixels of each class, weighted.
        sums: overlap and found of the classes, for each head, as in `pixel_sums`; empty: unknown.
    """

    denominator: torch.Tensor
    counted: torch.Tensor
    sums: tuple[torch.Tensor, ...] = ()

    def __add__(self, other: "BatchTotals") -> "BatchTotals":
        sums = tuple(mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True))
        return BatchTotals(self.denominator + other.denominator, self.counted + other.counted, sums)


class SegmentationLoss(nn.Module):
    """Weighted cross entropy and Dice loss of a main and an auxiliary head.

    Cross entropy (weights, smoothing) is PyTorch's, summed over pixels and divided by the number of all
    pixels, ignored ones too ("all"), or by the class weights of the valid ones ("valid", PyTorch's mean).
    Dice is, with sums over all pixels, the mean over the classes among the labels of
    1 - 2 overlap / (found + pixels of the class + 1), the found being probabilities. Hard examples are
    mined among the pixels of one call on all processes.

    **Processes.** Denominators and Dice's sums go over all processes, which must call this together.
    Gradients are right once averaged over processes, as DDP and FSDP do; so are the returned values.

    **Parts.** When a step takes several calls, with `backward` after each, gradients and values add up to
    those of the step; for cross entropy over "all" pixels without further ado. For the others the step's
    totals must be known before its first part: "valid" needs `totals` of the labels, Dice those of the
    logits too, from a pass without gradients (same seed, so that the same is dropped). Without them each
    part counts as if all parts were like it.

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
        self._weighted = bool((class_weights != 1).any())

    def forward(
        self,
        logits: Logits,
        labels: torch.Tensor,
        parts: int = 1,
        *,
        pixel_weights: torch.Tensor | None = None,
        totals: BatchTotals | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return `loss`, to go backward from, and what it is made of, without gradients and weights.

        Those are `cross_entropy` and `dice`, as far as wanted, and `auxiliary`: that head's whole loss.

        Args:
            logits: (B, num_classes, h, w) of each head, any floating point type; resized to the labels'
                size where they have another.
            labels: (B, H, W) uint8 or int64; 255 is ignored.
            parts: calls that make up a step on this process.
            pixel_weights: (B, H, W), how much each pixel counts; the cross entropy is divided by the same
                as without.
            totals: those of the step; None: this call's times `parts`.

        Raises:
            DatasetError: labels name classes that there are not (on a GPU, CUDA fails by itself).
            ConfigError: the logits have another number of classes.
        """
        known = () if totals is None else totals.sums
        own = totals
        if own is None or (self.config.dice and not known):
            own = self.totals(labels, pixel_weights=pixel_weights)
        denominator = own.denominator * parts if totals is None else totals.denominator
        whole = BatchTotals(denominator, own.counted, known)
        heads = self._heads(logits)
        results = [
            self._of_head(number, pixel_sums(head, self._targets(head, labels, pixel_weights)), whole, parts)
            for number, head in enumerate(heads)
        ]
        losses = dict(results[0])
        if len(results) > 1:
            losses["auxiliary"] = results[1]["loss"]
            losses["loss"] = losses["loss"] + self.config.auxiliary * losses["auxiliary"]
        return {
            name: (value if name == "loss" else value.detach()).to(precision_of(heads[0]))
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
        """Return the totals of one part, or of all at once, over all processes, which call this together.

        Args:
            labels: (B, H, W) uint8 or int64.
            logits: of the same heads as later; None: the Dice loss of a part goes by its own sums.
            pixel_weights: (B, H, W).
        """
        _check(labels, self.num_classes)
        flat = labels.flatten().long()
        weights = [torch.ones_like(flat, dtype=torch.float64)]
        if pixel_weights is not None:
            weights.append(pixel_weights.flatten().double())
        bins = torch.stack([weight.new_zeros(IGNORED + 1).index_add_(0, flat, weight) for weight in weights])
        bins = count_over_processes(bins)
        if self.config.average == "all":
            denominator = bins[0].sum()
        else:
            denominator = bins[0, : self.num_classes].dot(self.class_weights.to(bins))
        sums: tuple[torch.Tensor, ...] = ()
        if logits is not None and self.config.dice:
            sums = tuple(
                count_over_processes(pixel_sums(head, self._targets(head, labels, pixel_weights))[1:])
                for head in self._heads(logits)
            )
        return BatchTotals(denominator, bins[-1, : self.num_classes], sums)

    def _of_head(
        self, number: int, sums: torch.Tensor, whole: BatchTotals, parts: int
    ) -> dict[str, torch.Tensor]:
        """Return a head's losses from its sums over this process's pixels."""
        losses: dict[str, torch.Tensor] = {}
        loss = sums.new_zeros(())
        processes = process_count()
        if self.config.cross_entropy:
            divisor = whole.denominator.where(whole.denominator > 0, 1.0)
            losses["cross_entropy"] = sums[0] * processes / divisor
            loss = loss + self.config.cross_entropy * losses["cross_entropy"]
        if self.config.dice:
            if not whole.sums:
                everywhere = sum_over_processes(sums[1:])
            else:
                # The value of the whole step, the gradient of this process's part in it.
                everywhere = whole.sums[number] + parts * processes * (sums[1:] - sums[1:].detach())
            losses["dice"] = _dice(everywhere, whole.counted) / parts
            loss = loss + self.config.dice * losses["dice"]
        return losses | {"loss": loss}

    def _targets(
        self, head: torch.Tensor, labels: torch.Tensor, pixel_weights: torch.Tensor | None
    ) -> Targets:
        """Return what the logits of a head are compared with."""
        size, labels = labels.shape[1:], labels.flatten(1)
        valid = labels != IGNORED
        index = labels.long().where(valid, 0)
        weights = valid.to(precision_of(head))
        if pixel_weights is not None:
            weights = weights * pixel_weights.flatten(1)
        entropy = weights
        if (ohem := self.config.ohem) is not None and self.config.cross_entropy:
            chances = true_class_probability(head, size, index)
            entropy = weights * hard_pixels(chances, valid, ohem.threshold, ohem.min_kept * len(labels))
        class_weights = self.class_weights.to(weights)
        return Targets(
            size=size,
            index=index,
            weights=weights,
            entropy=entropy,
            classes=entropy * class_weights[index] if self._weighted else entropy,
            class_weights=class_weights,
            label_smoothing=self.config.label_smoothing,
            dice=self.config.dice > 0,
        )

    def _heads(self, logits: Logits) -> list[torch.Tensor]:
        """Return the logits of the heads that count."""
        if isinstance(logits, torch.Tensor):
            heads = [logits]
        else:
            both = (logits["main"], logits.get("auxiliary")) if isinstance(logits, Mapping) else logits
            heads = [head for head in both if head is not None]
        for head in heads:
            if head.shape[1] != self.num_classes:
                raise ConfigError(
                    f"the network tells {head.shape[1]} classes apart, the loss is of {self.num_classes}"
                )
        return heads if self.config.auxiliary else heads[:1]


def _check(labels: torch.Tensor, num_classes: int) -> None:
    """Raise DatasetError for classes that there are not; on a GPU, looking would mean waiting for it."""
    if labels.device.type != "cpu":
        return
    wrong = (labels < 0) | (labels >= num_classes) & (labels != IGNORED)
    if wrong.any():
        raise DatasetError(
            f"labels name class {int(labels[wrong][0])}, but there are {num_classes} classes, 0 to "
            f"{num_classes - 1}, and {IGNORED} for pixels to be ignored; check the dataset's label map"
        )


def _dice(sums: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the mean Dice loss of the classes among the labels, 0 where there are none."""
    overlap, found = sums.view(2, -1)
    dice = 1 - 2 * overlap / (found + counted + 1)
    present = counted > 0
    return (dice * present).sum() / present.sum().clamp(min=1)
