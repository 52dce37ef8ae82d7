"""Sums over pixels that segmentation losses are made of, with gradients, one picture in memory at a time."""

from dataclasses import dataclass
from typing import Any

import torch

from internimage_perception.models.layers import resize

IGNORED = 255
"""Label of pixels that are not learned."""


@dataclass(frozen=True)
class Terms:
    """What is summed.

    Attributes:
        class_weights: (C,), of the cross entropy.
        label_smoothing: of the cross entropy, as in PyTorch: this share of the target is spread evenly.
        dice: whether the sums for the Dice loss are wanted.
    """

    class_weights: torch.Tensor
    label_smoothing: float
    dice: bool


@dataclass(frozen=True)
class Targets:
    """What logits are compared with.

    Attributes:
        labels: (B, H, W) uint8 or int64, 255 where nothing is learned.
        weights: (B, H, W), how much each pixel counts; None: 1.
        hard: (B, H, W) bool, the pixels of the cross entropy; None: all.
    """

    labels: torch.Tensor
    weights: torch.Tensor | None = None
    hard: torch.Tensor | None = None

    def of(self, picture: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return one picture's classes, weights, and weights in the cross entropy, (H * W) each.

        Pixels that are ignored have class 0 and weight 0.
        """
        labels = self.labels[picture].flatten()
        valid = labels != IGNORED
        index = labels.long().masked_fill_(~valid, 0) if labels.dtype == torch.uint8 else labels * valid
        weights = valid.to(dtype)
        if self.weights is not None:
            weights = weights * self.weights[picture].flatten()
        return index, weights, weights if self.hard is None else weights * self.hard[picture].flatten()


def pixel_sums(logits: torch.Tensor, targets: Targets, terms: Terms) -> torch.Tensor:
    """Return [cross entropy], or [cross entropy, overlap of C classes, found of C classes], float64.

    Cross entropy is summed over all pixels. `overlap` sums the probability of the true class over the pixels
    of a class; `found` sums a class's probability over all pixels. Probabilities are computed in float32, or
    float64 for such logits, picture by picture, and again for the gradients, so that neither they nor
    logits of the labels' size are kept for a whole batch.

    Args:
        logits: (B, C, h, w), resized to the labels' size.
        targets: labels and weights, on the logits' device.
        terms: what to sum.
    """
    return _PixelSums.apply(logits, targets, terms)


def true_class_probability(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return (B, H, W) probabilities of the pixels' own classes, without gradients; class 0 where ignored."""
    found = []
    dtype = _precision(logits)
    with torch.no_grad(), _full_precision(logits):
        for picture in range(len(logits)):
            index = targets.of(picture, dtype)[0]
            scores = _resized(logits[picture : picture + 1], targets)[0].flatten(1).log_softmax(0)
            found.append(scores.gather(0, index[None])[0].exp_())
    return torch.stack(found).view(targets.labels.shape)


class _PixelSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: Targets, terms: Terms) -> torch.Tensor:  # noqa: ANN401 - autograd's own
        ctx.save_for_backward(logits)
        ctx.targets, ctx.terms = targets, terms
        with _full_precision(logits):
            sums = [
                _sums(_resized(logits[picture : picture + 1], targets), picture, targets, terms)
                for picture in range(len(logits))
            ]
            return torch.stack(sums).sum(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401 - autograd's own
        (logits,) = ctx.saved_tensors
        result = torch.empty_like(logits)
        with _full_precision(logits):
            for picture in range(len(logits)):
                low = logits[picture : picture + 1].detach().requires_grad_()
                with torch.enable_grad():
                    full = _resized(low, ctx.targets)
                towards = _gradient(full.detach(), gradient, picture, ctx.targets, ctx.terms)
                if full is not low:
                    (towards,) = torch.autograd.grad(full, low, towards)
                result[picture] = towards[0]
        return result, None, None


def _sums(scores: torch.Tensor, picture: int, targets: Targets, terms: Terms) -> torch.Tensor:
    """Return one picture's sums, from its logits (1, C, H, W)."""
    scores = scores[0].flatten(1).log_softmax(0)
    index, weights, entropy_weights = targets.of(picture, scores.dtype)
    classes = terms.class_weights.to(scores.dtype)
    picked = scores.gather(0, index[None])[0]
    entropy = -(1 - terms.label_smoothing) * (picked * entropy_weights * classes[index]).sum()
    if terms.label_smoothing:
        entropy = entropy - terms.label_smoothing / len(classes) * (classes @ (scores @ entropy_weights))
    if not terms.dice:
        return entropy.double()[None]
    found = scores.exp_() @ weights
    overlap = torch.zeros(len(classes), dtype=torch.float64, device=scores.device)
    overlap.index_add_(0, index, (picked.exp_() * weights).double())
    return torch.cat([entropy.double()[None], overlap, found.double()])


def _gradient(
    scores: torch.Tensor, gradient: torch.Tensor, picture: int, targets: Targets, terms: Terms
) -> torch.Tensor:
    """Return the gradient of one picture's logits (1, C, H, W), given that of its sums.

    With p the probabilities, y the true class, w and v a pixel's weight in the cross entropy and elsewhere,
    a class k's logit has from the cross entropy w_y (p_k - [k = y]), from a class's `found` v p_k (1 - p_k)
    and the like for others; from all classes' together v p_k (f_k - sum_j f_j p_j) with f the gradients of
    `found`. `overlap` adds its gradient to f in the true class.
    """
    gradient = gradient.to(scores.dtype)
    chances = scores[0].flatten(1).softmax(0)
    index, weights, entropy_weights = targets.of(picture, scores.dtype)
    classes = terms.class_weights.to(scores.dtype)
    sure = gradient[0] * (1 - terms.label_smoothing) * entropy_weights * classes[index]
    shared = gradient[0] * terms.label_smoothing / len(classes) * entropy_weights
    factor, own = sure + shared * classes.sum(), -sure
    if terms.dice:
        overlap, found = gradient[1:].view(2, -1)
        right = overlap[index] * chances.gather(0, index[None])[0] * weights
        factor = factor - right - (found @ chances) * weights
        own = own + right
        chances *= torch.addcmul(factor, found[:, None], weights)
    else:
        chances *= factor
    if terms.label_smoothing:
        chances.addcmul_(classes[:, None], shared, value=-1)
    return chances.scatter_add_(0, index[None], own[None]).view_as(scores)


def _resized(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return one picture's logits (1, C, H, W) at the labels' size."""
    logits = logits.to(_precision(logits))
    size = targets.labels.shape[1:]
    return logits if logits.shape[2:] == size else resize(logits, size)


def _precision(logits: torch.Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _full_precision(logits: torch.Tensor) -> torch.autocast:
    """Return a context without automatic mixed precision."""
    return torch.autocast(logits.device.type, enabled=False)
