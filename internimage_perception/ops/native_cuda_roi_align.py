"""RoIAlign by the CUDA kernels, on tensors; the C interface of `dcnv3/roi_align_cuda.h`."""

import ctypes
from collections.abc import Callable, Sequence

import torch

from internimage_perception.ops.native_arrays import CUDA_TYPES, array_of
from internimage_perception.ops.native_cuda import STATUS_TEXT, Place, cuda_library
from internimage_perception.ops.native_library import DETERMINISTIC, Array, check
from internimage_perception.ops.native_roi_align import Params, roi_align_params
from internimage_perception.ops.roi_align_reference import RoiGeometry


def roi_align_cuda(
    feature: torch.Tensor,
    rois: torch.Tensor,
    geometry: RoiGeometry,
    *,
    library: ctypes.CDLL | None = None,
) -> torch.Tensor:
    """Compute RoIAlign on the tensors' GPU, in PyTorch's current stream; not differentiable by itself.

    Args:
        feature: (N, C, H, W), float32, float16 or bfloat16; strided tensors are copied.
        rois: (K, 5), image's number, x1, y1, x2, y2, of any floating type. A box of no image has the result
            NaN, unlike on the CPU, where it is refused.
        geometry: bins and sampling.
        library: another build of the kernels, such as that for the host.

    Returns:
        (K, C, *output_size) in the type of `feature`.

    Raises:
        NativeError: the library is not there or refuses the call.
    """
    library = library or cuda_library()
    feature, boxes = feature.contiguous(), rois.double().contiguous()
    batch, channels, height, width = feature.shape
    output = feature.new_empty((boxes.shape[0], channels, *geometry.output_size))
    params = roi_align_params((batch, height, width), channels, boxes, geometry)
    array = array_of(feature, CUDA_TYPES)
    size = ctypes.c_uint64()
    status = library.dcnv3_roi_align_forward_cuda_workspace(ctypes.byref(params), ctypes.byref(size))
    check(library, status, "roi_align forward", STATUS_TEXT)
    pool = library.dcnv3_roi_align_forward_cuda
    status = _run(pool, params, array, boxes, array_of(output, CUDA_TYPES), size.value)
    check(library, status, "roi_align forward", STATUS_TEXT)
    return output


def roi_align_cuda_backward(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    size: Sequence[int],
    geometry: RoiGeometry,
    *,
    deterministic: bool | None = None,
    library: ctypes.CDLL | None = None,
) -> torch.Tensor:
    """Return the gradient (N, C, H, W) of the map; `size` is its (N, H, W), `gradient` that of the result.

    Other arguments as in `roi_align_cuda`. With `deterministic`, by default what
    `torch.are_deterministic_algorithms_enabled` says, every run gives the same bits.
    """
    library = library or cuda_library()
    if deterministic is None:
        deterministic = torch.are_deterministic_algorithms_enabled()
    gradient, boxes = gradient.contiguous(), rois.double().contiguous()
    result = gradient.new_empty((size[0], gradient.shape[1], *size[1:]))
    params = roi_align_params(size, gradient.shape[1], boxes, geometry)
    params.flags |= DETERMINISTIC if deterministic else 0
    array = array_of(result, CUDA_TYPES)
    room = ctypes.c_uint64()
    status = library.dcnv3_roi_align_backward_cuda_workspace(ctypes.byref(params), array, ctypes.byref(room))
    check(library, status, "roi_align backward", STATUS_TEXT)
    spread = library.dcnv3_roi_align_backward_cuda
    status = _run(spread, params, array_of(gradient, CUDA_TYPES), boxes, array, room.value)
    check(library, status, "roi_align backward", STATUS_TEXT)
    return result


def _run(
    function: Callable[..., int],
    params: Params,
    source: Array,
    boxes: torch.Tensor,
    target: Array,
    workspace_bytes: int,
) -> int:
    workspace = torch.empty(workspace_bytes, dtype=torch.uint8, device=boxes.device)
    with Place(boxes) as stream:
        return function(
            ctypes.byref(params), source, boxes.data_ptr(), target, workspace.data_ptr(), workspace_bytes,
            stream,
        )  # fmt: skip
