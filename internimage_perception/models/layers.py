"""Small layers that backbone and heads share."""

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


class DropPath(nn.Module):
    """Drop a residual branch per sample while training (stochastic depth, Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zero whole samples with probability `rate`, scale the others so that the mean stays."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        chosen = x.new_empty((x.shape[0], *([1] * (x.dim() - 1)))).bernoulli_(keep)
        return x * chosen.div_(keep)


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
