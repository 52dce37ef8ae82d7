"""Multi-scale deformable attention: official outputs, its definition, the native kernels, and its edges."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from internimage_perception.ops import choice, ms_deform_attn, msda_reference

GOLDEN = Path(__file__).parent.parent / "golden"
CARRIED = ("msda_0_1lvl_square", "msda_1_1lvl_nonsquare_B2", "msda_4_edges_exact")
needs_native = pytest.mark.skipif(
    choice.missing() is not None, reason="the native kernels are not built: no C++ compiler"
)
EVERY = pytest.mark.parametrize(
    "implementation", ["auto", "reference", pytest.param("native", marks=needs_native)]
)


def draw_call(
    seed, levels, *, batch=2, queries=5, heads=2, channels=4, points=3, spread=1.3, dtype=torch.float64
):
    """Return a random call's tensors; locations lie up to `spread` map sizes around the middle."""
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.tensor(levels)
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    samples = (batch, queries, heads, len(levels), points)
    value = torch.randn(
        batch, int(shapes.prod(1).sum()), heads, channels, generator=generator, dtype=torch.float64
    )
    location = 0.5 + (torch.rand(*samples, 2, generator=generator, dtype=torch.float64) - 0.5) * spread
    weight = torch.randn(*samples, generator=generator, dtype=torch.float64)
    return value.to(dtype), shapes, starts, location.to(dtype), weight.to(dtype)


def run(call, implementation, *, softmax=False):
    """Return the result and the gradients of value, locations and weights."""
    value, shapes, starts, location, weight = call
    leaves = [tensor.clone().requires_grad_() for tensor in (value, location, weight)]
    output = ms_deform_attn(
        leaves[0], shapes, starts, *leaves[1:], softmax=softmax, implementation=implementation
    )
    toward = torch.cos(torch.arange(output.numel(), dtype=torch.float64)).reshape(output.shape)
    return output.detach(), *torch.autograd.grad(output, leaves, toward.to(output.dtype))


def by_definition(value, shapes, starts, location, weight):
    """Compute the operator sample by sample, straight from its formula."""
    batch, _, heads, channels = value.shape
    output = np.zeros((batch, location.shape[1], heads, channels))
    for b, q, h, level, p in itertools.product(*map(range, weight.shape)):
        height, width = shapes[level].tolist()
        x, y = (location[b, q, h, level, p] * torch.tensor([width, height]) - 0.5).tolist()
        for row, column in itertools.product(
            (math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)
        ):
            if 0 <= row < height and 0 <= column < width:
                pixel = value[b, starts[level] + row * width + column, h].numpy()
                share = (1 - abs(y - row)) * (1 - abs(x - column))
                output[b, q, h] += weight[b, q, h, level, p].item() * share * pixel
    return torch.from_numpy(output.reshape(batch, -1, heads * channels))


def check_against_official(stored, implementation):
    names = ("value", "spatial_shapes", "level_start_index", "sampling_locations", "attention_weights")
    tensors = [torch.from_numpy(stored[name]) for name in names]
    leaves = [tensor.requires_grad_(tensor.is_floating_point()) for tensor in tensors]
    output = ms_deform_attn(*leaves, implementation=implementation)
    output.backward(torch.from_numpy(stored["grad_output"]))
    np.testing.assert_allclose(output.detach(), stored["output"], atol=1e-12)
    np.testing.assert_allclose(leaves[0].grad, stored["grad_value"], atol=1e-12)
    np.testing.assert_allclose(leaves[4].grad, stored["grad_attention_weights"], atol=1e-12)
    # At pixel centres the slope changes, and the last bit of the position decides which one is taken.
    size = stored["spatial_shapes"][:, None, ::-1]
    position = stored["sampling_locations"] * size - 0.5
    smooth = np.abs(position - np.round(position)) > 1e-9
    assert smooth.sum() >= 20
    both = np.broadcast_to(smooth.all(-1, keepdims=True), smooth.shape)
    found, wanted = leaves[3].grad.numpy(), stored["grad_sampling_locations"]
    np.testing.assert_allclose(found[both], wanted[both], atol=1e-11)
    single = ms_deform_attn(
        *(tensor.detach().float() if tensor.is_floating_point() else tensor for tensor in tensors),
        implementation=implementation,
    )
    np.testing.assert_allclose(single, stored["output_f32"], atol=1e-5)


