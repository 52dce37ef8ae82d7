"""Multi-scale deformable attention by the CUDA kernels, on tensors (`dcnv3/msda_cuda.h`)."""

import ctypes
from collections.abc import Sequence

import torch

from internimage_perception.ops.msda_shapes import Level
from internimage_perception.ops.native_arrays import CUDA_TYPES, array_of, gradients_of
from internimage_perception.ops.native_cuda import STATUS_TEXT, Place, cuda_library, run_backward
from internimage_perception.ops.native_library import DETERMINISTIC, SOFTMAX_MASK, check
from internimage_perception.ops.native_msda import Tensors, msda_params


def msda_cuda(
    value: torch.Tensor,
    levels: Sequence[Level],
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    *,
    softmax: bool = False,
    library: ctypes.CDLL | None = None,
) -> torch.Tensor:
    """Compute multi-scale deformable attention on the tensors' GPU, in PyTorch's current stream.

    Not differentiable by itself.

    Args:
        value: (B, pixels, heads, channels), float32, float16 or bfloat16; strided tensors are copied.
        levels: sizes and first pixels, of `read_levels`.
        sampling_locations: (B, Q, heads, levels, points, 2), of any of these types.
        attention_weights: (B, Q, heads, levels, points), of any of these types. Shapes must have passed
            `check_shapes`.
        softmax: `attention_weights` holds logits.
        library: another build of the kernels, such as that for the host.

    Returns:
        (B, Q, heads * channels) in the type of `value`.

    Raises:
        NativeError: the library is not there or refuses the call.
    """
    library = library or cuda_library()
    inputs = [tensor.contiguous() for tensor in (value, sampling_locations, attention_weights)]
    batch, _, heads, channels = value.shape
    output = value.new_empty((batch, sampling_locations.shape[1], heads * channels))
    params = msda_params(value, levels, sampling_locations, SOFTMAX_MASK if softmax else 0)
    tensors = Tensors(*(array_of(tensor, CUDA_TYPES) for tensor in inputs))
    with Place(value) as stream:
        status = library.dcnv3_msda_forward_cuda(
            ctypes.byref(params), ctypes.byref(tensors), array_of(output, CUDA_TYPES), stream
        )
    check(library, status, "ms_deform_attn forward", STATUS_TEXT)
    return output


def msda_cuda_backward(  # noqa: PLR0913 - the operator's own arguments
    value: torch.Tensor,
    levels: Sequence[Level],
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    gradient: torch.Tensor,
    needed: Sequence[bool],
    *,
    softmax: bool = False,
    deterministic: bool | None = None,
    library: ctypes.CDLL | None = None,
) -> list[torch.Tensor]:
    """Return the gradients of value, locations and weights; an empty tensor for one that is not `needed`.

    Arguments as in `msda_cuda`; `gradient` is that of its result. With `deterministic`, by default what
    `torch.are_deterministic_algorithms_enabled` says, every run gives the same bits.
    """
    library = library or cuda_library()
    if deterministic is None:
        deterministic = torch.are_deterministic_algorithms_enabled()
    inputs = [tensor.contiguous() for tensor in (value, sampling_locations, attention_weights)]
    gradient = gradient.to(value.dtype).contiguous()
    results = gradients_of(inputs, needed)
    flags = (SOFTMAX_MASK if softmax else 0) | (DETERMINISTIC if deterministic else 0)
    params = msda_params(value, levels, sampling_locations, flags)
    tensors = Tensors(*(array_of(tensor, CUDA_TYPES) for tensor in inputs))
    outputs = Tensors(*(array_of(tensor if tensor.numel() else None, CUDA_TYPES) for tensor in results))
    arguments = (params, tensors), array_of(gradient, CUDA_TYPES), outputs
    status = run_backward(library, "dcnv3_msda", *arguments, value)
    check(library, status, "ms_deform_attn backward", STATUS_TEXT)
    return results
