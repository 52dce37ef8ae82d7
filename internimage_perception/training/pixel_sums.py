"""Sums over pixels that segmentation losses are made of, with gradients, a few pictures at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from internimage_perception.models.layers import resize

_CHUNK = 1 << 23
"""Probabilities in memory at a time, as far as whole pictures allow."""


@dataclass(frozen=True)
class Targets:
    """What logits are compared with, pixels (B, H * W) in one row.

    Attributes:
        size: rows and columns.
        index: class ids int64, 0 where ignored.
        weights: how much each pixel counts, 0 where ignored.
        entropy: the same for the cross entropy.
        classes: the same, times the weight of the pixel's class.
        class_weights: (C,).
        label_smoothing: share of the cross entropy's target that is spread over all classes, as in PyTorch.
        dice: whether sums for the Dice loss are wanted.
    """

    size: torch.Size
    index: torch.Tensor
    weights: torch.Tensor
    entropy: torch.Tensor
    classes: torch.Tensor
    class_weights: torch.Tensor
    label_smoothing: float = 0.0
    dice: bool = True


def pixel_sums(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return [cross entropy], or [cross entropy, overlap of C classes, found of C classes], float64.

    Cross entropy is summed over all pixels. `overlap` sums the probability of the true class over the pixels
    of a class; `found` sums a class's probability over all pixels. Probabilities are computed in float32, or
    float64 for such logits, for a few pictures at a time, and again for the gradients, so that neither they
    nor logits of the labels' size are kept for a whole batch.

    Args:
        logits: (B, C, h, w), resized to the labels' size.
        targets: on the logits' device, of the precision computed in.
    """
    return _PixelSums.apply(logits, targets)


@torch.no_grad()
def true_class_probability(logits: torch.Tensor, size: torch.Size, index: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (B, H * W) of classes (B, H * W), without gradients; logits as above."""
    with _without_autocast(logits):
        chances = [
            _resized(logits[part], size).log_softmax(1).gather(1, index[part, None]).squeeze(1).exp_()
            for part in _chunks(logits, size)
        ]
    return torch.cat(chances)


def precision_of(logits: torch.Tensor) -> torch.dtype:
    """Return the type that sums of such logits are computed in."""
    return torch.promote_types(logits.dtype, torch.float32)


class _PixelSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: Targets) -> torch.Tensor:  # noqa: ANN401 - autograd's own
        ctx.save_for_backward(logits)
        ctx.targets = targets
        with _without_autocast(logits):
            sums = [
                _sums(_resized(logits[part], targets.size), part, targets)
                for part in _chunks(logits, targets.size)
            ]
        return torch.stack(sums).sum(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401 - autograd's own
        (logits,) = ctx.saved_tensors
        targets: Targets = ctx.targets
        results: list[torch.Tensor] = []
        with _without_autocast(logits):
            for part in _chunks(logits, targets.size):
                low = logits[part].detach().requires_grad_()
                with torch.enable_grad():
                    full = _resized(low, targets.size)
                towards = _gradient(full.detach(), gradient, part, targets)
                results += torch.autograd.grad(full, low, towards)
        return results[0] if len(results) == 1 else torch.cat(results), None


def _sums(scores: torch.Tensor, part: slice, targets: Targets) -> torch.Tensor:
    """Return the sums of some pictures, from their logits (N, C, H * W)."""
    scores = scores.log_softmax(1)
    index = targets.index[part]
    picked = scores.gather(1, index[:, None]).squeeze(1)
    smoothing = targets.label_smoothing
    entropy = (smoothing - 1) * picked.flatten().dot(targets.classes[part].flatten())
    if smoothing:
        spread = _over_pixels(scores, targets.entropy[part])
        entropy = entropy - smoothing / scores.shape[1] * spread.dot(targets.class_weights)
    if not targets.dice:
        return entropy.double()[None]
    found = _over_pixels(scores.exp_(), targets.weights[part])
    right = picked.exp_().mul_(targets.weights[part]).flatten().double()
    overlap = right.new_zeros(scores.shape[1]).index_add_(0, index.flatten(), right)
    return torch.cat([entropy.double()[None], overlap, found.double()])


def _gradient(scores: torch.Tensor, gradient: torch.Tensor, part: slice, targets: Targets) -> torch.Tensor:
    """Return the gradient (N, C, H * W) of some pictures' logits, given that of their sums.

    Be p the probabilities and y the true class of a pixel, v and w its weights here and in the cross entropy,
    and f and o the gradients of the sums of `found` and `overlap`. A class k's logit gets from the cross
    entropy w (p_k - [k = y]); from Dice's sums p_k (a_k - sum_j a_j p_j), with a_k = v (f_k + [k = y] o_k).
    """
    gradient = gradient.to(scores.dtype)
    chances = scores.softmax(1)
    index = targets.index[part]
    spread = gradient[0] * targets.label_smoothing / scores.shape[1]
    true = targets.classes[part] * (gradient[0] * (targets.label_smoothing - 1))
    factor = true.neg()
    if targets.label_smoothing:
        factor.addcmul_(targets.entropy[part], spread * targets.class_weights.sum())
    if targets.dice:
        overlap, found = gradient[1:].view(2, -1)
        weights = targets.weights[part]
        right = chances.gather(1, index[:, None]).squeeze(1).mul_(weights).mul_(overlap[index])
        true += right
        factor -= right
        mean = torch.bmm(found.expand(len(chances), 1, -1), chances).squeeze(1)
        factor.addcmul_(mean, weights, value=-1)
        chances *= torch.addcmul(factor[:, None], weights[:, None], found[:, None])
    else:
        chances *= factor[:, None]
    if targets.label_smoothing:
        chances.addcmul_(targets.entropy[part, None], (spread * targets.class_weights)[:, None], value=-1)
    return chances.scatter_add_(1, index[:, None], true[:, None])


def _over_pixels(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the sum (C,) of values (N, C, P), weighted (N, P)."""
    return torch.bmm(values, weights[:, :, None]).sum((0, 2))


def _chunks(logits: torch.Tensor, size: torch.Size) -> Iterator[slice]:
    """Yield slices of the batch."""
    step = max(1, _CHUNK // (logits.shape[1] * size.numel()))
    for start in range(0, len(logits), step):
        yield slice(start, start + step)


def _resized(logits: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return logits (N, C, H * W) of the labels' size, in the precision to compute in."""
    logits = logits.to(precision_of(logits))
    return (logits if logits.shape[2:] == size else resize(logits, size)).flatten(2)


def _without_autocast(logits: torch.Tensor) -> torch.autocast:
    return torch.autocast(logits.device.type, enabled=False)