@EVERY
@pytest.mark.parametrize("name", CARRIED)
def test_agrees_with_the_official_operator_and_its_gradients(name, implementation):
    check_against_official(np.load(GOLDEN / f"{name}.npz"), implementation)


@EVERY
def test_agrees_with_every_official_output(shared_golden, implementation):
    paths = sorted((shared_golden / "bev").glob("msda_*.npz"))
    assert len(paths) >= 4
    for path in paths:
        check_against_official(np.load(path), implementation)


@EVERY
@pytest.mark.parametrize(
    "levels", [[(3, 5)], [(1, 1)], [(1, 4), (5, 1)], [(2, 2), (7, 3), (1, 1), (4, 9)]], ids=str
)
def test_agrees_with_its_definition(levels, implementation):
    call = draw_call(1, levels)
    torch.testing.assert_close(ms_deform_attn(*call, implementation=implementation), by_definition(*call))


@EVERY
@pytest.mark.parametrize("softmax", [False, True])
def test_gradients_by_finite_differences(softmax, implementation):
    value, shapes, starts, location, weight = draw_call(2, [(3, 4), (1, 2)], batch=1, queries=3, channels=5)

    def attention(value, location, weight):
        return ms_deform_attn(
            value, shapes, starts, location, weight, softmax=softmax, implementation=implementation
        )

    leaves = [tensor.requires_grad_() for tensor in (value, location, weight)]
    assert torch.autograd.gradcheck(attention, leaves)


@needs_native
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=4),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.integers(1, 40), st.integers(1, 9)),
    st.integers(0, 2**20),
    st.booleans(),
    st.sampled_from([1.0, 3.0, 1e3, 1e30]),
    st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300]), max_size=3),
)
@example([(4, 4)], (1, 1, 1, 1, 289), 0, True, 1.0, [])
def test_the_native_kernels_agree_with_the_reference(levels, sizes, seed, softmax, spread, odd):
    batch, queries, heads, channels, points = sizes
    call = draw_call(
        seed, levels, batch=batch, queries=queries, heads=heads, channels=channels, points=points,
        spread=spread,
    )  # fmt: skip
    places = call[3].view(-1)
    for number, position in enumerate(odd):
        places[(seed + 7 * number) % len(places)] = position
    found, wanted = (run(call, name, softmax=softmax) for name in ("native", "reference"))
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)


@needs_native
@pytest.mark.parametrize("channels", [1, 4, 8, 12, 16, 31, 32, 64])
def test_the_native_kernels_agree_in_float32_and_bfloat16(channels):
    value, shapes, starts, location, weight = draw_call(3, [(8, 9), (4, 5)], channels=channels, queries=40)
    for dtype, share in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        rounded = (value.to(dtype), shapes, starts, location.float(), weight.to(dtype))
        exact = tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in rounded)
        wanted = run(exact, "reference", softmax=True)
        for mine, theirs in zip(run(rounded, "native", softmax=True), wanted, strict=True):
            assert mine.dtype in (dtype, torch.float32)
            assert (mine.double() - theirs).abs().max() <= share * theirs.abs().max()


@needs_native
def test_the_same_bits_for_any_number_of_threads():
    call = draw_call(4, [(9, 13), (5, 7)], batch=3, queries=77, heads=3, channels=20, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            results.append(run(call, "native", softmax=True))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(results[0], other, strict=True))


