"""DCNv3 by the native CPU kernels, on tensors."""

import ctypes
from collections.abc import Sequence

import torch

from internimage_perception.ops.geometry import DCNv3Geometry
from internimage_perception.ops.native_arrays import CPU_TYPES, DCNv3Call
from internimage_perception.ops.native_library import check, cpu_library


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
        out: where the result goes: contiguous, of its shape, type and device.

    Raises:
        NativeError: the library is not there or refuses the call.
        OperatorError: `out` does not fit.
    """
    library = cpu_library()
    call = _call(value, offset, mask, gate, geometry, softmax)
    output = call.output(out)
    status = library.dcnv3_forward_cpu(
        ctypes.byref(call.params), ctypes.byref(call.tensors), call.array_of(output)
    )
    check(library, status, "dcnv3 forward")
    return output


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
    call = _call(value, offset, mask, gate, geometry, softmax)
    gradient = call.output_gradient(gradient)
    results, outputs = call.gradients(needed)
    status = library.dcnv3_backward_cpu(
        ctypes.byref(call.params), ctypes.byref(call.tensors), call.array_of(gradient), ctypes.byref(outputs)
    )
    check(library, status, "dcnv3 backward")
    return results


def _call(
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    gate: torch.Tensor | None,
    geometry: DCNv3Geometry,
    softmax: bool,
) -> DCNv3Call:
    threads = torch.get_num_threads()
    return DCNv3Call(value, offset, mask, gate, geometry, CPU_TYPES, softmax=softmax, threads=threads)
