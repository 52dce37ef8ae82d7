"""The CUDA kernels' sources, compiled for the host, against official outputs and the reference.

Every comparison runs with shared memory that is poisoned before each block and guarded behind it; see
dcnv3_plugin/src/host_shim/device.h.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cuda_on_host import (
    ORDERS,
    PATH,
    ROUNDING,
    TYPES,
    assert_close,
    away_from_pixel_centres,
    draw_call,
    exact,
    run,
)
from support.dcnv3_calls import geometry_of

from internimage_perception.ops.native_cuda import dcnv3_cuda, load

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("dcnv3_op_*.npz"))

pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels are not built: no C++ compiler")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem.removeprefix("dcnv3_op_"))
def test_agrees_with_the_official_operator_and_its_gradients(path, ordered):
    stored = np.load(path)
    pairs = {"kernel_size": "kernel", "stride": "stride", "padding": "pad", "dilation": "dilation"}
    geometry = geometry_of(
        **{name: (int(stored[f"{key}_h"]), int(stored[f"{key}_w"])) for name, key in pairs.items()},
        group=int(stored["group"]), offset_scale=float(stored["offset_scale"]),
        remove_center=bool(stored["remove_center"]),
    )  # fmt: skip
    tensors = [torch.from_numpy(stored[name]) for name in ("input", "offset", "mask")]
    call = (*tensors, None, torch.from_numpy(stored["grad_output"]))
    output, *gradients = run(ordered, call, geometry)
    np.testing.assert_allclose(output, stored["output"], atol=2e-5, rtol=1e-5)
    for name, gradient in zip(("input", "offset", "mask"), gradients, strict=True):
        if name != "offset" or stored["check_grad_offset"]:
            np.testing.assert_allclose(gradient, stored[f"grad_{name}"], atol=5e-5, rtol=1e-4)


@st.composite
def geometries(draw):
    kernel = draw(st.sampled_from([(3, 3), (5, 5), (1, 1), (3, 5), (4, 2), (9, 1)]))
    center = kernel[0] * kernel[1] % 2 == 1 and kernel != (1, 1) and draw(st.booleans())
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    geometry = geometry_of(
        kernel_size=kernel, stride=draw(pair), dilation=draw(pair), group=draw(st.sampled_from([1, 2, 5, 9])),
        padding=(draw(st.integers(0, 4)), draw(st.integers(0, 4))),
        offset_scale=draw(st.sampled_from([0.5, 1.0, 2.0])), remove_center=center,
    )  # fmt: skip
    least = [
        max(1, d * (k - 1) + 1 - 2 * p)
        for d, k, p in zip(geometry.dilation, kernel, geometry.padding, strict=True)
    ]
    return geometry, (draw(st.integers(least[0], least[0] + 9)), draw(st.integers(least[1], least[1] + 9)))


@settings(deadline=None, max_examples=60)
@given(
    geometries(), st.integers(1, 40), st.integers(0, 2**20), st.booleans(), st.booleans(),
    st.sampled_from(TYPES), st.sampled_from(sorted(ORDERS.values())), st.sampled_from([0.5, 3.0, 100.0]),
)  # fmt: skip
def test_agrees_with_the_reference(shape, per_group, seed, softmax, deterministic, dtype, order, spread):
    geometry, size = shape
    kernels = load(PATH)
    gated = geometry.output_size(*size) == size
    call = draw_call(seed, geometry, size, per_group, dtype=dtype, spread=spread, gated=gated)
    call = away_from_pixel_centres(call, geometry, size)
    wanted = exact(call, geometry, softmax=softmax)
    kernels.dcnv3_host_order(order)
    try:
        found = run(kernels, call, geometry, softmax=softmax, deterministic=deterministic)
    finally:
        kernels.dcnv3_host_order(0)
    assert all(tensor.dtype == dtype for tensor in found)
    # Far positions keep fewer digits of their fraction.
    assert_close(found, wanted, ROUNDING[dtype] + (1e-4 if spread == 100 else 0))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("per_group", [8, 16, 24, 32, 20, 264])
def test_every_specialised_kernel(kernels, per_group, kernel, dtype):
    """The widths and kernels of the networks, whole accesses of other widths, and numbers one by one."""
    geometry = geometry_of(kernel_size=kernel, padding=kernel // 2, group=3)
    call = draw_call(per_group, geometry, (9, 11), per_group, dtype=dtype, gated=True, spread=0.7)
    call = away_from_pixel_centres(call, geometry, (9, 11))
    for deterministic in (False, True):
        found = run(kernels, call, geometry, softmax=True, deterministic=deterministic)
        assert_close(found, exact(call, geometry, softmax=True), ROUNDING[dtype])


@pytest.mark.parametrize("dtype", TYPES[1:], ids=str)
def test_narrow_numbers_are_read_and_rounded_as_pytorch_does(kernels, dtype):
    """The host's own conversions: every number of the type, and products that fall between two."""
    geometry = geometry_of(kernel_size=1, padding=0, group=1)
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    every = torch.where(every.isfinite(), every, torch.zeros_like(every)).reshape(1, 256, 256, 1)
    offset = torch.zeros(1, 256, 256, 2)
    generator = torch.Generator().manual_seed(0)
    for mask in (torch.ones(1, 256, 256, 1), 1 - torch.rand(1, 256, 256, 1, generator=generator)):
        found = dcnv3_cuda(every, offset, mask, geometry, library=kernels)
        assert torch.equal(found, (every.float() * mask).to(dtype))


