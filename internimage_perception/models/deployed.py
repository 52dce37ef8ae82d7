"""The deployed graphs: raw frames in, class ids with their confidence out, in every backend the same."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from internimage_perception.errors import ConfigError
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.layers import resize
from internimage_perception.models.segmentor import Segmentor

INVALID_ID = 255
RANKS = 5
"""Classes that a classification answers with, as far as it has that many."""


class DeployedGraph(nn.Module):
    """What every deployed graph begins with: a frame becomes the network's input.

    Resizes to the network's input (bilinear, pixel centres at halves, no antialiasing) and normalises. The
    resize comes first, so that a large frame costs as little as can be.

    Args:
        model: network for RGB images.
        height: rows of the network's input.
        width: columns of the network's input.
        mean: per channel in RGB order, on the scale 0..255.
        std: per channel in RGB order, on the scale 0..255.
        channel_order: order of the frames' channels, "rgb" or "bgr"; the graph turns "bgr" round.

    Attributes:
        outputs: names of what `forward` returns.

    Raises:
        ConfigError: a value is none of these.
    """

    outputs: ClassVar[tuple[str, str]]
    mean: torch.Tensor
    inverse_std: torch.Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        height: int,
        width: int,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: str = "rgb",
    ) -> None:
        super().__init__()
        _check(height, width, mean, std, channel_order)
        self.model = model
        self.size = (height, width)
        self.channel_order = channel_order
        # Derived from the bundle, so no part of the network's weights.
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(3, 1, 1), persistent=False)
        inverse_std = torch.tensor([1.0 / value for value in std]).view(3, 1, 1)
        self.register_buffer("inverse_std", inverse_std, persistent=False)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Map frames, uint8 (N, H, W, 3), to the network's input, float (N, 3, height, width)."""
        # TensorRT takes bytes only to convert them, so that comes first.
        x = images.to(self.mean.dtype)
        x = _resize_axis(_resize_axis(x, 1, self.size[0]), 2, self.size[1])
        x = x.permute(0, 3, 1, 2)
        if self.channel_order == "bgr":
            x = x.flip(1)
        return (x - self.mean) * self.inverse_std


