"""Where DCNv3 samples: kernel grid, strides, output size, and the shapes that must fit together."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from internimage_perception.errors import PerceptionError

IntPair = int | Sequence[int]
"""One number for both axes, or (height, width)."""


class OperatorError(PerceptionError, ValueError):
    """A tensor or an argument of an operator does not fit the others."""


@dataclass(frozen=True, slots=True)
class DCNv3Geometry:
    """Arguments of one DCNv3 call, checked.

    Attributes:
        kernel_size: (height, width) of the sampling grid.
        stride: (height, width).
        padding: zeros around the map, (height, width).
        dilation: spacing of the grid in pixels, (height, width).
        group: groups of channels; each has its own offsets and mask.
        offset_scale: multiplies the grid about its centre as well as the learned offsets.
        remove_center: the grid lacks its central point.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    group: int
    offset_scale: float
    remove_center: bool

    def __post_init__(self) -> None:
        """Raise OperatorError for arguments no grid can be made of."""
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            if min(getattr(self, name)) < least:
                message = f"dcnv3: {name} must be at least {least}, got {getattr(self, name)}"
                raise OperatorError(message)
        if self.group < 1:
            message = f"dcnv3: group must be at least 1, got {self.group}"
            raise OperatorError(message)
        height, width = self.kernel_size
        if self.remove_center and (height * width % 2 == 0 or height * width == 1):
            message = f"dcnv3: remove_center needs an odd kernel larger than 1x1, got {height}x{width}"
            raise OperatorError(message)

    @classmethod
    def make(
        cls,
        *,
        kernel_size: IntPair,
        stride: IntPair,
        padding: IntPair,
        dilation: IntPair,
        group: int,
        offset_scale: float,
        remove_center: bool,
    ) -> "DCNv3Geometry":
        """Build from numbers or (height, width) pairs. Raises OperatorError."""
        return cls(
            _pair("kernel_size", kernel_size),
            _pair("stride", stride),
            _pair("padding", padding),
            _pair("dilation", dilation),
            group,
            float(offset_scale),
            remove_center,
        )

    @property
    def points(self) -> int:
        """Sampling points of one group at one output pixel."""
        return self.kernel_size[0] * self.kernel_size[1] - int(self.remove_center)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the output for an input map of that size."""
        sizes = (
            (size + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1
            for size, pad, dilation, kernel, stride in zip(
                (height, width), self.padding, self.dilation, self.kernel_size, self.stride, strict=True
            )
        )
        return next(sizes), next(sizes)

    def center(self) -> tuple[int, int]:
        """Return (y, x) of the grid's centre from its first point, in pixels; even kernels round down."""
        return (
            self.dilation[0] * (self.kernel_size[0] - 1) // 2,
            self.dilation[1] * (self.kernel_size[1] - 1) // 2,
        )

    def grid(self) -> list[tuple[int, int]]:
        """Return (y, x) of every point from the centre, unscaled pixels, in the operator's order.

        The order runs down the columns: the row index changes fastest.
        """
        center_y, center_x = self.center()
        rows, columns = self.kernel_size
        points = [
            (row * self.dilation[0] - center_y, column * self.dilation[1] - center_x)
            for column in range(columns)
            for row in range(rows)
        ]
        if self.remove_center:
            del points[(rows * columns - 1) // 2]
        return points

    def check(self, value: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor) -> None:
        """Raise OperatorError naming the tensor whose shape, type or device does not fit."""
        for name, tensor in (("input", value), ("offset", offset), ("mask", mask)):
            if tensor.dim() != 4:
                message = f"dcnv3: {name} must be (N, H, W, channels), got shape {tuple(tensor.shape)}"
                raise OperatorError(message)
            if not tensor.is_floating_point():
                message = f"dcnv3: {name} must be floating point, got {tensor.dtype}"
                raise OperatorError(message)
            if tensor.device != value.device:
                message = f"dcnv3: {name} is on {tensor.device}, input on {value.device}; move them together"
                raise OperatorError(message)
        batch, height, width, channels = value.shape
        if channels % self.group or not channels:
            message = f"dcnv3: input has {channels} channels, not a multiple of group {self.group}"
            raise OperatorError(message)
        out_height, out_width = self.output_size(height, width)
        if height < 1 or width < 1 or out_height < 1 or out_width < 1:
            message = f"dcnv3: input map {height}x{width} is too small for {self}"
            raise OperatorError(message)
        for name, tensor, last in (
            ("offset", offset, 2 * self.group * self.points),
            ("mask", mask, self.group * self.points),
        ):
            expected = (batch, out_height, out_width, last)
            if tuple(tensor.shape) != expected:
                message = (
                    f"dcnv3: {name} must be {expected} for input {tuple(value.shape)}, "
                    f"got {tuple(tensor.shape)}"
                )
                raise OperatorError(message)


def _pair(name: str, value: IntPair) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    numbers = tuple(value)
    if len(numbers) != 2 or not all(isinstance(number, int) for number in numbers):
        message = f"dcnv3: {name} must be one integer or (height, width), got {value!r}"
        raise OperatorError(message)
    return numbers[0], numbers[1]
