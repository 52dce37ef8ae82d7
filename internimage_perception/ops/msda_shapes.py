"""What must fit together in a call of multi-scale deformable attention."""

from typing import NamedTuple

import torch

from internimage_perception.ops.geometry import OperatorError


class Level(NamedTuple):
    """One level of the values: size in pixels, and its first pixel among those of all levels."""

    height: int
    width: int
    start: int


def check_shapes(
    value: torch.Tensor,
    spatial_shapes: torch.Tensor,
    level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
) -> None:
    """Raise OperatorError naming the tensor whose shape, type or device does not fit; reads no numbers."""
    dimensions = (
        ("value", value, 4, "(B, pixels, heads, channels)"),
        ("sampling_locations", sampling_locations, 6, "(B, Q, heads, levels, points, 2)"),
        ("attention_weights", attention_weights, 5, "(B, Q, heads, levels, points)"),
    )
    for name, tensor, count, layout in dimensions:
        if tensor.dim() != count:
            raise OperatorError(f"ms_deform_attn: {name} must be {layout}, got {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            raise OperatorError(f"ms_deform_attn: {name} must be floating point, got {tensor.dtype}")
        if tensor.device != value.device:
            raise OperatorError(
                f"ms_deform_attn: {name} is on {tensor.device}, value on {value.device}; move them together"
            )
    batch, pixels, heads, channels = value.shape
    _, queries, _, levels, points, _ = sampling_locations.shape
    if min(pixels, heads, channels, levels, points) < 1:
        raise OperatorError(
            "ms_deform_attn: there must be a pixel, head, channel, level and point; "
            f"got value {tuple(value.shape)}, sampling_locations {tuple(sampling_locations.shape)}"
        )
    for name, tensor, shape in (
        ("sampling_locations", sampling_locations, (batch, queries, heads, levels, points, 2)),
        ("attention_weights", attention_weights, (batch, queries, heads, levels, points)),
        ("spatial_shapes", spatial_shapes, (levels, 2)),
        ("level_start_index", level_start_index, (levels,)),
    ):
        if tuple(tensor.shape) != shape:
            raise OperatorError(
                f"ms_deform_attn: {name} must be {shape} for value {tuple(value.shape)} and "
                f"sampling_locations {tuple(sampling_locations.shape)}, got {tuple(tensor.shape)}"
            )
    for name, tensor in (("spatial_shapes", spatial_shapes), ("level_start_index", level_start_index)):
        if tensor.dtype not in (torch.int64, torch.int32):
            raise OperatorError(f"ms_deform_attn: {name} must be int64 or int32, got {tensor.dtype}")


def read_levels(spatial_shapes: torch.Tensor, level_start_index: torch.Tensor, pixels: int) -> list[Level]:
    """Return the levels. Raises OperatorError for one that has no pixels or is not inside the value's."""
    levels = [
        Level(height, width, start)
        for (height, width), start in zip(spatial_shapes.tolist(), level_start_index.tolist(), strict=True)
    ]
    for number, (height, width, start) in enumerate(levels):
        if height < 1 or width < 1 or start < 0 or start + height * width > pixels:
            raise OperatorError(
                f"ms_deform_attn: level {number} of {height}x{width} pixels from {start} on does not fit "
                f"into the value's {pixels} pixels; look at spatial_shapes and level_start_index"
            )
    return levels
