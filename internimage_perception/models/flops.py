"""Parameters and multiply-adds of a network, counted without weights and without computing.

A multiply-add counts as one, as in the tables of the InternImage paper. Counted are matrix products and
convolutions, and DCNv3's sampling: 4 for the bilinear interpolation and 1 for the mask, per output pixel,
channel and point. Not counted: norms, activations, resizes, sums; they are a few percent.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from internimage_perception.errors import ConfigError

_PER_SAMPLE = 5
_OPERATOR = "internimage.dcnv3_fused"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network needs.

    Attributes:
        parameters: learned numbers, without the statistics of batch norms.
        multiply_adds: for one image.
        sampling: the part of `multiply_adds` that is DCNv3's sampling.
        size: (height, width) of the image.
    """

    parameters: int
    multiply_adds: int
    sampling: int
    size: tuple[int, int]


def count_parameters(model: nn.Module) -> int:
    """Return the number of learned numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


def measure_cost(model: nn.Module, size: tuple[int, int]) -> Cost:
    """Count a network for one image of (height, width) pixels.

    An auxiliary head is among the parameters, not among the multiply-adds: it only helps in training.

    Args:
        model: built under `torch.device("meta")`, so that nothing is computed; brought into evaluation mode.
        size: of the image.

    Raises:
        ConfigError: the network has real weights, or the size is none it can take.
    """
    if any(not parameter.is_meta for parameter in model.parameters()):
        message = "the network has weights in memory; build it under torch.device('meta') to count it"
        raise ConfigError(message)
    if min(size) < 1:
        message = f"an image's size must be positive, got {size}"
        raise ConfigError(message)
    model.eval()
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.internimage.dcnv3_fused: _sampling_flops}
    )
    with torch.no_grad(), counter:
        model(torch.empty(1, 3, *size, device="meta"))
    counts = {str(operator): count for operator, count in counter.get_flop_counts()["Global"].items()}
    sampling = counts.get(_OPERATOR, 0)
    return Cost(count_parameters(model), counter.get_total_flops() // 2, sampling // 2, size)


def _sampling_flops(*arguments: object, out_shape: torch.Size, **_: object) -> int:
    """Return the operator's count in the counter's units, in which a multiply-add is two."""
    mask, group = arguments[2], arguments[8]  # places in the operator's schema
    assert isinstance(mask, torch.Size) and isinstance(group, int)  # noqa: S101, PT018 - as in the schema
    return 2 * _PER_SAMPLE * out_shape.numel() * (mask[-1] // group)
