"""The native kernels against the reference: geometries, types, threads, and calls that make no sense."""

import ctypes
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dcnv3_calls import c_call, draw_call, geometry_of

from internimage_perception.ops import choice, dcnv3
from internimage_perception.ops.native import dcnv3_native, dcnv3_native_backward
from internimage_perception.ops.native_library import (
    BF16,
    F16,
    F32,
    Array,
    NativeError,
    Tensors,
    cpu_library,
)

pytestmark = pytest.mark.skipif(
    choice.missing() is not None, reason="the native kernels are not built: no C++ compiler"
)


def run(tensors, geometry, softmax, implementation):
    """Return the result and all gradients."""
    leaves = [None if tensor is None else tensor.clone().requires_grad_() for tensor in tensors]
    output = dcnv3(
        *leaves[:3], kernel_size=geometry.kernel_size, stride=geometry.stride, padding=geometry.padding,
        dilation=geometry.dilation, group=geometry.group, offset_scale=geometry.offset_scale,
        remove_center=geometry.remove_center, softmax=softmax, gate=leaves[3], implementation=implementation,
    )  # fmt: skip
    wanted = [leaf for leaf in leaves if leaf is not None]
    weight = torch.cos(torch.arange(output.numel(), dtype=torch.float64)).reshape(output.shape)
    return output.detach(), *torch.autograd.grad(output, wanted, weight.to(output.dtype))


@st.composite
def geometries(draw):
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    center = kernel[0] * kernel[1] % 2 == 1 and kernel != (1, 1) and draw(st.booleans())
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    geometry = geometry_of(
        kernel_size=kernel, stride=draw(pair), dilation=draw(pair), group=draw(st.integers(1, 5)),
        padding=(draw(st.integers(0, 4)), draw(st.integers(0, 4))),
        offset_scale=draw(st.sampled_from([0.5, 1.0, 2.0])), remove_center=center,
    )  # fmt: skip
    least = [
        max(1, d * (k - 1) + 1 - 2 * p)
        for d, k, p in zip(geometry.dilation, kernel, geometry.padding, strict=True)
    ]
    size = (draw(st.integers(least[0], least[0] + 9)), draw(st.integers(least[1], least[1] + 9)))
    return geometry, size


@settings(deadline=None, max_examples=60)
@given(
    geometries(), st.integers(1, 40), st.integers(0, 2**20), st.booleans(), st.sampled_from([0.5, 3.0, 100.0])
)
def test_agrees_with_the_reference(shape, per_group, seed, softmax, spread):
    geometry, size = shape
    gated = geometry.output_size(*size) == size
    tensors = draw_call(seed, geometry, size, per_group, spread=spread, gated=gated)
    found = run(tensors, geometry, softmax, "native")
    wanted = run(tensors, geometry, softmax, "reference")
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("per_group", [1, 4, 8, 16, 17, 32, 48])
def test_agrees_in_float32_and_bfloat16(per_group):
    geometry = geometry_of(kernel_size=3, group=3)
    exact = draw_call(5, geometry, (8, 9), per_group, gated=True, spread=1.0)
    for dtype, share in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        rounded = [tensor.to(dtype) for tensor in exact]
        wanted = run([tensor.double() for tensor in rounded], geometry, True, "reference")
        for mine, theirs in zip(run(rounded, geometry, True, "native"), wanted, strict=True):
            assert mine.dtype == dtype
            assert (mine.double() - theirs).abs().max() <= share * theirs.abs().max()


def test_the_softmax_is_exact_to_rounding():
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, _ = draw_call(1, geometry, (6, 7), 16, dtype=torch.float32)
    for scale in (0.0, 1.0, 30.0, 1e4):
        logits = mask * scale
        soft = logits.double().unflatten(-1, (2, 9)).softmax(-1).flatten(-2).float()
        torch.testing.assert_close(
            dcnv3_native(value, offset, logits, geometry, softmax=True),
            dcnv3_native(value, offset, soft, geometry), rtol=1e-5, atol=1e-6,
        )  # fmt: skip


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_positions_that_are_no_place(bad):
    """Infinite and far ones count as zero; what is not a number stays visible, and only where it belongs."""
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, _ = draw_call(2, geometry, (6, 7), 16)
    offset[0, 2, 3, 4] = bad
    found = run((value, offset, mask, None), geometry, False, "native")
    wanted = run((value, offset, mask, None), geometry, False, "reference")
    assert found[0][0, 2, 3, :16].isnan().all() == math.isnan(bad)
    assert not found[0][1].isnan().any() and not found[0][0, :2].isnan().any()
    torch.testing.assert_close(found[0], wanted[0], equal_nan=True)
    if not math.isnan(bad):
        for mine, theirs in zip(found[1:], wanted[1:], strict=True):
            torch.testing.assert_close(mine, theirs)
        assert found[2][0, 2, 3, 4] == 0


