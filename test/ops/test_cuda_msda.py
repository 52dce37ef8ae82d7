"""The CUDA kernels of multi-scale deformable attention, compiled for the host, against the reference.

Every comparison runs with shared memory that is poisoned before each block and guarded behind it; see
dcnv3_plugin/src/host_shim/device.h.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.cuda_on_host import ORDERS, PATH, ROUNDING, TYPES, assert_close

from internimage_perception.ops import ms_deform_attn
from internimage_perception.ops.msda_shapes import read_levels
from internimage_perception.ops.native_cuda import load
from internimage_perception.ops.native_cuda_msda import msda_cuda, msda_cuda_backward

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("msda_*.npz"))

pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels are not built: no C++ compiler")


def draw_call(
    seed, levels, *, batch=2, queries=5, heads=2, channels=4, points=3, spread=1.3, dtype=torch.float32
):
    """Return value, shapes, starts, locations, logits and the output's gradient.

    Locations reach `spread` map sizes around the middle, and keep off pixel centres: gradients jump there,
    and rounding would choose the side.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shapes = torch.tensor(levels)
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    samples = (batch, queries, heads, len(levels), points)
    value = normal(batch, int(shapes.prod(1).sum()), heads, channels).to(dtype)
    size = shapes.flip(-1)[:, None].double()
    place = torch.rand(*samples, 2, generator=generator, dtype=torch.float64)
    pixel = (0.5 + (place - 0.5) * spread) * size - 0.5
    pixel = torch.where((pixel - pixel.round()).abs() < 0.01, pixel + 0.1, pixel)
    location = ((pixel + 0.5) / size).float()
    return value, shapes, starts, location, normal(*samples).to(dtype), normal(
        batch, queries, heads * channels
    ).to(dtype)  # fmt: skip


def run(kernels, call, *, softmax=False, deterministic=False, needed=(True, True, True)):
    """Return the result and the gradients of value, locations and weights."""
    value, shapes, starts, location, weight, gradient = call
    levels = read_levels(shapes, starts, value.shape[1])
    output = msda_cuda(value, levels, location, weight, softmax=softmax, library=kernels)
    return [
        output,
        *msda_cuda_backward(
            value, levels, location, weight, gradient, needed, softmax=softmax, deterministic=deterministic,
            library=kernels,
        ),
    ]  # fmt: skip


def exact(call, *, softmax=False):
    """Return the reference's result and gradients for the same numbers, in float64."""
    value, shapes, starts, location, weight, gradient = call
    leaves = [tensor.double().requires_grad_() for tensor in (value, location, weight)]
    output = ms_deform_attn(
        leaves[0], shapes, starts, *leaves[1:], softmax=softmax, implementation="reference"
    )
    return [output.detach(), *torch.autograd.grad(output, leaves, gradient.double())]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_agrees_with_the_official_operator_and_its_gradients(path, ordered):
    stored = np.load(path)
    names = ("value", "spatial_shapes", "level_start_index", "sampling_locations", "attention_weights")
    tensors = [torch.from_numpy(stored[name]) for name in (*names, "grad_output")]
    call = [tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors]
    output, *gradients = run(ordered, call)
    np.testing.assert_allclose(output, stored["output"], atol=2e-5, rtol=1e-5)
    np.testing.assert_allclose(gradients[0], stored["grad_value"], atol=5e-5, rtol=1e-4)
    np.testing.assert_allclose(gradients[2], stored["grad_attention_weights"], atol=5e-5, rtol=1e-4)
    # At pixel centres the slope changes, and the last bit of the position decides which one is taken.
    size = stored["spatial_shapes"][:, None, ::-1]
    position = stored["sampling_locations"] * size - 0.5
    smooth = (np.abs(position - np.round(position)) > 1e-4).all(-1)
    assert smooth.sum() >= 8
    found, wanted = gradients[1].numpy()[smooth], stored["grad_sampling_locations"][smooth]
    np.testing.assert_allclose(found, wanted, atol=5e-4, rtol=1e-4)


