"""DCNv3 in standard PyTorch operators: the definition every other implementation is compared with.

Bilinear sampling is written as one sparse product. Each output row (pixel, group) is a weighted sum of
4 x points rows of the input seen as a table (N*H*W*group, channels of a group), which `embedding_bag`
computes without ever storing the samples. On a CPU this is several times faster than `grid_sample`.
"""

import torch
from torch.nn import functional

from internimage_perception.ops.geometry import DCNv3Geometry

_TAPS_PER_STEP = 2**20
"""Samples weighted at once: bounds the extra memory to about 30 MB at nearly full speed."""


def dcnv3_reference(
    value: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, geometry: DCNv3Geometry
) -> torch.Tensor:
    """Compute DCNv3; differentiable, any device.

    Args:
        value: (N, H, W, group * channels), any floating type.
        offset: (N, Ho, Wo, group * points * 2); last axis group, point, (x, y), in pixels.
        mask: (N, Ho, Wo, group * points).
        geometry: grid, strides, groups. Shapes must have passed `geometry.check`.

    Returns:
        (N, Ho, Wo, group * channels) in the type of `value`. Half types are sampled in float32, since
        a pixel position does not fit into their 8 to 11 bits of mantissa.
    """
    dtype = torch.promote_types(torch.promote_types(value.dtype, offset.dtype), mask.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    table = value.to(dtype)
    # The sampler below looks at two neighbours per axis; a map of one row or column gets a zero neighbour.
    if min(value.shape[1:3]) < 2:
        table = functional.pad(table, (0, 0, 0, max(0, 2 - value.shape[2]), 0, max(0, 2 - value.shape[1])))
    batch, out_height, out_width = offset.shape[:3]
    if batch == 0:
        return value.new_zeros((0, out_height, out_width, value.shape[3]))
    rows = batch * out_height
    sampler = _Sampler(table, geometry, out_height, out_width)
    offset = offset.to(dtype).reshape(rows, -1, 2)
    mask = mask.to(dtype).reshape(rows, -1)
    step = max(1, _TAPS_PER_STEP // max(1, 4 * mask.shape[1]))
    parts = [
        sampler.sample(start, offset[start : start + step], mask[start : start + step])
        for start in range(0, rows, step)
    ]
    output = parts[0] if len(parts) == 1 else torch.cat(parts)
    return output.reshape(batch, out_height, out_width, -1).to(value.dtype)


class _Sampler:
    """Samples one input at chosen output rows; rows of all images are numbered through."""

    def __init__(self, value: torch.Tensor, geometry: DCNv3Geometry, out_height: int, out_width: int) -> None:
        _, self._height, self._width, channels = value.shape
        self._geometry = geometry
        self._out_height = out_height
        self._group = geometry.group
        self._points = geometry.points
        self._table = value.reshape(-1, channels // geometry.group)
        self._index_type = torch.int32 if self._table.shape[0] < 2**31 else torch.int64
        # What depends on the column, group and point alone, laid out like one row of `mask`.
        shape = (out_width, geometry.group, geometry.points)
        grid = torch.tensor(geometry.grid(), dtype=value.dtype, device=value.device) * geometry.offset_scale
        columns = torch.arange(out_width, dtype=value.dtype, device=value.device)
        columns = columns * geometry.stride[1] - geometry.padding[1] + geometry.center()[1]
        self._x = (columns[:, None, None] + grid[:, 1]).expand(shape).reshape(-1)
        self._y = grid[:, 0].expand(shape).reshape(-1)
        groups = torch.arange(geometry.group, dtype=self._index_type, device=value.device)
        self._group_row = groups[:, None].expand(shape).reshape(-1)

    def sample(self, start: int, offset: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (rows * Wo * group, channels) for the output rows from `start`."""
        geometry = self._geometry
        row = torch.arange(start, start + mask.shape[0], device=mask.device)
        image = torch.div(row, self._out_height, rounding_mode="floor")
        top = (row % self._out_height) * geometry.stride[0] - geometry.padding[0] + geometry.center()[0]
        x = torch.add(self._x, offset[..., 0], alpha=geometry.offset_scale)
        y = torch.add(top.to(mask.dtype)[:, None] + self._y, offset[..., 1], alpha=geometry.offset_scale)
        left, x_weights = _neighbours(x, self._width)
        above, y_weights = _neighbours(y, self._height)

        right_step, below_step = self._group, self._width * self._group
        index = above.to(self._index_type) * below_step + left.to(self._index_type) * right_step
        index = index + (self._group_row + (image * self._height * below_step).to(self._index_type)[:, None])
        corners = torch.tensor(
            [0, right_step, below_step, below_step + right_step], dtype=self._index_type, device=mask.device
        )
        index = index.reshape(-1, 1, self._points) + corners[:, None]
        y_weights = [(weight * mask).reshape(-1, self._points) for weight in y_weights]
        x_weights = [weight.reshape(-1, self._points) for weight in x_weights]
        weights = torch.cat([y * x for y in y_weights for x in x_weights], dim=1)
        return functional.embedding_bag(
            index.reshape(weights.shape), self._table, mode="sum", per_sample_weights=weights
        )


def _neighbours(position: torch.Tensor, size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the first of the two pixels around each position, inside the map, and the weights of both.

    The pixel is limited to [0, size - 2] and a weight falls linearly to 0 at a distance of 1. So both
    pixels always exist, and zeros outside the map need no test: beyond the border the weight of the
    outer pixel fades, further out both are 0.
    """
    # The limits make infinite positions finite and keep the integer conversion defined.
    position = position.clamp(-1, size)
    with torch.no_grad():
        first = position.floor().clamp_(0, size - 2)
        distances = [position - first, position - first - 1]
        weights = [distance.abs().neg_().add_(1).clamp_(min=0) for distance in distances]
    if position.requires_grad:
        # At pixel centres, where every sample of a freshly initialised layer lies, autograd's choice for
        # |x| at 0 would be no slope of the interpolation. Take the derivative to the right, as the CUDA
        # operator of the paper does; a sample at -1 exactly counts as outside there.
        moved = position - position.detach()
        open_end = (distances[0] > -1, distances[1] >= -1)
        slopes = [
            (inside & (distance < 0)).to(moved.dtype) - ((distance >= 0) & (distance < 1)).to(moved.dtype)
            for inside, distance in zip(open_end, distances, strict=True)
        ]
        weights = [weight + slope * moved for weight, slope in zip(weights, slopes, strict=True)]
    return first, weights
