"""DCNv3 by the CUDA kernels, on tensors; the C interface of `dcnv3/dcnv3_cuda.h`."""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from internimage_perception.ops.geometry import DCNv3Geometry, OperatorError
from internimage_perception.ops.native_library import (
    ABI_VERSION,
    BF16,
    DETERMINISTIC,
    F16,
    F32,
    REMOVE_CENTER,
    SOFTMAX_MASK,
    Array,
    NativeError,
    Params,
    Tensors,
    search_path,
)

CUDA_LIBRARY = "libdcnv3_cuda.so"
TYPES = {torch.float32: F32, torch.float16: F16, torch.bfloat16: BF16}
_NOTHING = Array(None, 0, 0)


@functools.cache
def cuda_library() -> ctypes.CDLL:
    """Load the CUDA kernels. Raises NativeError saying where it looked, or what is wrong with the file."""
    folders = search_path()
    for folder in folders:
        if (folder / CUDA_LIBRARY).is_file():
            return load(folder / CUDA_LIBRARY)
    raise NativeError(
        f"no {CUDA_LIBRARY} in {', '.join(map(str, folders))}; build it where nvcc is: "
        "cmake -S dcnv3_plugin -B build/native -DDCNV3_CUDA=ON && cmake --build build/native"
    )


def load(path: Path) -> ctypes.CDLL:
    """Load a build of the CUDA kernels and declare its functions. Raises NativeError."""
    try:
        library = ctypes.CDLL(str(path))
        library.dcnv3_cuda_abi_version.restype = ctypes.c_uint32
        version = library.dcnv3_cuda_abi_version()
    except (OSError, AttributeError) as error:
        raise NativeError(f"{path} cannot be loaded: {error}; build it anew") from error
    if version != ABI_VERSION:
        raise NativeError(f"{path} has interface {version}, this package needs {ABI_VERSION}; build it anew")
    library.dcnv3_cuda_status_text.restype = ctypes.c_char_p
    library.dcnv3_cuda_status_text.argtypes = (ctypes.c_int,)
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
    value, offset, mask = value.contiguous(), offset.contiguous(), mask.contiguous()
    gate = None if gate is None else gate.contiguous()
    shape = (*offset.shape[:3], value.shape[3])
    if out is None:
        out = value.new_empty(shape)
    elif (out.shape, out.dtype, out.device) != (shape, value.dtype, value.device) or not out.is_contiguous():
        raise OperatorError(
            f"dcnv3: out must be contiguous, {value.dtype}, of shape {tuple(shape)}, on {value.device}"
        )
    params = _params(value, offset, geometry, softmax, deterministic=False)
    tensors = Tensors(_array(value), _array(offset), _array(mask), _array(gate))
    with _Place(value) as stream:
        status = library.dcnv3_forward_cuda(ctypes.byref(params), ctypes.byref(tensors), _array(out), stream)
    _check(library, status, "dcnv3 forward")
    return out


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
    value, offset, mask = value.contiguous(), offset.contiguous(), mask.contiguous()
    gate = None if gate is None else gate.contiguous()
    gradient = gradient.to(value.dtype).contiguous()
    results = [
        torch.empty_like(tensor) if need and tensor is not None else value.new_empty(0)
        for tensor, need in zip((value, offset, mask, gate), needed, strict=True)
    ]
    params = _params(value, offset, geometry, softmax, deterministic=deterministic)
    tensors = Tensors(_array(value), _array(offset), _array(mask), _array(gate))
    outputs = Tensors(*(_array(tensor) if tensor.numel() else _NOTHING for tensor in results))
    call = ctypes.byref(params), ctypes.byref(tensors)
    size = ctypes.c_uint64()
    status = library.dcnv3_backward_cuda_workspace(*call, ctypes.byref(outputs), ctypes.byref(size))
    _check(library, status, "dcnv3 backward")
    workspace = torch.empty(size.value, dtype=torch.uint8, device=value.device)
    with _Place(value) as stream:
        status = library.dcnv3_backward_cuda(
            *call, _array(gradient), ctypes.byref(outputs), workspace.data_ptr(), size.value, stream
        )
    _check(library, status, "dcnv3 backward")
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


def _params(
    value: torch.Tensor, offset: torch.Tensor, geometry: DCNv3Geometry, softmax: bool, *, deterministic: bool
) -> Params:
    batch, height, width, channels = value.shape
    flags = (
        (REMOVE_CENTER if geometry.remove_center else 0)
        | (SOFTMAX_MASK if softmax else 0)
        | (DETERMINISTIC if deterministic else 0)
    )
    return Params(
        ctypes.sizeof(Params), flags, batch, height, width,
        offset.shape[1], offset.shape[2], geometry.group, channels // geometry.group,
        *geometry.kernel_size, *geometry.stride, *geometry.padding, *geometry.dilation,
        0, 0, geometry.offset_scale,
    )  # fmt: skip


def _array(tensor: torch.Tensor | None) -> Array:
    if tensor is None:
        return _NOTHING
    if tensor.dtype not in TYPES:
        raise NativeError(f"the CUDA kernels take float32, float16 and bfloat16, a tensor is {tensor.dtype}")
    return Array(tensor.data_ptr(), TYPES[tensor.dtype], 0)


def _check(library: ctypes.CDLL, status: int, what: str) -> None:
    if status:
        raise NativeError(f"{what}: {library.dcnv3_cuda_status_text(status).decode()}")
