"""Calls of the CUDA kernels of multi-scale deformable attention: empty ones, and ones that make no sense."""

import ctypes
import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.cuda_on_host import PATH

from internimage_perception.ops import native_cuda
from internimage_perception.ops.msda_shapes import Level
from internimage_perception.ops.native_cuda import load
from internimage_perception.ops.native_cuda_msda import msda_cuda, msda_cuda_backward
from internimage_perception.ops.native_library import BF16, F32, F64, Array, NativeError
from internimage_perception.ops.native_msda import Params, Tensors

pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels are not built: no C++ compiler")
LEVELS = [Level(4, 5, 0), Level(2, 3, 20)]


def draw_call(*, batch=2, queries=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    sizes = ((batch, 26, 2, 4), (batch, queries, 2, 2, 3, 2), (batch, queries, 2, 2, 3), (batch, queries, 8))
    return [torch.rand(size, generator=generator).to(dtype) for size in sizes]


def test_gradients_only_where_asked(kernels):
    value, location, weight, gradient = draw_call()
    options = {"softmax": True, "library": kernels}
    call = value, LEVELS, location, weight, gradient
    every = msda_cuda_backward(*call, [True] * 3, **options)
    for needed in itertools.product((False, True), repeat=3):
        found = msda_cuda_backward(*call, needed, **options)
        assert [tensor.numel() > 0 for tensor in found] == list(needed)
        assert all(torch.equal(a, b) for a, b, need in zip(found, every, needed, strict=True) if need)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(("batch", "queries"), [(0, 5), (2, 0), (0, 0)])
def test_no_images_or_queries(kernels, batch, queries, deterministic, dtype):
    value, location, weight, gradient = draw_call(batch=batch, queries=queries, dtype=dtype)
    assert msda_cuda(value, LEVELS, location, weight, library=kernels).shape == (batch, queries, 8)
    found = msda_cuda_backward(
        value, LEVELS, location, weight, gradient, [True] * 3, deterministic=deterministic, library=kernels
    )
    assert found[0].shape == value.shape and not found[0].any()
    assert [tensor.shape for tensor in found[1:]] == [location.shape, weight.shape]


def test_tensors_without_contiguous_memory(kernels):
    value, location, weight, gradient = draw_call()
    strided = (
        value.transpose(1, 2).contiguous().transpose(1, 2),
        torch.cat([location, location], dim=-1)[..., :2],
        weight.transpose(0, 1).contiguous().transpose(0, 1),
    )
    assert not any(tensor.is_contiguous() for tensor in strided)
    wanted = msda_cuda(value, LEVELS, location, weight, library=kernels)
    assert torch.equal(msda_cuda(strided[0], LEVELS, *strided[1:], library=kernels), wanted)
    for mine, theirs in zip(
        msda_cuda_backward(strided[0], LEVELS, *strided[1:], gradient, [True] * 3, library=kernels),
        msda_cuda_backward(value, LEVELS, location, weight, gradient, [True] * 3, library=kernels),
        strict=True,
    ):
        assert torch.equal(mine, theirs)


def test_float64_is_refused(kernels):
    value, location, weight, _ = draw_call(dtype=torch.float64)
    with pytest.raises(NativeError, match="float64"):
        msda_cuda(value, LEVELS, location, weight, library=kernels)


def test_a_library_of_before_is_explained(monkeypatch):
    old = SimpleNamespace(dcnv3_forward_cuda=SimpleNamespace(), dcnv3_backward_cuda=SimpleNamespace())
    monkeypatch.setattr(native_cuda, "open_library", lambda *_: old)
    with pytest.raises(NativeError, match=r"some\.so lacks operators.*build it anew"):
        load(Path("some.so"))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"batch": 0}, 0),
        ({"struct_size": 8}, 1),
        ({"batch": -1}, 1),
        ({"batch": 2**62}, 2),
        ({"pixels": 25}, 1),
        ({"pixels": 2**31}, 2),
        ({"queries": -1}, 1),
        ({"queries": 2**62}, 2),
        ({"heads": 0}, 1),
        ({"channels": 0}, 1),
        ({"channels": 2**24}, 2),
        ({"levels": 0}, 1),
        ({"levels": 129}, 2),
        ({"points": 0}, 1),
        ({"points": 2**20}, 2),
        ({"threads": -1}, 1),
        ({"shapes": None}, 1),
        ({"starts": None}, 1),
        ({"shapes": (4, 5, 2**62, 4)}, 1),
        ({"shapes": (4, 5, 0, 3)}, 1),
        ({"shapes": (1, 2**24 + 1, 1, 1), "pixels": 2**25}, 2),
        ({"starts": (0, 21)}, 1),
        ({"starts": (0, -1)}, 1),
        ({"value": Array(None, F32, 0)}, 1),
        ({"weight": Array(None, F32, 0)}, 1),
        ({"location": Array(1, F64, 0)}, 2),
        ({"output": Array(1, BF16, 0)}, 1),
        ({"output": Array(None, F32, 0)}, 1),
        ({"output": Array(None, F32, 0), "queries": 0}, 0),
    ],
    ids=str,
)
def test_the_c_interface_refuses_what_makes_no_sense(kernels, changes, status):
    value, location, weight, output = draw_call()
    arrays = {"value": value, "location": location, "weight": weight, "output": output}
    arrays = {name: Array(tensor.data_ptr(), F32, 0) for name, tensor in arrays.items()}
    arrays |= {name: array for name, array in changes.items() if name in arrays}
    levels = {"shapes": (4, 5, 2, 3), "starts": (0, 20)}
    levels |= {name: numbers for name, numbers in changes.items() if name in levels}
    sizes = {"batch": 2, "pixels": 26, "queries": 5, "heads": 2, "channels": 4, "levels": 2, "points": 3}
    fields = {"struct_size": ctypes.sizeof(Params)} | sizes
    fields |= {name: number for name, number in changes.items() if name not in arrays and name not in levels}
    params = Params(**fields)
    for name, numbers in levels.items():
        if numbers is not None:
            setattr(params, name, (ctypes.c_int64 * len(numbers))(*numbers))
    output_array = arrays.pop("output")
    call = ctypes.byref(params), ctypes.byref(Tensors(**arrays)), output_array
    nothing = ctypes.byref(Tensors())
    assert kernels.dcnv3_msda_forward_cuda(*call, None) == status
    assert kernels.dcnv3_msda_backward_cuda(*call, nothing, None, 0, None) == status
    assert kernels.dcnv3_msda_backward_cuda(*call, None, None, 0, None) == (status or 1)