def test_the_golden_outputs_are_there():
    assert len(GOLDEN) == 3


LEVELS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=4)
SIZES = st.tuples(
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.integers(1, 40), st.integers(1, 9)
)


@settings(deadline=None, max_examples=60)
@given(
    LEVELS, SIZES, st.integers(0, 2**20), st.booleans(), st.booleans(), st.sampled_from(TYPES),
    st.sampled_from(sorted(ORDERS.values())), st.sampled_from([1.0, 3.0, 100.0]),
)  # fmt: skip
@example([(4, 4)], (1, 1, 1, 1, 289), 0, True, False, torch.float32, 2, 1.0)
@example([(4, 4), (3, 1)], (2, 3, 2, 16, 200), 1, True, True, torch.float16, 1, 1.0)
def test_agrees_with_the_reference(levels, sizes, seed, softmax, deterministic, dtype, order, spread):
    batch, queries, heads, channels, points = sizes
    call = draw_call(
        seed, levels, batch=batch, queries=queries, heads=heads, channels=channels, points=points,
        spread=spread, dtype=dtype,
    )  # fmt: skip
    kernels = load(PATH)
    kernels.dcnv3_host_order(order)
    try:
        found = run(kernels, call, softmax=softmax, deterministic=deterministic)
    finally:
        kernels.dcnv3_host_order(0)
    value, _, _, location, weight, _ = call
    assert [tensor.dtype for tensor in found] == [dtype, value.dtype, location.dtype, weight.dtype]
    # Far positions keep fewer digits of their fraction.
    assert_close(found, exact(call, softmax=softmax), ROUNDING[dtype] + (1e-4 if spread == 100 else 0))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("channels", [1, 4, 8, 20, 24, 32, 64, 264])
def test_every_specialised_kernel(kernels, channels, dtype):
    """Heads of 32 channels, whole accesses of other widths, and numbers one by one; a few tiles of units."""
    call = draw_call(channels, [(9, 11), (5, 6)], channels=channels, queries=45, points=4, dtype=dtype)
    for deterministic in (False, True):
        found = run(kernels, call, softmax=True, deterministic=deterministic)
        assert_close(found, exact(call, softmax=True), ROUNDING[dtype])


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("channels", [3, 32, 520, 1100])
def test_more_samples_than_fit_at_once(kernels, channels, softmax):
    """Slabs of samples, whose sums wait in shared memory, for parts of the channels if there are many."""
    call = draw_call(
        channels, [(5, 7), (3, 4), (1, 6)], batch=1, queries=3, heads=3, channels=channels, points=173
    )
    for deterministic in (False, True):
        found = run(kernels, call, softmax=softmax, deterministic=deterministic)
        assert_close(found, exact(call, softmax=softmax), 5e-5)


def test_as_many_levels_as_there_may_be(kernels):
    levels = [(1 + number % 3, 1 + number % 5) for number in range(128)]
    call = draw_call(20, levels, batch=1, queries=2, heads=1, points=2)
    assert_close(run(kernels, call, softmax=True), exact(call, softmax=True), 2e-5)


def test_levels_may_leave_pixels_out_overlap_and_come_in_any_order(kernels):
    value, _, _, location, weight, gradient = draw_call(7, [(5, 8)])
    shapes, starts = torch.tensor([[2, 4], [3, 5], [2, 2]]), torch.tensor([30, 3, 4])
    location, weight = torch.cat([location] * 3, dim=3) + 0.01, torch.cat([weight] * 3, dim=3)
    call = (value, shapes, starts, location, weight, gradient)
    for deterministic in (False, True):
        found = run(kernels, call, deterministic=deterministic)
        assert_close([found[0], found[1], found[3]], [exact(call)[i] for i in (0, 1, 3)], 2e-5)
        used = torch.zeros(40, dtype=torch.bool)
        used[3:18] = used[30:38] = True
        assert not found[1][:, ~used].any() and found[1][:, used].any()