@EVERY
def test_positions_that_are_no_place(implementation):
    """Infinite ones count as zero; what is not a number stays visible, and only where it belongs."""
    call = draw_call(5, [(4, 5), (2, 3)], spread=0.8)
    clean = run(call, implementation)
    for bad in (math.inf, -math.inf, 1e30, -1e30):
        value, shapes, starts, location, weight = (tensor.clone() for tensor in call)
        location[0, 1, 0, 1, 2, 0] = bad
        found = run((value, shapes, starts, location, weight), implementation)
        assert all(tensor.isfinite().all() for tensor in found)
        assert not found[2][0, 1, 0, 1, 2].any() and found[3][0, 1, 0, 1, 2] == 0
        weight[0, 1, 0, 1, 2] = 0
        torch.testing.assert_close(
            found[0], ms_deform_attn(value, shapes, starts, call[3], weight, implementation=implementation)
        )
    location[0, 1, 0, 1, 2, 0] = math.nan
    found = run((value, shapes, starts, location, call[4]), implementation)
    assert found[0][0, 1, :4].isnan().all() and found[2][0, 1, 0, 1, 2].isnan().all()
    assert found[3][0, 1, 0, 1, 2].isnan()
    assert not found[0][0, 1, 4:].isnan().any() and not found[0][0, 2:].isnan().any()
    for mine, theirs in zip(found, clean, strict=True):
        assert torch.equal(mine[1], theirs[1])


@EVERY
def test_nothing_outside_is_read(implementation):
    call = draw_call(6, [(3, 4), (1, 5), (6, 1)], spread=5.0)
    guarded = []
    for tensor in call:
        fill = math.nan if tensor.is_floating_point() else -(2**40)
        memory = torch.full((tensor.numel() + 512,), fill, dtype=tensor.dtype)
        guarded.append(memory[256:-256].view(tensor.shape).copy_(tensor))
    assert all(tensor.is_contiguous() for tensor in guarded)
    wanted, found = run(call, implementation), run(guarded, implementation)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, wanted, strict=True))


@EVERY
def test_levels_may_leave_pixels_out_and_come_in_any_order(implementation):
    value, _, _, location, weight = draw_call(7, [(5, 8)])
    shapes, starts = torch.tensor([[2, 4], [3, 5]]), torch.tensor([30, 3])
    location, weight = torch.cat([location] * 2, dim=3), torch.cat([weight, weight * 0.5], dim=3)
    call = (value, shapes, starts, location, weight)
    output, gradient, _, _ = run(call, implementation)
    torch.testing.assert_close(output, by_definition(*call))
    used = torch.zeros(40, dtype=torch.bool)
    used[3:18] = used[30:38] = True
    assert not gradient[:, ~used].any() and gradient[:, used].any()


@EVERY
def test_softmax_over_levels_and_points(implementation):
    value, shapes, starts, location, logits = draw_call(8, [(4, 5), (2, 3)])
    fused = ms_deform_attn(
        value, shapes, starts, location, 3 * logits, softmax=True, implementation=implementation
    )
    weight = (3 * logits).flatten(-2).softmax(-1).reshape(logits.shape)
    torch.testing.assert_close(fused, by_definition(value, shapes, starts, location, weight))


@EVERY
@pytest.mark.parametrize(("batch", "queries"), [(0, 5), (2, 0), (0, 0)])
def test_no_images_or_queries(batch, queries, implementation):
    output, *gradients = run(draw_call(9, [(3, 4)], batch=batch, queries=queries), implementation)
    assert output.shape == (batch, queries, 8)
    assert gradients[0].shape == (batch, 12, 2, 4) and not gradients[0].any()
    assert gradients[1].shape == (batch, queries, 2, 1, 3, 2)