def test_the_c_interface_checks_gradients_and_workspace(kernels):
    tensors = draw_call()
    value, location, weight, output = (Array(tensor.data_ptr(), F32, 0) for tensor in tensors)
    shapes, starts = (ctypes.c_int64 * 4)(4, 5, 2, 3), (ctypes.c_int64 * 2)(0, 20)
    params = Params(ctypes.sizeof(Params), 4, 2, 26, 5, 2, 4, 2, 3, 0, 0, shapes, starts)
    inputs = ctypes.byref(params), ctypes.byref(Tensors(value, location, weight))
    results = [torch.empty_like(tensor) for tensor in tensors[:3]]
    gradients = Tensors(*(Array(tensor.data_ptr(), F32, 0) for tensor in results))
    size = ctypes.c_uint64()

    def workspace_size(gradients, size):
        return kernels.dcnv3_msda_backward_cuda_workspace(*inputs, gradients, size)

    def backward(gradients, workspace, bytes_):
        return kernels.dcnv3_msda_backward_cuda(*inputs, output, gradients, workspace, bytes_, None)

    asked = ctypes.byref(gradients)
    assert workspace_size(None, ctypes.byref(size)) == 1
    assert workspace_size(asked, None) == 1
    assert workspace_size(asked, ctypes.byref(size)) == 0
    assert size.value == 2 * 26 * 8 * 12 + 4
    room = torch.empty(size.value + 16, dtype=torch.uint8)
    assert backward(asked, None, 0) == 3
    assert backward(asked, room.data_ptr(), size.value - 1) == 3
    assert backward(asked, room.data_ptr() + 4, size.value) == 1
    assert backward(asked, room.data_ptr(), size.value) == 0
    assert results[0].any()
    wrong = Tensors(Array(results[0].data_ptr(), BF16, 0))
    assert backward(ctypes.byref(wrong), room.data_ptr(), size.value) == 1