def test_gradients_at_pixel_centres_are_those_to_the_right(kernels):
    """There the slope jumps; at the border too. Sides are powers of two, so that centres are exact."""
    value, shapes, starts, location, *rest = draw_call(11, [(4, 8), (2, 1)])
    size = shapes.flip(-1)[:, None]
    centre = ((location * size - 0.5).round() + 0.5) / size
    call = (value, shapes, starts, centre, *rest)
    assert_close(run(kernels, call), exact(call), 2e-5)


@pytest.mark.parametrize("places", TYPES, ids=str)
def test_mixed_types_as_under_autocast(kernels, places):
    value, shapes, starts, location, weight, gradient = draw_call(1, [(7, 9), (3, 4)], channels=8)
    # Of few bits, no location may fall on a pixel's centre.
    location = (((16 * location).round() + 0.3) / 16).to(places)
    call = (value.bfloat16(), shapes, starts, location, weight.half(), gradient.bfloat16())
    found = run(kernels, call, softmax=True)
    assert [tensor.dtype for tensor in found[1:]] == [torch.bfloat16, places, torch.float16]
    assert_close(found, exact(call, softmax=True), ROUNDING[torch.bfloat16])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_addresses_that_are_no_multiples_of_16(kernels, dtype):
    value, *rest = draw_call(2, [(5, 6)], channels=32, dtype=dtype)
    room = torch.empty(value.numel() + 1, dtype=dtype)
    moved = room[1:].view_as(value).copy_(value)
    assert moved.data_ptr() % 16
    for mine, theirs in zip(run(kernels, (moved, *rest)), run(kernels, (value, *rest)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-2 if dtype != torch.float32 else 1e-5, atol=1e-2)


@pytest.mark.parametrize("channels", [4, 6, 32])
def test_nothing_outside_is_read(kernels, channels):
    call = draw_call(6, [(3, 4), (1, 5), (6, 1)], spread=5.0, channels=channels)
    guarded = []
    for tensor in call:
        fill = math.nan if tensor.is_floating_point() else -(2**40)
        memory = torch.full((tensor.numel() + 512,), fill, dtype=tensor.dtype)
        guarded.append(memory[256:-256].view(tensor.shape).copy_(tensor))
    wanted, found = (run(kernels, one, softmax=True, deterministic=True) for one in (call, guarded))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, wanted, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_positions_that_are_no_place(ordered, bad):
    """Infinite and far ones count as zero; what is not a number stays visible, and only where it belongs."""
    call = draw_call(3, [(6, 7), (3, 2)], channels=16)
    call[3][0, 2, 1, 1, 2, 0] = bad
    wanted = exact(call)
    for deterministic in (False, True):
        found = run(ordered, call, deterministic=deterministic)
        torch.testing.assert_close(found[0].double(), wanted[0], equal_nan=True, rtol=1e-4, atol=1e-5)
        if math.isnan(bad):
            assert found[0][0, 2, 16:].isnan().all() and found[0].isnan().sum() == 16
            assert found[2][0, 2, 1, 1, 2].isnan().all() and found[2].isnan().sum() == 2
            assert found[3][0, 2, 1, 1, 2].isnan() and found[3].isnan().sum() == 1
            assert torch.equal(found[1].isnan(), wanted[1].isnan()) and found[1].isnan().sum() == 4 * 16
        else:
            assert_close(found, wanted, 2e-5)
            assert not found[2][0, 2, 1, 1, 2].any() and found[3][0, 2, 1, 1, 2] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("deterministic", [False, True])
def test_gradients_and_weights_that_are_not_finite_stay_visible(kernels, bad, deterministic):
    call = draw_call(4, [(6, 7)], channels=16, spread=0.8)
    call[5][1, 3, 5] = bad
    call[4][1, 2, 1, 0, 1] = bad
    found, wanted = run(kernels, call, deterministic=deterministic), exact(call)
    assert found[1][0].isfinite().all() and not found[1][1].isfinite().all()
    assert not found[2][1, 3, 0].isfinite().any() and not found[3][1, 3, 0].isfinite().any()
    assert not found[0][1, 2, 16:].isfinite().any() and found[0][1, 2, :16].isfinite().all()
    for mine, theirs in zip(found, wanted, strict=True):
        fine = mine.isfinite() & theirs.isfinite()
        torch.testing.assert_close(mine[fine].double(), theirs[fine], rtol=1e-4, atol=1e-4)


def test_logits_of_infinity(kernels):
    """Minus infinity switches samples off, however they are shared out to threads; all of them leave none."""
    call = draw_call(5, [(6, 7), (3, 3)], points=8, queries=3)
    call[4][0, 0, 0, :, ::2] = -math.inf
    call[4][0, 1, 0, 1] = -math.inf
    found, wanted = run(kernels, call, softmax=True), exact(call, softmax=True)
    assert_close(found, wanted, 2e-5)
    call[4][0, 0, 0] = -math.inf
    call[4][0, 1, 0, 0, 3] = math.inf
    call[4][0, 2, 0, 1, 5] = math.nan
    output = run(kernels, call, softmax=True)[0]
    assert output[0, :, :4].isnan().all() and output.isnan().sum() == 12


def test_deterministic_sums_do_not_depend_on_the_order(kernels):
    results = {}
    for dtype in TYPES:
        # Close to one place, so that many numbers meet in few sums.
        call = draw_call(5, [(9, 7), (2, 3)], queries=60, channels=32, spread=0.4, dtype=dtype)
        for deterministic in (True, False):
            runs = []
            for order in ORDERS.values():
                kernels.dcnv3_host_order(order)
                runs.append(run(kernels, call, softmax=True, deterministic=deterministic))
            kernels.dcnv3_host_order(0)
            results[dtype, deterministic] = [
                all(torch.equal(first, other) for other in others)
                for first, *others in zip(*runs, strict=True)
            ]
    assert all(all(equal) for (_, deterministic), equal in results.items() if deterministic)
    # Without it, only the value's gradient depends on it: the orders do differ.
    assert all(all(equal[:1] + equal[2:]) for equal in results.values())
    assert not results[torch.float32, False][1]


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_deterministic_sums_at_any_scale(kernels, scale):
    *call, gradient = draw_call(6, [(8, 9)])
    plain = run(kernels, (*call, gradient * scale))
    fixed = run(kernels, (*call, gradient * scale), deterministic=True)
    assert (plain[1] - fixed[1]).abs().max() <= 1e-6 * plain[1].abs().max()
    assert not run(kernels, (*call, gradient * 0), deterministic=True)[1].any()


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 44, 63), (1, 20, 17)], ids=str)
def test_deterministic_sums_where_one_number_is_by_far_the_largest(kernels, place):
    """Wherever it is, the unit of the sums follows from it."""
    *call, weight, gradient = draw_call(9, [(5, 6), (3, 4)], channels=32, queries=45, spread=0.8)
    gradient *= 1e-12
    gradient[place] = 1e12
    weight[place[0], place[1], place[2] // 32, 1, 2] = 1e6
    call = (*call, weight, gradient)
    assert_close(run(kernels, call, deterministic=True), exact(call), 2e-5)


def test_the_setting_of_pytorch_chooses_deterministic_sums(kernels):
    value, shapes, starts, location, weight, gradient = call = draw_call(8, [(3, 4)], queries=40)
    levels = read_levels(shapes, starts, value.shape[1])
    kernels.dcnv3_host_order(2)
    torch.use_deterministic_algorithms(True)
    try:
        chosen = msda_cuda_backward(value, levels, location, weight, gradient, [True] * 3, library=kernels)
    finally:
        torch.use_deterministic_algorithms(False)
        kernels.dcnv3_host_order(0)
    wanted, other = (run(kernels, call, deterministic=choice)[1] for choice in (True, False))
    assert torch.equal(chosen[0], wanted) and not torch.equal(chosen[0], other)
