"""DCNv3 by the native kernels, on tensors."""

import ctypes
import functools
from collections.abc import Sequence

import torch

from internimage_perception.ops.geometry import DCNv3Geometry
from internimage_perception.ops.native_library import (
    BF16,
    F32,
    F64,
    REMOVE_CENTER,
    Array,
    NativeError,
    Params,
    Tensors,
    check,
    cpu_library,
)

_TYPES = {torch.float32: F32, torch.float64: F64, torch.bfloat16: BF16}
_NOTHING = Array(None, 0, 0)


@functools.cache
def _missing() -> str | None:
    """Return why there are no native kernels, or None."""
    try:
        cpu_library()
    except NativeError as error:
        return str(error)
    return None


def native_takes(*tensors: torch.Tensor) -> bool:
    """Whether the native kernels are there and take these tensors."""
    return _missing() is None and all(t.device.type == "cpu" and t.dtype in _TYPES for t in tensors)


def dcnv3_native(
    value: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, geometry: DCNv3Geometry
) -> torch.Tensor:
    """Compute DCNv3 on the CPU; arguments and result as in `dcnv3_reference`, not differentiable."""
    library = cpu_library()
    value, offset, mask = value.contiguous(), offset.contiguous(), mask.contiguous()
    output = value.new_empty((*offset.shape[:3], value.shape[3]))
    params = _params(value, offset, geometry)
    tensors = Tensors(_array(value), _array(offset), _array(mask), _NOTHING)
    status = library.dcnv3_forward_cpu(ctypes.byref(params), ctypes.byref(tensors), _array(output))
    check(library, status, "dcnv3 forward")
    return output


def dcnv3_native_backward(
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    gradient: torch.Tensor,
    geometry: DCNv3Geometry,
    needed: Sequence[bool],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of value, offset and mask; an empty tensor for one that is not `needed`."""
    library = cpu_library()
    value, offset, mask = value.contiguous(), offset.contiguous(), mask.contiguous()
    gradient = gradient.to(value.dtype).contiguous()
    first, second, third = (
        tensor.new_empty(tensor.shape if need else (0,))
        for tensor, need in zip((value, offset, mask), needed, strict=True)
    )
    params = _params(value, offset, geometry)
    tensors = Tensors(_array(value), _array(offset), _array(mask), _NOTHING)
    wanted = zip((first, second, third), needed, strict=True)
    outputs = Tensors(*(_array(tensor) if need else _NOTHING for tensor, need in wanted), _NOTHING)
    status = library.dcnv3_backward_cpu(
        ctypes.byref(params), ctypes.byref(tensors), _array(gradient), ctypes.byref(outputs)
    )
    check(library, status, "dcnv3 backward")
    return first, second, third


def _params(value: torch.Tensor, offset: torch.Tensor, geometry: DCNv3Geometry) -> Params:
    batch, height, width, channels = value.shape
    return Params(
        ctypes.sizeof(Params), REMOVE_CENTER if geometry.remove_center else 0, batch, height, width,
        offset.shape[1], offset.shape[2], geometry.group, channels // geometry.group,
        *geometry.kernel_size, *geometry.stride, *geometry.padding, *geometry.dilation,
        torch.get_num_threads(), 0, geometry.offset_scale,
    )  # fmt: skip


def _array(tensor: torch.Tensor) -> Array:
    return Array(tensor.data_ptr(), _TYPES[tensor.dtype], 0)
