"""The library of CUDA kernels, and DCNv3 by them, on tensors; the C interface of `dcnv3/dcnv3_cuda.h`."""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from internimage_perception.ops import native_msda, native_roi_align
from internimage_perception.ops.geometry import DCNv3Geometry
from internimage_perception.ops.native_arrays import CUDA_TYPES, DCNv3Call
from internimage_perception.ops.native_library import (
    Array,
    NativeError,
    Params,
    Tensors,
    check,
    found_library,
    open_library,
)

CUDA_LIBRARY = "libdcnv3_cuda.so"
STATUS_TEXT = "dcnv3_cuda_status_text"


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
    library = open_library(path, "dcnv3_cuda_abi_version", STATUS_TEXT)
    operators: dict[str, tuple[type[ctypes.Structure], type[ctypes.Structure]]] = {
        "dcnv3": (Params, Tensors),
        "dcnv3_msda": (native_msda.Params, native_msda.Tensors),
    }
    size, memory, stream = ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p
    pooling, boxes = ctypes.POINTER(native_roi_align.Params), ctypes.c_void_p
    declared: dict[str, tuple[object, ...]] = {
        "dcnv3_roi_align_forward_cuda_workspace": (pooling, ctypes.POINTER(size)),
        "dcnv3_roi_align_forward_cuda": (pooling, Array, boxes, Array, memory, size, stream),
        "dcnv3_roi_align_backward_cuda_workspace": (pooling, Array, ctypes.POINTER(size)),
        "dcnv3_roi_align_backward_cuda": (pooling, Array, boxes, Array, memory, size, stream),
    }
    for name, structures in operators.items():
        params, tensors = map(ctypes.POINTER, structures)
        declared[f"{name}_forward_cuda"] = (params, tensors, Array, stream)
        declared[f"{name}_backward_cuda_workspace"] = (params, tensors, tensors, ctypes.POINTER(size))
        declared[f"{name}_backward_cuda"] = (params, tensors, Array, tensors, memory, size, stream)
    try:
        for name, arguments in declared.items():
            getattr(library, name).argtypes = arguments
    except AttributeError as error:
        raise NativeError(f"{path} lacks operators of this package: {error}; build it anew") from error
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
    with Place(value) as stream:
        status = library.dcnv3_forward_cuda(
            ctypes.byref(call.params), ctypes.byref(call.tensors), call.array_of(output), stream
        )
    check(library, status, "dcnv3 forward", STATUS_TEXT)
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
    status = run_backward(
        library, "dcnv3", (call.params, call.tensors), call.array_of(gradient), outputs, value
    )
    check(library, status, "dcnv3 backward", STATUS_TEXT)
    return results


def run_backward(
    library: ctypes.CDLL,
    operator: str,
    inputs: tuple[ctypes.Structure, ctypes.Structure],
    gradient: Array,
    outputs: ctypes.Structure,
    place: torch.Tensor,
) -> int:
    """Call an operator's backward pass with the workspace it asks for; return its status.

    Args:
        library: of `load`.
        operator: its functions' prefix, "dcnv3" or "dcnv3_msda".
        inputs: the operator's parameters and tensors.
        gradient: of the result.
        outputs: where the gradients go, a structure like that of the tensors.
        place: a tensor on the device of all.
    """
    workspace_size = getattr(library, f"{operator}_backward_cuda_workspace")
    references, size = tuple(map(ctypes.byref, inputs)), ctypes.c_uint64()
    status = int(workspace_size(*references, ctypes.byref(outputs), ctypes.byref(size)))
    if status:
        return status
    workspace = torch.empty(size.value, dtype=torch.uint8, device=place.device)
    backward = getattr(library, f"{operator}_backward_cuda")
    with Place(place) as stream:
        return int(
            backward(*references, gradient, ctypes.byref(outputs), workspace.data_ptr(), size.value, stream)
        )


class Place:
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