def test_the_same_bits_for_any_number_of_threads():
    geometry = geometry_of(kernel_size=3, group=3)
    tensors = draw_call(3, geometry, (17, 19), 16, batch=3, dtype=torch.float32, gated=True)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            results.append(run(tensors, geometry, True, "native"))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("softmax", [False, True])
def test_gradients_by_finite_differences(softmax):
    geometry = geometry_of(kernel_size=3, group=2)
    tensors = draw_call(4, geometry, (4, 5), 5, batch=1, gated=True, spread=0.7)
    leaves = [tensor.requires_grad_() for tensor in tensors]

    def call(value, offset, mask, gate):
        return dcnv3(
            value, offset, mask, kernel_size=3, group=2, softmax=softmax, gate=gate, implementation="native"
        )

    assert torch.autograd.gradcheck(call, leaves)


def test_gradients_only_where_asked():
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, gate = draw_call(6, geometry, (4, 5), 16, gated=True)
    gradient = torch.ones_like(value)
    needed = [False, True, False, True]
    found = dcnv3_native_backward(value, offset, mask, gradient, geometry, needed, softmax=True, gate=gate)
    assert [tensor.numel() > 0 for tensor in found] == needed
    every = dcnv3_native_backward(
        value, offset, mask, gradient, geometry, [True] * 4, softmax=True, gate=gate
    )
    assert torch.equal(found[1], every[1]) and torch.equal(found[3], every[3])


def test_a_given_buffer_is_filled():
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, _ = draw_call(7, geometry, (4, 5), 16)
    out = torch.full_like(value, math.nan)
    assert dcnv3_native(value, offset, mask, geometry, out=out) is out
    assert torch.equal(out, dcnv3_native(value, offset, mask, geometry))
    with pytest.raises(ValueError, match="contiguous"):
        dcnv3_native(value, offset, mask, geometry, out=out[:, ::2])


def test_fused_calls_compile_and_export():
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, gate = draw_call(8, geometry, (6, 7), 16, dtype=torch.float32, gated=True)

    class Layer(torch.nn.Module):
        def forward(self, value, offset, mask, gate):
            return dcnv3(value, offset, mask, kernel_size=3, group=2, softmax=True, gate=gate)

    plain = Layer()(value, offset, mask, gate)
    torch.testing.assert_close(
        torch.compile(Layer(), backend="aot_eager", fullgraph=True)(value, offset, mask, gate), plain
    )
    program = torch.export.export(Layer(), (value, offset, mask, gate), strict=False)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert "internimage.dcnv3.default" in names and "aten.softmax.int" in names
    torch.testing.assert_close(program.module()(value, offset, mask, gate), plain, rtol=1e-4, atol=1e-5)


def test_registration_passes_pytorch_own_checks():
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, gate = draw_call(9, geometry, (4, 5), 4, gated=True, spread=0.5)
    leaves = [tensor.requires_grad_() for tensor in (value, offset, mask, gate)]
    plain = ((3, 3), (1, 1), (1, 1), (1, 1), 2, 1.0, False)
    torch.library.opcheck(torch.ops.internimage.dcnv3_fused.default, (*leaves, *plain, True, "auto"))


