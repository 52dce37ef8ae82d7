"""Multi-scale deformable attention in standard PyTorch operators: what the kernels are compared with.

One output row (query, head) is a weighted sum of 4 x levels x points rows of the values seen as a table,
which `embedding_bag` computes without ever storing the samples. The gradient is written out: it must be
computable inside of an operator, where PyTorch records nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from internimage_perception.ops.msda_shapes import Level

_TAPS_PER_STEP = 2**20
"""Pixels weighted at once: bounds the extra memory to about 30 MB at nearly full speed."""
_NUMBERS_PER_STEP = 2**22
"""Numbers of pixels read at once in the backward pass."""


def ms_deform_attn_reference(
    value: torch.Tensor,
    levels: Sequence[Level],
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
) -> torch.Tensor:
    """Compute multi-scale deformable attention on any device.

    Args:
        value: (B, pixels, heads, channels), any floating type.
        levels: sizes and first pixels, of `read_levels`.
        sampling_locations: (B, Q, heads, levels, points, 2), (x, y), 0 to 1 from border to border.
        attention_weights: (B, Q, heads, levels, points). Shapes must have passed `check_shapes`.

    Returns:
        (B, Q, heads * channels) in the type of `value`. Half types are sampled in float32, since a position
        does not fit into their 8 to 11 bits of mantissa.
    """
    batch, _, heads, channels = value.shape
    queries = sampling_locations.shape[1]
    output = value.new_empty((batch, queries, heads, channels))
    if output.numel() == 0:
        return output.flatten(2)
    dtype = _working_type(value, sampling_locations, attention_weights)
    sampler = _Sampler(value.shape, levels, value.device)
    table = value.to(dtype).reshape(-1, channels)
    step = max(1, _TAPS_PER_STEP // (4 * attention_weights[:, 0].numel()))
    for start in range(0, queries, step):
        part = slice(start, start + step)
        taps = sampler.taps(sampling_locations[:, part].to(dtype))
        weight = taps.bilinear() * attention_weights[:, part, ..., None].to(dtype)
        bags = weight.shape[:3].numel()
        rows = functional.embedding_bag(
            taps.rows.reshape(bags, -1), table, mode="sum", per_sample_weights=weight.reshape(bags, -1)
        )
        output[:, part] = rows.reshape(output[:, part].shape).to(value.dtype)
    return output.flatten(2)


def ms_deform_attn_reference_backward(
    value: torch.Tensor,
    levels: Sequence[Level],
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    gradient: torch.Tensor,
) -> list[torch.Tensor]:
    """Return the gradients of value, locations and weights.

    `gradient` (B, Q, heads * channels) is that of the result. At pixel centres, the gradient of a location is
    the derivative to the right. A sample at -1 exactly counts as outside.
    """
    channels = value.shape[3]
    dtype = _working_type(value, sampling_locations, attention_weights)
    sampler = _Sampler(value.shape, levels, value.device)
    table = value.to(dtype).reshape(-1, channels)
    table_gradient = torch.zeros_like(table)
    location_gradient = torch.empty_like(sampling_locations, memory_format=torch.contiguous_format)
    weight_gradient = torch.empty_like(attention_weights, memory_format=torch.contiguous_format)
    gradient = gradient.to(dtype).unflatten(2, value.shape[2:])
    numbers = 4 * channels * attention_weights[:, :1].numel()
    step = max(1, _NUMBERS_PER_STEP // max(1, numbers))
    for start in range(0, sampling_locations.shape[1] if numbers else 0, step):
        part = slice(start, start + step)
        taps = sampler.taps(sampling_locations[:, part].to(dtype))
        attention = attention_weights[:, part].to(dtype)
        toward = gradient[:, part, :, None, None, None]
        bilinear = taps.bilinear()
        share = (bilinear * attention[..., None])[..., None] * toward
        table_gradient.index_add_(0, taps.rows.reshape(-1), share.reshape(-1, channels))
        dots = (table[taps.rows] * toward).sum(-1)
        weight_gradient[:, part] = (bilinear * dots).sum(-1)
        slopes = torch.stack([(slope * dots).sum(-1) for slope in taps.slopes()], dim=-1)
        location_gradient[:, part] = slopes * attention[..., None] * sampler.size.to(dtype)
    return [table_gradient.reshape(value.shape).to(value.dtype), location_gradient, weight_gradient]


def _working_type(*tensors: torch.Tensor) -> torch.dtype:
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


class _Axis(NamedTuple):
    """Weights of the two neighbours of a sample along one axis, and their slopes with the position."""

    weights: list[torch.Tensor]
    slopes: list[torch.Tensor]


class _Taps(NamedTuple):
    """Samples (B, queries, heads, levels, points); `rows` has a last axis: the table's four around each."""

    rows: torch.Tensor
    x: _Axis
    y: _Axis

    def bilinear(self) -> torch.Tensor:
        """Return the interpolation weights of the four pixels."""
        return torch.stack([y * x for y in self.y.weights for x in self.x.weights], dim=-1)

    def slopes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the derivatives of these weights with x and with y, per pixel."""
        by_x = torch.stack([y * x for y in self.y.weights for x in self.x.slopes], dim=-1)
        by_y = torch.stack([y * x for y in self.y.slopes for x in self.x.weights], dim=-1)
        return by_x, by_y


class _Sampler:
    """Finds the pixels around samples, as rows of the table (B * pixels * heads, channels)."""

    def __init__(self, shape: Sequence[int], levels: Sequence[Level], device: torch.device) -> None:
        batch, pixels, heads, _ = shape
        self._heads = heads
        # Numbers of levels have the shape (levels, 1), as the last axes of locations and weights.
        self._width, self._height, self._start = (
            torch.tensor(numbers, device=device)[:, None]
            for numbers in zip(*((level.width, level.height, level.start) for level in levels), strict=True)
        )
        self.size = torch.stack([self._width, self._height], dim=-1)
        # In a level of one row or column the second neighbour has weight 0, and is the pixel itself.
        right, below = heads * (self._width > 1), heads * self._width * (self._height > 1)
        self._corners = torch.stack([torch.zeros_like(right), right, below, below + right], dim=-1)
        image = torch.arange(batch, device=device)[:, None, None] * (pixels * heads)
        self._first_row = (image + torch.arange(heads, device=device))[..., None, None]

    def taps(self, location: torch.Tensor) -> _Taps:
        """Return the pixels around samples at `location` (B, queries, heads, levels, points, 2)."""
        left, x = _neighbours(location[..., 0] * self._width - 0.5, self._width)
        above, y = _neighbours(location[..., 1] * self._height - 0.5, self._height)
        row = self._first_row + (self._start + above * self._width + left) * self._heads
        return _Taps(row[..., None] + self._corners, x, y)


def _neighbours(position: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, _Axis]:
    """Return the first of the two pixels around each position, inside the level, and the weights of both.

    The pixel is limited to [0, size - 2] and a weight falls linearly to 0 at a distance of 1, so that zeros
    outside need no test. Where the level has one pixel only, the second weight is 0. A position that is not
    a number has the first pixel, and weights and slopes that are no numbers.
    """
    # The limits make infinite positions finite and keep the integers defined.
    position = position.clamp(min=-1).minimum(size.to(position.dtype))
    last = (size - 2).clamp(min=0)
    first = position.nan_to_num(nan=0.0).floor().clamp(min=0).to(torch.int64).minimum(last)
    second = (size > 1).to(position.dtype)
    distances = [position - first, position - first - 1]
    weights = [(1 - distance.abs()).clamp(min=0) for distance in distances]
    # A sample at -1 exactly counts as outside.
    open_end = (distances[0] > -1, distances[1] >= -1)
    slopes = [
        (inside & (distance < 0)).to(position.dtype) - ((distance >= 0) & (distance < 1)).to(position.dtype)
        for inside, distance in zip(open_end, distances, strict=True)
    ]
    unknown = position * 0
    slopes = [slopes[0] + unknown, slopes[1] * second + unknown]
    return first, _Axis([weights[0], weights[1] * second], slopes)
