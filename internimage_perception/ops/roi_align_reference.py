"""RoIAlign in standard PyTorch operators: the definition the kernels are compared with.

The mean of bilinear samples on a rectangular grid is a product of means along rows and columns, so that a box
is two small matrix products: weights of rows, times the map, times weights of columns.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from internimage_perception.ops.geometry import OperatorError

MOST_SAMPLES = 65536
"""Samples of a bin along one axis are limited to as many: larger bins are larger than any map."""


@dataclass(frozen=True, slots=True)
class RoiGeometry:
    """Arguments of one RoIAlign call, checked.

    Attributes:
        output_size: bins of a box, (height, width).
        spatial_scale: pixels of the map per unit of the boxes.
        sampling_ratio: samples of a bin along each axis; 0: the size of the bin in pixels, rounded up.
        aligned: box coordinates count from the image's corner, so that pixel centres lie at halves.
    """

    output_size: tuple[int, int]
    spatial_scale: float
    sampling_ratio: int
    aligned: bool

    def __post_init__(self) -> None:
        """Raise OperatorError for arguments that make no sense."""
        if min(self.output_size) < 1:
            raise OperatorError(f"roi_align: output_size must be at least 1, got {self.output_size}")
        if not (math.isfinite(self.spatial_scale) and self.spatial_scale > 0):
            raise OperatorError(f"roi_align: spatial_scale must be above 0, got {self.spatial_scale}")
        if self.sampling_ratio < 0:
            raise OperatorError(f"roi_align: sampling_ratio must be at least 0, got {self.sampling_ratio}")

    def axis(self, start: float, end: float, bins: int, length: int) -> torch.Tensor | None:
        """Return the weights (bins, length) of the map's pixels along one axis, float64; None if not finite.

        Positions are computed in float64: whether a bin needs one sample more, or a sample still counts as
        inside, may depend on the last bit.
        """
        first = start * self.spatial_scale - (0.5 if self.aligned else 0.0)
        extent = (end - start) * self.spatial_scale
        if not (math.isfinite(first) and math.isfinite(extent)):
            return None
        if not self.aligned:
            extent = max(extent, 1.0)
        size = extent / bins
        samples = min(self.sampling_ratio or math.ceil(size), MOST_SAMPLES)
        weights = torch.zeros(bins, length, dtype=torch.float64)
        if samples < 1:
            return weights
        steps = (torch.arange(samples, dtype=torch.float64) + 0.5) * size / samples
        position = first + torch.arange(bins, dtype=torch.float64)[:, None] * size + steps
        share = ((position >= -1) & (position <= length)).to(torch.float64) / samples
        # Up to a pixel outside, the border's value holds.
        position = position.clamp(0, length - 1)
        low = position.to(torch.int64)
        part = position - low
        weights.scatter_add_(1, low, (1 - part) * share)
        weights.scatter_add_(1, (low + 1).clamp(max=length - 1), part * share)
        return weights


@dataclass(frozen=True, slots=True)
class _Box:
    """Where one box reads: image, rows and columns of the map, and their weights."""

    image: int
    rows: slice
    columns: slice
    row_weights: torch.Tensor
    column_weights: torch.Tensor


def roi_align_reference(feature: torch.Tensor, rois: torch.Tensor, geometry: RoiGeometry) -> torch.Tensor:
    """Compute RoIAlign on any device; `roi_align_reference_backward` is its gradient.

    Args:
        feature: (N, C, H, W), any floating type; half types are averaged in float32.
        rois: (K, 5), image's number, x1, y1, x2, y2, which must have passed `check_images`.
        geometry: bins and sampling.

    Returns:
        (K, C, *output_size) in the type of `feature`; NaN for a box that is not finite.
    """
    dtype = torch.promote_types(feature.dtype, torch.float32)
    output = feature.new_zeros((rois.shape[0], feature.shape[1], *geometry.output_size))
    for number, box in _boxes(rois, geometry, feature.shape[2:], feature.device, dtype):
        if box is None:
            output[number] = math.nan
        else:
            part = feature[box.image, :, box.rows, box.columns].to(dtype)
            output[number] = (box.row_weights @ part @ box.column_weights.T).to(feature.dtype)
    return output


def roi_align_reference_backward(
    gradient: torch.Tensor, rois: torch.Tensor, size: Sequence[int], geometry: RoiGeometry
) -> torch.Tensor:
    """Return the gradient (N, C, H, W) of the map; `size` is its (N, H, W), `gradient` that of the result."""
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    result = torch.zeros((size[0], gradient.shape[1], *size[1:]), dtype=dtype, device=gradient.device)
    for number, box in _boxes(rois, geometry, size[1:], gradient.device, dtype):
        if box is not None:
            part = box.row_weights.T @ gradient[number].to(dtype) @ box.column_weights
            result[box.image, :, box.rows, box.columns] += part
    return result.to(gradient.dtype)


def check_images(rois: torch.Tensor, images: int) -> None:
    """Raise OperatorError naming the first box whose image does not exist."""
    numbers = rois[:, 0].double()
    bad = ~((numbers >= 0) & (numbers < images) & (numbers == numbers.floor()))
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise OperatorError(
            f"roi_align: box {row} belongs to image {numbers[row].item():g}, and there are {images} images, "
            "counted from 0; the first column of rois is the image's number"
        )


def _boxes(
    rois: torch.Tensor,
    geometry: RoiGeometry,
    size: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[tuple[int, _Box | None]]:
    for number, (image, x1, y1, x2, y2) in enumerate(rois.double().tolist()):
        rows = geometry.axis(y1, y2, geometry.output_size[0], size[0])
        columns = geometry.axis(x1, x2, geometry.output_size[1], size[1])
        if rows is None or columns is None:
            yield number, None
            continue
        row_slice, column_slice = _used(rows), _used(columns)
        row_weights = rows[:, row_slice].to(device, dtype)
        yield (
            number,
            _Box(
                int(image), row_slice, column_slice, row_weights, columns[:, column_slice].to(device, dtype)
            ),
        )


def _used(weights: torch.Tensor) -> slice:
    """Return the range of pixels that have a weight in some bin."""
    used = weights.any(dim=0).nonzero()
    return slice(int(used[0]), int(used[-1]) + 1) if used.numel() else slice(0, 0)
