"""RoIAlign by the native kernels, on tensors."""

import ctypes
import functools
from collections.abc import Sequence

import torch

from internimage_perception.ops.native_arrays import array_of
from internimage_perception.ops.native_library import Array, NativeError, check, cpu_library
from internimage_perception.ops.roi_align_reference import RoiGeometry

_ALIGNED = 1


class Params(ctypes.Structure):
    """`dcnv3_roi_align_params`."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("boxes", ctypes.c_int64),
        ("out_height", ctypes.c_int32),
        ("out_width", ctypes.c_int32),
        ("sampling_ratio", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("spatial_scale", ctypes.c_double),
    )


@functools.cache
def _library() -> ctypes.CDLL:
    library = cpu_library()
    try:
        functions = library.dcnv3_roi_align_forward_cpu, library.dcnv3_roi_align_backward_cpu
    except AttributeError as error:
        raise NativeError("the native library has no RoIAlign; build it anew") from error
    for function in functions:
        function.argtypes = (ctypes.POINTER(Params), Array, ctypes.c_void_p, Array)
    return library


def roi_align_native(feature: torch.Tensor, rois: torch.Tensor, geometry: RoiGeometry) -> torch.Tensor:
    """Compute RoIAlign on the CPU with as many threads as PyTorch uses; not differentiable by itself.

    Arguments as in `roi_align_reference`, the map float32, float64 or bfloat16; strided tensors are copied.

    Raises:
        NativeError: the library is not there or refuses the call.
    """
    library = _library()
    feature, boxes = feature.contiguous(), rois.double().contiguous()
    batch, channels, height, width = feature.shape
    output = feature.new_empty((boxes.shape[0], channels, *geometry.output_size))
    params = roi_align_params((batch, height, width), channels, boxes, geometry, torch.get_num_threads())
    status = library.dcnv3_roi_align_forward_cpu(
        ctypes.byref(params), array_of(feature), boxes.data_ptr(), array_of(output)
    )
    check(library, status, "roi_align forward")
    return output


def roi_align_native_backward(
    gradient: torch.Tensor, rois: torch.Tensor, size: Sequence[int], geometry: RoiGeometry
) -> torch.Tensor:
    """Return the gradient (N, C, H, W) of the map; the same bits for any number of threads.

    Arguments as in `roi_align_reference_backward`.
    """
    library = _library()
    gradient, boxes = gradient.contiguous(), rois.double().contiguous()
    result = gradient.new_empty((size[0], gradient.shape[1], *size[1:]))
    params = roi_align_params(size, gradient.shape[1], boxes, geometry, torch.get_num_threads())
    status = library.dcnv3_roi_align_backward_cpu(
        ctypes.byref(params), array_of(gradient), boxes.data_ptr(), array_of(result)
    )
    check(library, status, "roi_align backward")
    return result


def roi_align_params(
    size: Sequence[int], channels: int, boxes: torch.Tensor, geometry: RoiGeometry, threads: int = 0
) -> Params:
    """Return the parameters of a call on maps of `size` (N, H, W); `threads` is of those on a CPU."""
    batch, height, width = size
    return Params(
        ctypes.sizeof(Params), _ALIGNED if geometry.aligned else 0, batch, channels, height, width,
        boxes.shape[0], *geometry.output_size, geometry.sampling_ratio, threads, geometry.spatial_scale,
    )  # fmt: skip
