"""Calls of the CUDA kernels of RoIAlign that make no sense are refused."""

import ctypes
import math

import pytest
import torch
from support.cuda_on_host import PATH

from internimage_perception.ops.native_cuda_roi_align import roi_align_cuda
from internimage_perception.ops.native_library import F16, F32, F64, Array, NativeError
from internimage_perception.ops.native_roi_align import Params
from internimage_perception.ops.roi_align_reference import RoiGeometry

pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels are not built: no C++ compiler")


def test_float64_is_refused(kernels):
    feature, geometry = (
        torch.zeros(1, 2, 3, 4, dtype=torch.float64),
        RoiGeometry((2, 2), 1.0, 0, aligned=True),
    )
    with pytest.raises(NativeError, match="float64"):
        roi_align_cuda(feature, torch.zeros(1, 5), geometry, library=kernels)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0), ({"struct_size": 8}, 1), ({"batch": -1}, 1), ({"channels": 0}, 1), ({"height": 0}, 1),
        ({"width": 2**40}, 2), ({"batch": 2**62}, 2), ({"boxes": -1}, 1), ({"boxes": 2**62}, 2),
        ({"out_height": 0}, 1), ({"out_width": -2}, 1), ({"out_height": 2**15 + 1, "out_width": 2**15}, 2),
        ({"sampling_ratio": -1}, 1), ({"threads": -1}, 1), ({"spatial_scale": 0.0}, 1),
        ({"spatial_scale": math.nan}, 1), ({"map": Array(1, F64, 0)}, 2), ({"map": Array(1, F16, 0)}, 1),
        ({"map": Array(None, F32, 0)}, 1), ({"output": Array(None, F32, 0)}, 1), ({"box": None}, 1),
        ({"boxes": 0, "box": None, "output": Array(None, F32, 0)}, 0),
    ],
    ids=str,
)  # fmt: skip
def test_the_c_interface_refuses_what_makes_no_sense(kernels, changes, status):
    feature, output = torch.zeros(2, 3, 5, 6), torch.zeros(1, 3, 2, 2)
    others = {"map": Array(feature.data_ptr(), F32, 0), "output": Array(output.data_ptr(), F32, 0)}
    others |= {"box": (1, 0, 0, 4, 4)}
    fields = {
        "struct_size": ctypes.sizeof(Params), "batch": 2, "channels": 3, "height": 5,
        "width": 6, "boxes": 1, "out_height": 2, "out_width": 2, "spatial_scale": 1.0,
    }  # fmt: skip
    fields |= {name: value for name, value in changes.items() if name not in others}
    others |= {name: value for name, value in changes.items() if name in others}
    params, room = Params(**fields), torch.empty(1024, dtype=torch.uint8)
    box = others["box"] and (ctypes.c_double * 5)(*others["box"])
    rest = room.data_ptr(), room.numel(), None
    call = ctypes.byref(params), others["map"], box, others["output"]
    assert kernels.dcnv3_roi_align_forward_cuda(*call, *rest) == status
    turned = ctypes.byref(params), others["output"], box, others["map"]
    assert kernels.dcnv3_roi_align_backward_cuda(*turned, *rest) == status


def test_the_c_interface_checks_the_workspace(kernels):
    feature, output = torch.ones(2, 3, 5, 6), torch.zeros(1, 3, 2, 2)
    maps, result = Array(feature.data_ptr(), F32, 0), Array(output.data_ptr(), F32, 0)
    params = Params(ctypes.sizeof(Params), 1 | 4, 2, 3, 5, 6, 1, 2, 2, 0, 0, 1.0)
    box, size = (ctypes.c_double * 5)(1, 0, 0, 4, 4), ctypes.c_uint64()
    reference = ctypes.byref(params)
    assert kernels.dcnv3_roi_align_forward_cuda_workspace(None, ctypes.byref(size)) == 1
    assert kernels.dcnv3_roi_align_forward_cuda_workspace(reference, None) == 1
    assert kernels.dcnv3_roi_align_forward_cuda_workspace(reference, ctypes.byref(size)) == 0
    tables = 4 * 8 + (5 + 6 + 3 * 4) * 4
    assert size.value == tables
    room = torch.empty(4096, dtype=torch.uint8)
    start = room.data_ptr() + -room.data_ptr() % 16
    forward = reference, maps, box, result
    assert kernels.dcnv3_roi_align_forward_cuda(*forward, start, tables - 1, None) == 3
    assert kernels.dcnv3_roi_align_forward_cuda(*forward, None, tables, None) == 1
    assert kernels.dcnv3_roi_align_forward_cuda(*forward, start + 4, tables, None) == 1
    assert kernels.dcnv3_roi_align_forward_cuda(*forward, start, tables, None) == 0
    torch.testing.assert_close(output, torch.ones_like(output))
    assert kernels.dcnv3_roi_align_backward_cuda_workspace(reference, maps, None) == 1
    wrong = Array(feature.data_ptr(), F64, 0)
    assert kernels.dcnv3_roi_align_backward_cuda_workspace(reference, wrong, ctypes.byref(size)) == 2
    assert kernels.dcnv3_roi_align_backward_cuda_workspace(reference, maps, ctypes.byref(size)) == 0
    sums = 180 * 12 + 4
    assert size.value == sums + -sums % 16 + tables
    backward = reference, result, box, maps
    assert kernels.dcnv3_roi_align_backward_cuda(*backward, start, size.value - 1, None) == 3
    assert kernels.dcnv3_roi_align_backward_cuda(*backward, start, size.value, None) == 0
    torch.testing.assert_close(feature.sum(), output.sum())
