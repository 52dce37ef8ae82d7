"""Small layers that backbone and heads share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from internimage_perception.ops.module import ToChannelsLast


class ToChannelsFirst(nn.Module):
    """(N, H, W, C) to (N, C, H, W), a view."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Move the channels to the second place."""
        return x.permute(0, 3, 1, 2)


def layer_norm(channels: int, *, first: str = "last", last: str = "last") -> nn.Sequential:
    """Return LayerNorm over the channels of a map laid out channels "first" or "last" before and after.

    The permutations are modules, as in the official network: they give the norm its index in the keys.
    """
    layers: list[nn.Module] = [nn.LayerNorm(channels, eps=1e-6)]
    if first == "first":
        layers.insert(0, ToChannelsLast())
    if last == "first":
        layers.append(ToChannelsFirst())
    return nn.Sequential(*layers)


@dataclass
class _BatchPart:
    part: int = 0
    parts: int = 1


# Not a context variable: on a GPU the backward pass, and what it computes anew, runs in threads of its own.
_current = _BatchPart()


@contextmanager
def batch_part(part: int, parts: int) -> Iterator[None]:
    """Drop what a whole batch would drop, while its parts go through a network one by one.

    Every part, in whatever process, must have as many samples, and start from the same seed
    (`torch.manual_seed`): layers then draw for the samples of all parts and take those of this one. Must
    last until the gradients are there where activations are computed twice (checkpointing).

    Args:
        part: which part, from 0.
        parts: how many make up the batch.

    Raises:
        ValueError: there is no such part.
    """
    if not 0 <= part < parts:
        message = f"no part {part} in a batch of {parts} parts"
        raise ValueError(message)
    before = _current.part, _current.parts
    _current.part, _current.parts = part, parts
    try:
        yield
    finally:
        _current.part, _current.parts = before


def _drop(x: torch.Tensor, rate: float, *dropped: int) -> torch.Tensor:
    """Zero slices of (N, ...) `x` of the given lengths after the first axis, scale the others."""
    keep, samples = 1.0 - rate, x.shape[0]
    ones = [1] * (x.dim() - 1 - len(dropped))
    chosen = x.new_empty((_current.parts * samples, *dropped, *ones)).bernoulli_(keep)
    if keep > 0.0:
        chosen.div_(keep)
    return x * chosen.narrow(0, _current.part * samples, samples)


class DropPath(nn.Module):
    """Drop a residual branch per sample while training (stochastic depth, Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zero whole samples with probability `rate`, scale the others so that the mean stays."""
        return _drop(x, self.rate) if self.training and self.rate > 0.0 else x


class ChannelDropout(nn.Dropout2d):
    """Dropout of whole channels (N, C, H, W) that `batch_part` reaches."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name of nn.Dropout2d's
        """Zero whole channels with probability `p` while training, scale the others."""
        return _drop(input, self.p, input.shape[1]) if self.training and self.p > 0.0 else input


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, ReLU: the unit of the segmentation heads."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return functional.relu(self.bn(self.conv(x)))


class AveragePool(nn.Module):
    """Average a map over a fixed number of regions per axis, like adaptive average pooling.

    Written as two products with small matrices: regions that overlap, as they do when the map's size is no
    multiple of theirs, have no operator in ONNX.
    """

    def __init__(self, regions: int) -> None:
        super().__init__()
        self.regions = regions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, C, regions, regions)."""
        rows = x.new_tensor(_averages(x.shape[2], self.regions))
        columns = x.new_tensor(_averages(x.shape[3], self.regions))
        return rows @ x @ columns.T


def _averages(size: int, regions: int) -> list[list[float]]:
    """Return (regions, size) weights; region i spans [floor(i*size/regions), ceil((i+1)*size/regions))."""
    spans = [(i * size // regions, -(-(i + 1) * size // regions)) for i in range(regions)]
    return [[1 / (end - start) if start <= k < end else 0.0 for k in range(size)] for start, end in spans]


def resize(x: torch.Tensor, size: tuple[int, int] | torch.Size) -> torch.Tensor:
    """Resize (N, C, H, W) bilinearly; pixel centres at halves (align_corners False)."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
