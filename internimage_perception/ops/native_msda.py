"""Multi-scale deformable attention by the native kernels, on tensors."""

import ctypes
import functools
from collections.abc import Sequence

import torch

from internimage_perception.ops.msda_shapes import Level
from internimage_perception.ops.native_arrays import array_of, gradients_of
from internimage_perception.ops.native_library import SOFTMAX_MASK, Array, NativeError, check, cpu_library


class Params(ctypes.Structure):
    """`dcnv3_msda_params`."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("batch", ctypes.c_int64),
        ("pixels", ctypes.c_int64),
        ("queries", ctypes.c_int64),
        ("heads", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("levels", ctypes.c_int32),
        ("points", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("shapes", ctypes.POINTER(ctypes.c_int64)),
        ("starts", ctypes.POINTER(ctypes.c_int64)),
    )


class Tensors(ctypes.Structure):
    """`dcnv3_msda_tensors`."""

    _fields_ = (("value", Array), ("location", Array), ("weight", Array))


@functools.cache
def _library() -> ctypes.CDLL:
    library = cpu_library()
    try:
        forward, backward = library.dcnv3_msda_forward_cpu, library.dcnv3_msda_backward_cpu
    except AttributeError as error:
        raise NativeError(
            "the native library has no multi-scale deformable attention; build it anew"
        ) from error
    forward.argtypes = (ctypes.POINTER(Params), ctypes.POINTER(Tensors), Array)
    backward.argtypes = (*forward.argtypes, ctypes.POINTER(Tensors))
    return library


def msda_native(
    value: torch.Tensor,
    levels: Sequence[Level],
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    *,
    softmax: bool = False,
) -> torch.Tensor:
    """Compute multi-scale deformable attention on the CPU with as many threads as PyTorch uses.

    Not differentiable by itself. Arguments as in `ms_deform_attn_reference`, each float32, float64 or
    bfloat16; strided tensors are copied. With `softmax`, `attention_weights` holds logits.

    Raises:
        NativeError: the library is not there or refuses the call.
    """
    library = _library()
    inputs = [tensor.contiguous() for tensor in (value, sampling_locations, attention_weights)]
    batch, _, heads, channels = value.shape
    output = value.new_empty((batch, sampling_locations.shape[1], heads * channels))
    flags, threads = SOFTMAX_MASK if softmax else 0, torch.get_num_threads()
    params = msda_params(value, levels, sampling_locations, flags, threads)
    tensors = Tensors(*map(array_of, inputs))
    status = library.dcnv3_msda_forward_cpu(ctypes.byref(params), ctypes.byref(tensors), array_of(output))
    check(library, status, "ms_deform_attn forward")
    return output


def msda_native_backward(
    value: torch.Tensor,
    levels: Sequence[Level],
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    gradient: torch.Tensor,
    needed: Sequence[bool],
    *,
    softmax: bool = False,
) -> list[torch.Tensor]:
    """Return the gradients of value, locations and weights; an empty tensor for one that is not `needed`.

    Arguments as in `msda_native`; `gradient` is that of its result. The same bits for any number of threads.
    """
    library = _library()
    inputs = [tensor.contiguous() for tensor in (value, sampling_locations, attention_weights)]
    gradient = gradient.to(value.dtype).contiguous()
    results = gradients_of(inputs, needed)
    flags, threads = SOFTMAX_MASK if softmax else 0, torch.get_num_threads()
    params = msda_params(value, levels, sampling_locations, flags, threads)
    tensors = Tensors(*map(array_of, inputs))
    outputs = Tensors(*(array_of(tensor if tensor.numel() else None) for tensor in results))
    status = library.dcnv3_msda_backward_cpu(
        ctypes.byref(params), ctypes.byref(tensors), array_of(gradient), ctypes.byref(outputs)
    )
    check(library, status, "ms_deform_attn backward")
    return results


def msda_params(
    value: torch.Tensor, levels: Sequence[Level], location: torch.Tensor, flags: int, threads: int = 0
) -> Params:
    """Return the parameters of a call; `threads` is of those on a CPU."""
    batch, pixels, heads, channels = value.shape
    _, queries, _, count, points, _ = location.shape
    # ctypes keeps what a pointer field points to alive as long as the structure.
    shapes = (ctypes.c_int64 * (2 * count))(*(size for level in levels for size in level[:2]))
    starts = (ctypes.c_int64 * count)(*(level.start for level in levels))
    return Params(
        ctypes.sizeof(Params), flags, batch, pixels, queries, heads, channels, count, points, threads, 0,
        shapes, starts,
    )  # fmt: skip