@pytest.mark.parametrize("kernel", [3, 5])
def test_gradients_at_pixel_centres_are_those_to_the_right(kernels, kernel):
    """There, where every sample of a fresh layer lies, the slope jumps; at the border too."""
    geometry = geometry_of(kernel_size=kernel, padding=kernel // 2, group=2)
    value, offset, *rest = draw_call(11, geometry, (6, 7), 16)
    call = (value, (4 * offset).round(), *rest)
    assert_close(run(kernels, call, geometry), exact(call, geometry), ROUNDING[torch.float32])


def test_mixed_types_as_under_autocast(kernels):
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, gate, gradient = draw_call(1, geometry, (7, 9), 16, gated=True, spread=0.5)
    call = (value.bfloat16(), offset, mask.half(), gate, gradient.bfloat16())
    call = away_from_pixel_centres(call, geometry, (7, 9))
    found = run(kernels, call, geometry, softmax=True)
    assert [tensor.dtype for tensor in found[1:]] == [tensor.dtype for tensor in call[:4]]
    assert_close(found, exact(call, geometry, softmax=True), ROUNDING[torch.bfloat16])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_addresses_that_are_no_multiples_of_16(kernels, dtype):
    geometry = geometry_of(kernel_size=3, group=2)
    value, *rest = draw_call(2, geometry, (5, 6), 16, dtype=dtype)
    room = torch.empty(value.numel() + 1, dtype=dtype)
    moved = room[1:].view_as(value).copy_(value)
    assert moved.data_ptr() % 16
    for mine, theirs in zip(
        run(kernels, (moved, *rest), geometry), run(kernels, (value, *rest), geometry), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-2 if dtype != torch.float32 else 1e-5, atol=1e-2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_positions_that_are_no_place(ordered, bad):
    """Infinite and far ones count as zero; what is not a number stays visible, and only where it belongs."""
    geometry = geometry_of(kernel_size=3, group=2)
    call = draw_call(3, geometry, (6, 7), 16)
    call[1][0, 2, 3, 4] = bad
    for deterministic in (False, True):
        found = run(ordered, call, geometry, deterministic=deterministic)
        wanted = exact(call, geometry)
        torch.testing.assert_close(found[0].double(), wanted[0], equal_nan=True, rtol=1e-4, atol=1e-5)
        assert found[0][0, 2, 3, :16].isnan().all() == math.isnan(bad)
        assert found[0].isnan().sum() == (16 if math.isnan(bad) else 0)
        if math.isnan(bad):
            assert found[2][0, 2, 3, 4].isnan() and found[3][0, 2, 3, 2].isnan()
            assert found[2].isnan().sum() == 2 and found[3].isnan().sum() == 1
            assert 0 < found[1].isnan().sum() <= 4 * 16
        else:
            assert_close(found, wanted, 2e-5)
            assert found[2][0, 2, 3, 4] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("deterministic", [False, True])
def test_gradients_and_masks_that_are_not_finite_stay_visible(kernels, bad, deterministic):
    geometry = geometry_of(kernel_size=3, group=2)
    call = draw_call(4, geometry, (6, 7), 16, spread=0.3)
    call[4][1, 3, 3, 5] = bad
    call[2][1, 2, 2, 10] = bad
    found = run(kernels, call, geometry, deterministic=deterministic)
    assert not found[1][0].isnan().any() and found[1][0].isfinite().all()
    assert not found[1][1, 3, 3, 5].isfinite() and not found[2][1, 3, 3, :18].isfinite().any()
    assert not found[0][1, 2, 2, 16:].isfinite().any() and found[0][1, 2, 2, :16].isfinite().all()
    wanted = exact(call, geometry)
    fine = found[1].isfinite() & wanted[1].isfinite()
    torch.testing.assert_close(found[1][fine].double(), wanted[1][fine], rtol=1e-4, atol=1e-4)


def test_deterministic_sums_do_not_depend_on_the_order(kernels):
    geometry = geometry_of(kernel_size=3, group=3)
    results = {}
    for dtype in TYPES:
        # Close to one place, so that many numbers meet in few sums.
        call = draw_call(5, geometry, (17, 19), 16, dtype=dtype, gated=True, spread=4.0)
        for deterministic in (True, False):
            runs = []
            for order in ORDERS.values():
                kernels.dcnv3_host_order(order)
                runs.append(run(kernels, call, geometry, softmax=True, deterministic=deterministic))
            kernels.dcnv3_host_order(0)
            results[dtype, deterministic] = [
                all(torch.equal(first, other) for other in others)
                for first, *others in zip(*runs, strict=True)
            ]
    assert all(all(equal) for (_, deterministic), equal in results.items() if deterministic)
    # Without it, only the input's gradient depends on it: the orders do differ.
    assert all(all(equal[:1] + equal[2:]) for equal in results.values())
    assert not results[torch.float32, False][1]


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_deterministic_sums_at_any_scale(kernels, scale):
    geometry = geometry_of(kernel_size=3, group=2)
    *call, gradient = draw_call(6, geometry, (8, 9), 16)
    plain = run(kernels, (*call, gradient * scale), geometry)
    fixed = run(kernels, (*call, gradient * scale), geometry, deterministic=True)
    assert (plain[1] - fixed[1]).abs().max() <= 1e-6 * plain[1].abs().max()
    nothing = run(kernels, (*call, gradient * 0), geometry, deterministic=True)
    assert not nothing[1].any()


def test_large_kernels_and_many_groups(kernels):
    for kernel, group, size in (
        (33, 1, (3, 4)),
        (3, 130, (2, 3)),
        (1, 1, (1, 1)),
        (3, 2, (1, 7)),
        (5, 2, (8, 1)),
    ):
        geometry = geometry_of(kernel_size=kernel, padding=kernel // 2, group=group)
        call = draw_call(kernel, geometry, size, 16, spread=0.7)
        call = away_from_pixel_centres(call, geometry, size)
        assert_close(run(kernels, call, geometry), exact(call, geometry), 3e-5)
