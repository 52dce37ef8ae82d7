"""DCNv3 by the CUDA kernels, on tensors; the C interface of `dcnv3/dcnv3_cuda.h`."""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from internimage_perception.ops.geometry import DCNv3Geometry
from internimage_perception.ops.native_arrays import CUDA_TYPES, DCNv3Call
from internimage_perception.ops.native_library import (
    Array,
    Params,
    Tensors,
    check,
    found_library,
    open_library,
)

CUDA_LIBRARY = "libdcnv3_cuda.so"
_STATUS_TEXT = "dcnv3_cuda_status_text"


@functools.cache
def cuda_library() -> ctypes.CDLL:
    """Load the CUDA kernels. Raises NativeError saying where it looked, or what is wrong with the file."""
    return load(
        found_library(
            CUDA_LIBRARY,
            "build it where nvcc is: "
            "cmake -S dcnv3_plugin -B build/native -DDCNV3_CUDA=ON && cmake --build build/native",
        )
    )


def load(path: Path) -> ctypes.CDLL:
    """Load a build of the CUDA kernels and declare its functions. Raises NativeError."""
    library = open_library(path, "dcnv3_cuda_abi_version", _STATUS_TEXT)
    params, tensors = ctypes.POINTER(Params), ctypes.POINTER(Tensors)
    library.dcnv3_forward_cuda.argtypes = (params, tensors, Array, ctypes.c_void_p)
    library.dcnv3_backward_cuda_workspace.argtypes = (
        params, tensors, tensors, ctypes.POINTER(ctypes.c_uint64),
    )  # fmt: skip
    library.dcnv3_backward_cuda.argtypes = (
        params, tensors, Array, tensors, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p,
    )  # fmt: skip
    return library


def dcnv3_cuda(
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    geometry: DCNv3Geometry,
    *,
    softmax: bool = False,
    gate: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
    library: ctypes.CDLL | None = None,
) -> torch.Tensor:
    """Compute DCNv3 on the tensors' GPU, in PyTorch's current stream; not differentiable by itself.

    Args:
        value: (N, H, W, group * channels), float32, float16 or bfloat16; strided inputs are copied.
        offset: (N, Ho, Wo, group * points * 2), of any of these types.
        mask: (N, Ho, Wo, group * points), of any of these types.
        geometry: grid, strides, groups. Shapes must have passed `geometry.check`.
        softmax: `mask` holds logits.
        gate: (N, Ho, Wo, group), see `ops.dcnv3`.
        out: where the result goes: contiguous, of its shape, type and device.
        library: another build of the kernels, such as that for the host.

    Raises:
        NativeError: the library is not there or refuses the call.
        OperatorError: `out` does not fit.
    """
    library = library or cuda_library()
    call = DCNv3Call(value, offset, mask, gate, geometry, CUDA_TYPES, softmax=softmax)
    output = call.output(out)
    with _Place(value) as stream:
        status = library.dcnv3_forward_cuda(
            ctypes.byref(call.params), ctypes.byref(call.tensors), call.array_of(output), stream
        )
    check(library, status, "dcnv3 forward", _STATUS_TEXT)
    return output


def dcnv3_cuda_backward(  # noqa: PLR0913 - the operator's own arguments
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    gradient: torch.Tensor,
    geometry: DCNv3Geometry,
    needed: Sequence[bool],
    *,
    softmax: bool = False,
    gate: torch.Tensor | None = None,
    deterministic: bool | None = None,
    library: ctypes.CDLL | None = None,
) -> list[torch.Tensor]:
    """Return the gradients of value, offset, mask and gate; an empty tensor for one that is not `needed`.

    Arguments as in `dcnv3_cuda`; `gradient` is that of its result. With `deterministic`, by default what
    `torch.are_deterministic_algorithms_enabled` says, every run gives the same bits.
    """
    library = library or cuda_library()
    if deterministic is None:
        deterministic = torch.are_deterministic_algorithms_enabled()
    call = DCNv3Call(
        value, offset, mask, gate, geometry, CUDA_TYPES, softmax=softmax, deterministic=deterministic
    )
    gradient = call.output_gradient(gradient)
    results, outputs = call.gradients(needed)
    inputs = ctypes.byref(call.params), ctypes.byref(call.tensors)
    size = ctypes.c_uint64()
    status = library.dcnv3_backward_cuda_workspace(*inputs, ctypes.byref(outputs), ctypes.byref(size))
    check(library, status, "dcnv3 backward", _STATUS_TEXT)
    workspace = torch.empty(size.value, dtype=torch.uint8, device=value.device)
    with _Place(value) as stream:
        status = library.dcnv3_backward_cuda(
            *inputs, call.array_of(gradient), ctypes.byref(outputs), workspace.data_ptr(), size.value, stream
        )
    check(library, status, "dcnv3 backward", _STATUS_TEXT)
    return results


class _Place:
    """Makes a tensor's GPU the current one, and gives its current stream; nothing on a CPU."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._device = tensor.device
        self._guard = torch.cuda.device(tensor.device) if tensor.is_cuda else None

    def __enter__(self) -> int | None:
        if self._guard is None:
            return None
        self._guard.__enter__()
        return torch.cuda.current_stream(self._device).cuda_stream

    def __exit__(self, *error: object) -> None:
        if self._guard is not None:
            self._guard.__exit__(*error)
