"""DCNv3 by the native kernels, on tensors."""

import ctypes
from collections.abc import Sequence

import torch

from internimage_perception.ops.geometry import DCNv3Geometry
from internimage_perception.ops.native_library import (
    BF16,
    F32,
    F64,
    REMOVE_CENTER,
    SOFTMAX_MASK,
    Array,
    Params,
    Tensors,
    check,
    cpu_library,
)

_TYPES = {torch.float32: F32, torch.float64: F64, torch.bfloat16: BF16}
_NOTHING = Array(None, 0, 0)


def dcnv3_native(
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    geometry: DCNv3Geometry,
    *,
    softmax: bool = False,
    gate: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute DCNv3 on the CPU with as many threads as PyTorch uses; not differentiable by itself.

    Args:
        value: (N, H, W, group * channels), float32, float64 or bfloat16; strided inputs are copied.
        offset: (N, Ho, Wo, group * points * 2), of any of these types.
        mask: (N, Ho, Wo, group * points), of any of these types.
        geometry: grid, strides, groups. Shapes must have passed `geometry.check`.
        softmax: `mask` holds logits.
        gate: (N, Ho, Wo, group), see `ops.dcnv3`.
        out: where the result goes: contiguous, of its shape and the type of `value`.

    Raises:
        NativeError: the library is not there or refuses the call.
    """
    library = cpu_library()
    value, offset, mask = value.contiguous(), offset.contiguous(), mask.contiguous()
    gate = None if gate is None else gate.contiguous()
    shape = (*offset.shape[:3], value.shape[3])
    if out is None:
        out = value.new_empty(shape)
    elif out.shape != shape or out.dtype != value.dtype or not out.is_contiguous():
        message = f"dcnv3: out must be a contiguous {value.dtype} tensor of shape {tuple(shape)}"
        raise ValueError(message)
    params = _params(value, offset, geometry, softmax)
    tensors = Tensors(_array(value), _array(offset), _array(mask), _array(gate))
    status = library.dcnv3_forward_cpu(ctypes.byref(params), ctypes.byref(tensors), _array(out))
    check(library, status, "dcnv3 forward")
    return out


def dcnv3_native_backward(
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    gradient: torch.Tensor,
    geometry: DCNv3Geometry,
    needed: Sequence[bool],
    *,
    softmax: bool = False,
    gate: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """Return the gradients of value, offset, mask and gate; an empty tensor for one that is not `needed`.

    Arguments as in `dcnv3_native`; `gradient` is that of its result. The same bits for any number of threads.
    """
    library = cpu_library()
    value, offset, mask = value.contiguous(), offset.contiguous(), mask.contiguous()
    gate = None if gate is None else gate.contiguous()
    gradient = gradient.to(value.dtype).contiguous()
    results = [
        torch.empty_like(tensor) if need and tensor is not None else value.new_empty(0)
        for tensor, need in zip((value, offset, mask, gate), needed, strict=True)
    ]
    params = _params(value, offset, geometry, softmax)
    tensors = Tensors(_array(value), _array(offset), _array(mask), _array(gate))
    wanted = (_array(tensor) if need else _NOTHING for tensor, need in zip(results, needed, strict=True))
    outputs = Tensors(*wanted)
    status = library.dcnv3_backward_cpu(
        ctypes.byref(params), ctypes.byref(tensors), _array(gradient), ctypes.byref(outputs)
    )
    check(library, status, "dcnv3 backward")
    return results


def _params(value: torch.Tensor, offset: torch.Tensor, geometry: DCNv3Geometry, softmax: bool) -> Params:
    batch, height, width, channels = value.shape
    flags = (REMOVE_CENTER if geometry.remove_center else 0) | (SOFTMAX_MASK if softmax else 0)
    return Params(
        ctypes.sizeof(Params), flags, batch, height, width,
        offset.shape[1], offset.shape[2], geometry.group, channels // geometry.group,
        *geometry.kernel_size, *geometry.stride, *geometry.padding, *geometry.dilation,
        torch.get_num_threads(), 0, geometry.offset_scale,
    )  # fmt: skip


def _array(tensor: torch.Tensor | None) -> Array:
    return _NOTHING if tensor is None else Array(tensor.data_ptr(), _TYPES[tensor.dtype], 0)