def test_runs_under_autocast():
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, _ = draw_call(10, geometry, (6, 7), 16, dtype=torch.float32, spread=0.5)
    value.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = dcnv3(value.bfloat16(), offset, mask.bfloat16(), kernel_size=3, group=2, softmax=True)
    mixed.float().sum().backward()
    exact = dcnv3(value, offset, mask, kernel_size=3, group=2, softmax=True)
    assert mixed.dtype == torch.bfloat16 and value.grad is not None
    assert (mixed - exact).abs().max() < 0.03


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_without_native_kernels_gradients_are_the_reference_s(monkeypatch, dtype):
    if dtype == torch.float32:
        monkeypatch.setenv(choice.ENVIRONMENT, "reference")
    geometry = geometry_of(kernel_size=3, group=2)
    tensors = draw_call(11, geometry, (5, 6), 8, dtype=dtype, gated=True, spread=0.7)
    for call in (tensors, (*tensors[:3], None)):
        found = run(call, geometry, call[3] is not None, "auto")
        wanted = run(call, geometry, call[3] is not None, "reference")
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-2)
    value = tensors[0].clone().requires_grad_()
    compiled = torch.compile(dcnv3, backend="aot_eager", fullgraph=True)
    compiled(value, *tensors[1:3], kernel_size=3, group=2, softmax=True).float().sum().backward()
    assert value.grad is not None and value.grad.abs().max() > 0


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
        ({"dilation_h": 9}, 1),
        ({"group_channels": 0}, 1),
        ({"threads": -1}, 1),
        ({"offset_scale": math.nan}, 1),
        ({"kernel_h": 2, "out_height": 5, "flags": 1}, 1),
        ({"height": 1 << 20, "out_height": 1 << 20, "width": 1 << 12, "out_width": 1 << 12}, 2),
        ({"height": 2**24 + 1, "out_height": 2**24 + 1}, 2),
        ({"width": 2**24 + 1, "out_width": 2**24 + 1}, 2),
        ({"dilation_w": 2**30, "pad_w": 2**30}, 2),
        ({"dilation_h": 2**30, "pad_h": 2**30}, 2),
    ],
    ids=str,
)
def test_the_c_interface_checks_its_arguments(changes, status):
    tensors = [torch.zeros(1, 4, 5, channels) for channels in (6, 36, 18, 6)]
    arrays = [Array(tensor.data_ptr(), F32, 0) for tensor in tensors]
    params, call = c_call(**changes), Tensors(*arrays[:3], Array(None, 0, 0))
    found = cpu_library().dcnv3_forward_cpu(ctypes.byref(params), ctypes.byref(call), arrays[3])
    assert found == status


@pytest.mark.parametrize("shape", [(1, 1, 2**24 + 1, 1), (1, 2**24 + 1, 1, 1)], ids=["row", "column"])
def test_maps_too_long_for_positions_in_float32(shape):
    """Up to 2^24 every pixel has its own number; float64 goes on."""
    geometry = geometry_of(kernel_size=1, padding=0, stride=2**23, group=1)
    sparse = torch.from_numpy(np.zeros(shape))  # pages that are not touched take no memory
    sparse.reshape(-1)[[0, -1]] = torch.tensor([2.0, 3.0], dtype=torch.float64)
    outputs = (1, *geometry.output_size(*shape[1:3]))
    offset, mask = torch.zeros(*outputs, 2, dtype=torch.float64), torch.ones(*outputs, 1, dtype=torch.float64)
    assert dcnv3_native(sparse, offset, mask, geometry).flatten().tolist() == [2, 0, 3]
    for dtype in (torch.float32, torch.bfloat16):
        long = torch.from_numpy(np.zeros(shape, np.float32 if dtype == torch.float32 else np.int16)).view(
            dtype
        )
        with pytest.raises(NativeError, match="too large a map"):
            dcnv3_native(long, offset, mask, geometry)
    whole = torch.from_numpy(np.zeros([min(size, 2**24) for size in shape], np.float32))
    whole.reshape(-1)[2**23] = 5
    assert dcnv3_native(whole, offset[:, :2, :2], mask[:, :2, :2], geometry).flatten().tolist() == [0, 5]


def test_the_c_interface_checks_its_arrays():
    tensors = [torch.zeros(1, 4, 5, channels) for channels in (6, 36, 18, 6)]
    whole = [Array(tensor.data_ptr(), F32, 0) for tensor in tensors]
    nothing, params, library = Array(None, 0, 0), c_call(), cpu_library()

    def forward(arrays, output):
        return library.dcnv3_forward_cpu(
            ctypes.byref(params), ctypes.byref(Tensors(*arrays, nothing)), output
        )

    assert forward([nothing, *whole[1:3]], whole[3]) == 1
    assert forward(whole[:3], nothing) == 1
    assert forward([Array(whole[0].data, F16, 0), *whole[1:3]], Array(whole[3].data, F16, 0)) == 2
    assert forward([Array(whole[0].data, 77, 0), *whole[1:3]], whole[3]) == 2
    assert forward(whole[:3], Array(whole[3].data, BF16, 0)) == 1
    gradients = Tensors(whole[0], Array(whole[1].data, BF16, 0), whole[2], nothing)
    backward = library.dcnv3_backward_cpu
    call = Tensors(*whole[:3], nothing)
    assert backward(ctypes.byref(params), ctypes.byref(call), whole[3], ctypes.byref(gradients)) == 1
    assert backward(ctypes.byref(params), ctypes.byref(call), whole[3], None) == 1