class DeployedSegmentation(DeployedGraph):
    """Segmentation of camera frames as they come from the decoder.

    Resizes the network's logits once to the output size and answers with the best class and its softmax
    probability.

    Args:
        model: network for RGB images.
        height: rows of the network's input.
        width: columns of the network's input.
        mean: per channel in RGB order, on the scale 0..255.
        std: per channel in RGB order, on the scale 0..255.
        output_size: "model" (height x width), "input" (the frame's size) or (rows, columns).
        channel_order: order of the frames' channels, "rgb" or "bgr"; the graph turns "bgr" round.

    Raises:
        ConfigError: a value is none of these, or the model has more classes than a mask can hold.
    """

    outputs = ("class_ids", "confidence")
    model: Segmentor

    def __init__(
        self,
        model: Segmentor,
        *,
        height: int,
        width: int,
        mean: Sequence[float],
        std: Sequence[float],
        output_size: str | Sequence[int] = "model",
        channel_order: str = "rgb",
    ) -> None:
        super().__init__(model, height=height, width=width, mean=mean, std=std, channel_order=channel_order)
        if model.config.num_classes > INVALID_ID:
            message = f"{model.config.num_classes} classes do not fit into a mask; at most {INVALID_ID} do"
            raise ConfigError(message)
        self.output_size = _output_size(output_size, self.size)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map frames, uint8 (N, H, W, 3), to class ids and confidence, each uint8 (N, h, w).

        Confidence is the chosen class's softmax probability times 255, rounded.
        """
        logits = self.model.low_logits(self.normalised(images))
        logits = resize(logits, self.output_size or images.shape[1:3])
        best, ids = logits.max(dim=1)
        # The largest softmax value, without computing the others.
        probability = (logits - best[:, None]).exp().sum(dim=1).reciprocal()
        return ids.to(torch.uint8), (probability * 255).round().to(torch.uint8)


class DeployedClassification(DeployedGraph):
    """Classification of whole frames; arguments and preprocessing as in `DeployedGraph`.

    A frame of the input's size passes the resize unchanged, so that a caller may prepare frames in a way of
    its own.
    """

    outputs = ("class_ids", "probabilities")
    model: Classifier

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map frames, uint8 (N, H, W, 3), to the best k classes and their softmax probabilities.

        Both are (N, k), the best first, int32 and float32; k is `RANKS`, or the number of classes if that
        is smaller.
        """
        logits = self.logits(images)
        best, ids = logits.topk(min(RANKS, logits.shape[1]), dim=1)
        highest = best[:, :1]
        total = (logits - highest).exp().sum(dim=1, keepdim=True)
        return ids.to(torch.int32), (best - highest).exp() / total

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map frames, uint8 (N, H, W, 3), to the logits of all classes, (N, C)."""
        return self.model(self.normalised(images))


def deploy_model(
    model: Segmentor | Classifier,
    *,
    height: int,
    width: int,
    mean: Sequence[float],
    std: Sequence[float],
    channel_order: str = "rgb",
    output_size: str | Sequence[int] = "model",
) -> DeployedSegmentation | DeployedClassification:
    """Return the deployed graph of a network; arguments as in `DeployedSegmentation`.

    Raises ConfigError, also for an output size of a classifier, which answers no masks.
    """
    if isinstance(model, Segmentor):
        return DeployedSegmentation(
            model,
            height=height,
            width=width,
            mean=mean,
            std=std,
            output_size=output_size,
            channel_order=channel_order,
        )
    if output_size != "model":
        message = (
            f"a classifier answers no masks, so output size {output_size!r} has no meaning; leave it out"
        )
        raise ConfigError(message)
    return DeployedClassification(
        model, height=height, width=width, mean=mean, std=std, channel_order=channel_order
    )


def _resize_axis(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """Interpolate linearly along one axis, pixel centres at halves.

    The positions are computed here, from whole numbers: runtimes round those of their own resize operators
    each in its way, which on a sharp image is enough to change an answer.
    """
    length = x.shape[dim]
    # 2 * size times the position; the border pixel is repeated outside.
    steps = 2 * torch.arange(size, dtype=x.dtype, device=x.device) + 1
    position = (steps * length - size).clamp(min=0)
    first = (position / (2 * size)).floor()
    fraction = (position - first * (2 * size)) / (2 * size)
    second = (first + 1).clamp(max=length - 1)
    start = x.index_select(dim, first.long())
    end = x.index_select(dim, second.long())
    return start + (end - start) * fraction.view(-1, *[1] * (x.dim() - 1 - dim))


def _output_size(size: str | Sequence[int], model_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return (rows, columns), None for the frame's own size."""
    if size == "model":
        return model_size
    if size == "input":
        return None
    if not isinstance(size, str) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size):
        return size[0], size[1]
    message = f"output_size must be 'model', 'input' or (rows, columns), got {size!r}"
    raise ConfigError(message)


def _check(height: int, width: int, mean: Sequence[float], std: Sequence[float], channel_order: str) -> None:
    if min(height, width) < 32:
        message = f"the network's input must be at least 32 pixels high and wide, got {height}x{width}"
        raise ConfigError(message)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 3 or not all(math.isfinite(value) for value in values):
            message = f"{name} needs three finite numbers, got {tuple(values)}"
            raise ConfigError(message)
    if min(std) <= 0:
        message = f"std needs positive numbers, got {tuple(std)}"
        raise ConfigError(message)
    if channel_order not in {"rgb", "bgr"}:
        message = f"channel_order must be 'rgb' or 'bgr', got {channel_order!r}"
        raise ConfigError(message)
