"""Calls of the CUDA kernels' interface, on the host: buffers, and calls that make no sense."""

import ctypes
import math

import pytest
import torch
from support.cuda_on_host import PATH, draw_call, run
from support.dcnv3_calls import c_call, geometry_of

from internimage_perception.ops import OperatorError
from internimage_perception.ops.native_cuda import cuda_library, dcnv3_cuda, dcnv3_cuda_backward
from internimage_perception.ops.native_library import BF16, F32, F64, Array, NativeError, Tensors

pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels are not built: no C++ compiler")


def test_gradients_only_where_asked(kernels):
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, gate, gradient = draw_call(7, geometry, (4, 5), 16, gated=True)
    options = {"softmax": True, "gate": gate, "library": kernels}
    every = dcnv3_cuda_backward(value, offset, mask, gradient, geometry, [True] * 4, **options)
    for index in range(16):
        needed = [bool(index & (1 << bit)) for bit in range(4)]
        found = dcnv3_cuda_backward(value, offset, mask, gradient, geometry, needed, **options)
        assert [tensor.numel() > 0 for tensor in found] == needed
        assert all(torch.equal(a, b) for a, b, need in zip(found, every, needed, strict=True) if need)


def test_a_given_buffer_is_filled(kernels):
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, *_ = draw_call(8, geometry, (4, 5), 16)
    out = torch.full_like(value, math.nan)
    assert dcnv3_cuda(value, offset, mask, geometry, out=out, library=kernels) is out
    assert torch.equal(out, dcnv3_cuda(value, offset, mask, geometry, library=kernels))
    with pytest.raises(OperatorError, match="contiguous"):
        dcnv3_cuda(value, offset, mask, geometry, out=out[:, ::2], library=kernels)


def test_an_empty_batch(kernels):
    geometry = geometry_of(kernel_size=3, group=2)
    assert all(
        tensor.numel() == 0 for tensor in run(kernels, draw_call(9, geometry, (4, 5), 16, batch=0), geometry)
    )


def test_float64_is_refused(kernels):
    geometry = geometry_of(kernel_size=3, group=2)
    call = draw_call(10, geometry, (4, 5), 16, dtype=torch.float64)
    with pytest.raises(NativeError, match="float64"):
        run(kernels, call, geometry)


def test_without_a_cuda_library_the_way_to_build_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("internimage_perception.ops.native_library.search_path", lambda: [tmp_path])
    cuda_library.cache_clear()
    with pytest.raises(NativeError, match="DCNV3_CUDA=ON"):
        cuda_library()
    (tmp_path / "libdcnv3_cuda.so").write_bytes(b"no library")
    with pytest.raises(NativeError, match="cannot be loaded"):
        cuda_library()
    cuda_library.cache_clear()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"batch": 0}, 0),
        ({"struct_size": 8}, 1),
        ({"batch": -1}, 1),
        ({"out_height": 5}, 1),
        ({"kernel_w": 0}, 1),
        ({"stride_h": 0}, 1),
        ({"pad_w": -1}, 1),
        ({"group_channels": 0}, 1),
        ({"offset_scale": math.nan}, 1),
        ({"kernel_h": 2, "out_height": 5, "flags": 1}, 1),
        ({"kernel_h": 35, "kernel_w": 35, "pad_h": 35, "pad_w": 35, "out_height": 40, "out_width": 41}, 2),
        ({"height": 1 << 20, "out_height": 1 << 20, "width": 1 << 12, "out_width": 1 << 12}, 2),
        ({"height": 2**24 + 1, "out_height": 2**24 + 1}, 2),
        ({"width": 2**24 + 1, "out_width": 2**24 + 1}, 2),
    ],
    ids=str,
)
def test_the_c_interface_checks_its_arguments(kernels, changes, status):
    tensors = [torch.zeros(1, 4, 5, channels) for channels in (6, 36, 18, 6)]
    arrays = [Array(tensor.data_ptr(), F32, 0) for tensor in tensors]
    params, call = c_call(**changes), Tensors(*arrays[:3], Array(None, 0, 0))
    assert kernels.dcnv3_forward_cuda(ctypes.byref(params), ctypes.byref(call), arrays[3], None) == status


def test_the_c_interface_checks_its_arrays(kernels):
    tensors = [torch.zeros(1, 4, 5, channels) for channels in (6, 36, 18, 6)]
    whole = [Array(tensor.data_ptr(), F32, 0) for tensor in tensors]
    nothing, params = Array(None, 0, 0), c_call(flags=4)
    call, gradients = Tensors(*whole[:3], nothing), Tensors(*whole[:3], nothing)

    def forward(arrays, output):
        tensors = Tensors(*arrays, nothing)
        return kernels.dcnv3_forward_cuda(ctypes.byref(params), ctypes.byref(tensors), output, None)

    def backward(gradients, workspace, size):
        return kernels.dcnv3_backward_cuda(
            ctypes.byref(params), ctypes.byref(call), whole[3], gradients, workspace, size, None
        )

    assert forward([nothing, *whole[1:3]], whole[3]) == 1
    assert forward(whole[:3], nothing) == 1
    assert forward(whole[:3], Array(whole[3].data, BF16, 0)) == 1
    assert forward([Array(whole[0].data, F64, 0), *whole[1:3]], Array(whole[3].data, F64, 0)) == 2
    assert backward(None, None, 0) == 1
    assert backward(ctypes.byref(gradients), None, 0) == 3
    size = ctypes.c_uint64()
    assert not kernels.dcnv3_backward_cuda_workspace(
        ctypes.byref(params), ctypes.byref(call), ctypes.byref(gradients), ctypes.byref(size)
    )
    room = torch.empty(size.value + 16, dtype=torch.uint8)
    assert size.value == 120 * 12 + 4
    assert backward(ctypes.byref(gradients), room.data_ptr(), size.value) == 0
    assert backward(ctypes.byref(gradients), room.data_ptr(), size.value - 1) == 3
    assert backward(ctypes.byref(gradients), room.data_ptr() + 4, size.value) == 1
    assert b"workspace" in kernels.dcnv3_cuda_status_text(3)
