"""Tensors as the native kernels' C interfaces take them."""

import ctypes
from collections.abc import Mapping, Sequence

import torch

from internimage_perception.ops.geometry import DCNv3Geometry, OperatorError
from internimage_perception.ops.native_library import (
    BF16,
    DETERMINISTIC,
    F16,
    F32,
    F64,
    REMOVE_CENTER,
    SOFTMAX_MASK,
    Array,
    NativeError,
    Params,
    Tensors,
)

Types = Mapping[torch.dtype, int]
CPU_TYPES: Types = {torch.float32: F32, torch.float64: F64, torch.bfloat16: BF16}
CUDA_TYPES: Types = {torch.float32: F32, torch.float16: F16, torch.bfloat16: BF16}


def array_of(tensor: torch.Tensor | None, types: Types = CPU_TYPES) -> Array:
    """Return a contiguous tensor as an array, an absent one as no array.

    Raises NativeError for a type that the kernels lack.
    """
    if tensor is None:
        return Array(None, 0, 0)
    if tensor.dtype not in types:
        names = ", ".join(str(name).removeprefix("torch.") for name in types)
        raise NativeError(f"these kernels take {names}; a tensor is {tensor.dtype}")
    return Array(tensor.data_ptr(), types[tensor.dtype], 0)


def gradients_of(tensors: Sequence[torch.Tensor | None], needed: Sequence[bool]) -> list[torch.Tensor]:
    """Return a new tensor beside each that is `needed`, an empty one beside each other.

    The first tensor is there, and gives the empty ones their device.
    """
    first = tensors[0]
    assert first is not None  # noqa: S101 - said above
    return [
        torch.empty_like(tensor) if need and tensor is not None else first.new_empty(0)
        for tensor, need in zip(tensors, needed, strict=True)
    ]


class DCNv3Call:
    """One call of DCNv3: its tensors, contiguous, and the structs that point into them.

    Args:
        value: as in `ops.dcnv3`, like the following four.
        offset: may be strided, as all of them; strided tensors are copied.
        mask: logits with `softmax`.
        gate: or None.
        geometry: shapes must have passed `geometry.check`.
        types: what the kernels take.
        softmax: of the mask.
        deterministic: for kernels that can do without.
        threads: for kernels on a CPU; 0: as many as there are.

    Raises:
        NativeError: a tensor of another type.
    """

    def __init__(  # noqa: PLR0913 - the operator's own arguments
        self,
        value: torch.Tensor,
        offset: torch.Tensor,
        mask: torch.Tensor,
        gate: torch.Tensor | None,
        geometry: DCNv3Geometry,
        types: Types,
        *,
        softmax: bool,
        deterministic: bool = False,
        threads: int = 0,
    ) -> None:
        self._types = types
        self._value, self._offset = value.contiguous(), offset.contiguous()
        optional = None if gate is None else gate.contiguous()
        self._inputs = (self._value, self._offset, mask.contiguous(), optional)
        flags = (
            (REMOVE_CENTER if geometry.remove_center else 0)
            | (SOFTMAX_MASK if softmax else 0)
            | (DETERMINISTIC if deterministic else 0)
        )
        batch, height, width, channels = value.shape
        self.params = Params(
            ctypes.sizeof(Params), flags, batch, height, width,
            offset.shape[1], offset.shape[2], geometry.group, channels // geometry.group,
            *geometry.kernel_size, *geometry.stride, *geometry.padding, *geometry.dilation,
            threads, 0, geometry.offset_scale,
        )  # fmt: skip
        self.tensors = Tensors(*(array_of(tensor, types) for tensor in self._inputs))

    def array_of(self, tensor: torch.Tensor) -> Array:
        """Return a contiguous tensor as an array for these kernels."""
        return array_of(tensor, self._types)

    def output(self, out: torch.Tensor | None) -> torch.Tensor:
        """Return where the result goes: `out`, or a new tensor. Raises OperatorError for a misfit."""
        shape = torch.Size((*self._offset.shape[:3], self._value.shape[3]))
        if out is None:
            return self._value.new_empty(shape)
        like = (shape, self._value.dtype, self._value.device)
        if (out.shape, out.dtype, out.device) != like or not out.is_contiguous():
            message = f"dcnv3: out must be contiguous, {like[1]}, of shape {tuple(shape)}, on {like[2]}"
            raise OperatorError(message)
        return out

    def output_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the result, contiguous and of its type."""
        return gradient.to(self._value.dtype).contiguous()

    def gradients(self, needed: Sequence[bool]) -> tuple[list[torch.Tensor], Tensors]:
        """Return new tensors for the gradients of value, offset, mask and gate, and their struct."""
        results = gradients_of(self._inputs, needed)
        arrays = (self.array_of(tensor) if tensor.numel() else array_of(None) for tensor in results)
        return results, Tensors(*arrays)