@EVERY
def test_tensors_without_contiguous_memory(implementation):
    value, shapes, starts, location, weight = call = draw_call(10, [(4, 5), (2, 3)])
    strided = (
        value.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3),
        torch.stack([shapes, shapes], dim=-1)[..., 0],
        starts.repeat_interleave(2)[::2],
        torch.cat([location, location], dim=-1)[..., :2],
        weight.flip(1).flip(1).transpose(0, 1).contiguous().transpose(0, 1),
    )
    assert not any(tensor.is_contiguous() for tensor in (strided[0], strided[1], strided[3], strided[4]))
    for mine, theirs in zip(run(strided, implementation), run(call, implementation), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_sampled_in_float32(dtype):
    value, shapes, starts, location, weight = draw_call(11, [(3, 800)], dtype=torch.float32)
    half = value.to(dtype)
    output = ms_deform_attn(half, shapes, starts, location, weight)
    assert output.dtype == dtype
    wanted = ms_deform_attn(half.float(), shapes, starts, location, weight, implementation="reference")
    torch.testing.assert_close(
        output.float(), wanted, rtol=2e-2 if dtype == torch.bfloat16 else 2e-3, atol=1e-2
    )


@EVERY
def test_gradients_only_where_asked(implementation):
    call = draw_call(12, [(4, 5)])
    wanted = run(call, implementation)
    value, shapes, starts, location, weight = call
    for number, tensor in enumerate((value, location, weight)):
        leaf = tensor.clone().requires_grad_()
        inputs = [leaf if other is tensor else other for other in (value, location, weight)]
        output = ms_deform_attn(inputs[0], shapes, starts, *inputs[1:], implementation=implementation)
        toward = torch.cos(torch.arange(output.numel(), dtype=torch.float64)).reshape(output.shape)
        assert torch.equal(torch.autograd.grad(output, leaf, toward)[0], wanted[1 + number])


def test_steps_do_not_change_the_result(monkeypatch):
    call = draw_call(13, [(4, 5), (2, 3)], queries=7)
    whole = run(call, "reference")
    monkeypatch.setattr(msda_reference, "_TAPS_PER_STEP", 200)
    monkeypatch.setattr(msda_reference, "_NUMBERS_PER_STEP", 1)
    for mine, theirs in zip(run(call, "reference"), whole, strict=True):
        torch.testing.assert_close(mine, theirs)


@EVERY
def test_compiles_without_breaks_and_with_gradients(implementation):
    value, shapes, starts, location, weight = draw_call(14, [(4, 5), (2, 3)], dtype=torch.float32)
    leaves = [tensor.requires_grad_() for tensor in (value, location, weight)]

    def loss(value, location, weight):
        return ms_deform_attn(
            value, shapes, starts, location, weight, softmax=True, implementation=implementation
        ).square().sum()  # fmt: skip

    wanted = torch.autograd.grad(loss(*leaves), leaves)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for mine, theirs in zip(torch.autograd.grad(compiled(*leaves), leaves), wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_one_node_in_an_exported_graph():
    class Attention(torch.nn.Module):
        def forward(self, value, shapes, starts, location, logits):
            return ms_deform_attn(value, shapes, starts, location, logits, softmax=True)

    call = draw_call(15, [(4, 5), (2, 3)], dtype=torch.float32)
    batch = {0: torch.export.Dim.AUTO}
    shapes = (batch, None, None, {**batch, 1: torch.export.Dim.AUTO}, {**batch, 1: torch.export.Dim.AUTO})
    program = torch.export.export(Attention(), call, dynamic_shapes=shapes)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    names = [str(node.target) for node in nodes]
    assert names.count("internimage.ms_deform_attn.default") == 1 and "aten.softmax.int" in names
    assert nodes[names.index("internimage.ms_deform_attn.default")].args[5] is False
    other = draw_call(16, [(4, 5), (2, 3)], batch=3, queries=9, dtype=torch.float32)
    torch.testing.assert_close(program.module()(*other), ms_deform_attn(*other, softmax=True))


def test_runs_under_autocast():
    value, shapes, starts, location, logits = draw_call(17, [(4, 5)], channels=16, dtype=torch.float32)
    projection = torch.nn.Linear(32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        projected = projection(value.flatten(2)).unflatten(2, (2, 16))
        output = ms_deform_attn(projected, shapes, starts, location, logits, softmax=True)
        output.float().square().sum().backward()
    assert projected.dtype == output.dtype == torch.bfloat16
    plain = ms_deform_attn(
        projection(value.flatten(2)).unflatten(2, (2, 16)), shapes, starts, location, logits, softmax=True
    )
    torch.testing.assert_close(output.float(), plain, atol=0.05, rtol=0.05)
    assert projection.weight.grad.abs().max() > 0


@EVERY
def test_registration_passes_pytorch_own_checks(implementation):
    value, *rest, weight = draw_call(18, [(4, 5)], dtype=torch.float32)
    leaves = [value.requires_grad_(), rest[0], rest[1], rest[2].requires_grad_(), weight.requires_grad_()]
    torch.library.opcheck(torch.ops.internimage.ms_deform_attn.default, (*leaves, True, implementation))
