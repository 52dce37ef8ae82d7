"""The operator against the official outputs, against its definition, and at its edges."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from internimage_perception.ops import DCNv3, DCNv3Geometry, OperatorError, dcnv3, implementations, reference

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("dcnv3_op_*.npz"))


def random_call(seed, *, batch=1, size=(5, 6), channels=4, dtype=torch.float64, spread=1.5, **arguments):
    """Return tensors and arguments of a random call."""
    geometry = DCNv3Geometry.make(
        **{"stride": 1, "padding": 1, "dilation": 1, "offset_scale": 1.0, "remove_center": False} | arguments
    )
    generator = torch.Generator().manual_seed(seed)
    out = geometry.output_size(*size)
    samples = geometry.group * geometry.points
    value = torch.randn(batch, *size, geometry.group * channels, generator=generator, dtype=dtype)
    offset = torch.randn(batch, *out, samples * 2, generator=generator, dtype=dtype) * spread
    mask = torch.rand(batch, *out, samples, generator=generator, dtype=dtype)
    return (value, offset, mask), arguments


def by_definition(value, offset, mask, geometry):
    """Compute DCNv3 sample by sample, straight from its formula."""
    value, offset, mask = (tensor.double().numpy() for tensor in (value, offset, mask))
    batch, height, width, channels = value.shape
    group, per_group = geometry.group, channels // geometry.group
    out_height, out_width = offset.shape[1:3]
    rows, columns = geometry.kernel_size
    taps = [(a, b) for a in range(columns) for b in range(rows)]
    if geometry.remove_center:
        taps.remove((columns // 2, rows // 2))
    cy = geometry.dilation[0] * (rows - 1) // 2
    cx = geometry.dilation[1] * (columns - 1) // 2
    offset = offset.reshape(batch, out_height, out_width, group, len(taps), 2)
    mask = mask.reshape(batch, out_height, out_width, group, len(taps))
    output = np.zeros((batch, out_height, out_width, group, per_group))
    for n, i, j, g in itertools.product(range(batch), range(out_height), range(out_width), range(group)):
        for p, (a, b) in enumerate(taps):
            dx, dy = offset[n, i, j, g, p]
            x = j * geometry.stride[1] - geometry.padding[1] + cx
            y = i * geometry.stride[0] - geometry.padding[0] + cy
            x += geometry.offset_scale * (a * geometry.dilation[1] - cx + dx)
            y += geometry.offset_scale * (b * geometry.dilation[0] - cy + dy)
            for yy, xx in itertools.product(
                (math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)
            ):
                if 0 <= yy < height and 0 <= xx < width:
                    pixel = value[n, yy, xx, g * per_group : (g + 1) * per_group]
                    output[n, i, j, g] += mask[n, i, j, g, p] * (1 - abs(y - yy)) * (1 - abs(x - xx)) * pixel
    return torch.from_numpy(output.reshape(batch, out_height, out_width, channels))


def golden_arguments(stored):
    pairs = {"kernel_size": "kernel", "stride": "stride", "padding": "pad", "dilation": "dilation"}
    return {
        **{name: (int(stored[f"{key}_h"]), int(stored[f"{key}_w"])) for name, key in pairs.items()},
        "group": int(stored["group"]),
        "offset_scale": float(stored["offset_scale"]),
        "remove_center": bool(stored["remove_center"]),
    }


@pytest.mark.parametrize("implementation", implementations())
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem.removeprefix("dcnv3_op_"))
def test_agrees_with_the_official_operator_and_its_gradients(path, implementation):
    stored = np.load(path)
    tensors = {name: torch.from_numpy(stored[name]).requires_grad_() for name in ("input", "offset", "mask")}
    output = dcnv3(*tensors.values(), **golden_arguments(stored), implementation=implementation)
    output.backward(torch.from_numpy(stored["grad_output"]))
    np.testing.assert_allclose(output.detach(), stored["output"], atol=2e-5, rtol=1e-5)
    for name, tensor in tensors.items():
        if name != "offset" or stored["check_grad_offset"]:
            np.testing.assert_allclose(tensor.grad, stored[f"grad_{name}"], atol=5e-5, rtol=1e-5)


def test_all_golden_files_are_there():
    assert len(GOLDEN) >= 17


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "padding": (0, 2), "group": 2},
        {"kernel_size": (3, 5), "padding": (2, 1), "dilation": (2, 1), "stride": (2, 3), "group": 1},
        {"kernel_size": (2, 4), "padding": (1, 0), "dilation": (1, 2), "group": 2, "offset_scale": 1.7},
        {"kernel_size": (3, 5), "padding": (1, 2), "group": 2, "remove_center": True},
        {"kernel_size": 1, "padding": 0, "group": 3},
        {"kernel_size": (1, 3), "padding": (0, 1), "group": 1, "remove_center": True},
    ],
    ids=str,
)
def test_agrees_with_its_definition(arguments):
    tensors, arguments = random_call(1, batch=2, size=(7, 9), **arguments)
    geometry = DCNv3Geometry.make(
        **{"stride": 1, "padding": 1, "dilation": 1, "offset_scale": 1.0, "remove_center": False} | arguments
    )
    torch.testing.assert_close(dcnv3(*tensors, **arguments), by_definition(*tensors, geometry))


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (2, 2)])
def test_maps_of_one_row_or_column(size):
    tensors, arguments = random_call(2, size=size, kernel_size=3, group=2)
    geometry = DCNv3Geometry.make(
        stride=1, padding=1, dilation=1, offset_scale=1.0, remove_center=False, **arguments
    )
    torch.testing.assert_close(dcnv3(*tensors, **arguments), by_definition(*tensors, geometry))


def test_the_order_of_points_and_axes_matters():
    (value, offset, mask), arguments = random_call(3, kernel_size=3, group=2)
    right = dcnv3(value, offset, mask, **arguments)
    swapped = offset.reshape(1, 5, 6, -1, 2).flip(-1).reshape(offset.shape)
    assert (dcnv3(value, swapped, mask, **arguments) - right).abs().max() > 0.1
    by_rows = mask.reshape(1, 5, 6, 2, 3, 3).transpose(-1, -2).reshape(mask.shape)
    assert (dcnv3(value, offset, by_rows, **arguments) - right).abs().max() > 0.1


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "group": 2, "offset_scale": 2.0},
        {"kernel_size": (2, 3), "padding": (0, 1), "stride": (2, 1), "group": 1, "remove_center": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("implementation", implementations())
def test_gradients_by_finite_differences(arguments, implementation):
    tensors, arguments = random_call(4, batch=2, size=(4, 5), channels=2, **arguments)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(lambda *t: dcnv3(*t, **arguments, implementation=implementation), leaves)


def test_gradients_only_where_asked():
    (value, offset, mask), arguments = random_call(5, kernel_size=3, group=2)
    full = [tensor.clone().requires_grad_() for tensor in (value, offset, mask)]
    wanted = torch.autograd.grad(dcnv3(*full, **arguments).square().sum(), full)
    mask.requires_grad_()
    (gradient,) = torch.autograd.grad(dcnv3(value, offset, mask, **arguments).square().sum(), [mask])
    torch.testing.assert_close(gradient, wanted[2])


def test_gradient_at_pixel_centres_is_the_derivative_to_the_right():
    """A freshly initialised layer samples at pixel centres only: its offsets must still learn."""
    (value, offset, mask), arguments = random_call(6, size=(6, 7), kernel_size=3, group=1)
    offset = torch.zeros_like(offset).requires_grad_()
    weight = torch.randn(1, 6, 7, 4, dtype=torch.float64)
    total = (dcnv3(value, offset, mask, **arguments) * weight).sum()
    (gradient,) = torch.autograd.grad(total, [offset])
    step = 1e-6
    for i, j, index in [(2, 3, 8), (2, 3, 9), (1, 1, 0), (1, 1, 17), (4, 5, 5), (3, 2, 12), (4, 5, 16)]:
        moved = offset.detach().clone()
        moved[0, i, j, index] += step
        difference = (dcnv3(value, moved, mask, **arguments) * weight).sum() - total
        assert gradient[0, i, j, index].item() == pytest.approx(difference.item() / step, rel=1e-4, abs=1e-6)
    assert gradient.abs().max() > 0.1


def test_samples_far_outside_count_as_zero():
    (value, offset, mask), arguments = random_call(7, kernel_size=3, group=2, dtype=torch.float32)
    for far in (1e4, -1e4, 1e30, math.inf, -math.inf):
        assert not dcnv3(value, torch.full_like(offset, far), mask, **arguments).any()


def test_not_a_number_stays_visible():
    (value, offset, mask), arguments = random_call(8, kernel_size=3, group=2)
    offset[0, 2, 2, 0] = math.nan
    assert dcnv3(value, offset, mask, **arguments).isnan().any()


def test_steps_do_not_change_the_result(monkeypatch):
    tensors, arguments = random_call(9, batch=3, kernel_size=3, group=2)
    whole = dcnv3(*tensors, **arguments)
    for taps in (1, 500, 2000):
        monkeypatch.setattr(reference, "_TAPS_PER_STEP", taps)
        assert torch.equal(dcnv3(*tensors, **arguments), whole)


def test_images_of_a_batch_do_not_touch_each_other():
    tensors, arguments = random_call(10, batch=3, spread=5, kernel_size=3, group=2)
    whole = dcnv3(*tensors, **arguments)
    for n in range(3):
        alone = dcnv3(*(tensor[n : n + 1] for tensor in tensors), **arguments)
        torch.testing.assert_close(alone, whole[n : n + 1])


def test_empty_batch():
    tensors, arguments = random_call(11, batch=0, kernel_size=3, group=2)
    assert dcnv3(*tensors, **arguments).shape == (0, 5, 6, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_keep_exact_positions(dtype):
    """On a map 800 wide, a position rounded to these types is off by up to 2 pixels."""
    (value, offset, mask), arguments = random_call(
        12, size=(3, 800), kernel_size=3, group=2, dtype=torch.float32
    )
    halves = [tensor.to(dtype) for tensor in (value, offset, mask)]
    expected = dcnv3(*(tensor.float() for tensor in halves), **arguments)
    output = dcnv3(*halves, **arguments)
    assert output.dtype == dtype
    # Half types may run in another implementation than float32: one rounding apart at most.
    torch.testing.assert_close(output.float(), expected, rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_mixed_types_follow_the_input():
    (value, offset, mask), arguments = random_call(13, kernel_size=3, group=2, dtype=torch.float32)
    output = dcnv3(value.bfloat16(), offset, mask, **arguments)
    assert output.dtype == torch.bfloat16
    expected = dcnv3(value.bfloat16().float(), offset, mask, **arguments)
    torch.testing.assert_close(output, expected.bfloat16(), rtol=0, atol=0)


def test_tensors_without_contiguous_memory():
    (value, offset, mask), arguments = random_call(14, kernel_size=3, group=2)
    strided = value.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not strided.is_contiguous()
    doubled = torch.cat([offset, offset], dim=3)[..., : offset.shape[3]]
    torch.testing.assert_close(
        dcnv3(strided, doubled, mask, **arguments), dcnv3(value, offset, mask, **arguments)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offset": (1, 5, 6, 35)}, ("offset", "(1, 5, 6, 36)", "(1, 5, 6, 35)")),
        ({"mask": (1, 6, 5, 18)}, ("mask", "(1, 5, 6, 18)", "(1, 6, 5, 18)")),
        ({"mask": (2, 5, 6, 18)}, ("mask", "(1, 5, 6, 18)")),
        ({"input": (1, 5, 6)}, ("input", "(1, 5, 6)")),
        ({"input": (1, 5, 6, 7)}, ("input", "7 channels", "group 2")),
        ({"input": (1, 1, 6, 8), "padding": 0}, ("1x6", "too small")),
        ({"group": 0}, ("group", "0")),
        ({"kernel_size": (3, 3, 3)}, ("kernel_size", "(3, 3, 3)")),
        ({"stride": 0}, ("stride", "(0, 0)")),
        ({"padding": -1}, ("padding", "-1")),
        ({"kernel_size": 2, "remove_center": True}, ("remove_center", "2x2")),
        ({"implementation": "magic"}, ("magic", "auto, reference")),
    ],
    ids=str,
)
@pytest.mark.parametrize("implementation", ["auto", "reference"])
def test_misfits_are_named(change, words, implementation):
    shapes = {"input": (1, 5, 6, 8), "offset": (1, 5, 6, 36), "mask": (1, 5, 6, 18)}
    tensors = [torch.zeros(change.get(name, shape)) for name, shape in shapes.items()]
    arguments = {"kernel_size": 3, "group": 2, "implementation": implementation}
    arguments |= {name: value for name, value in change.items() if name not in shapes}
    with pytest.raises(OperatorError) as caught:
        dcnv3(*tensors, **arguments)
    for word in words:
        assert word in str(caught.value)


def test_integer_tensors_are_refused():
    with pytest.raises(OperatorError, match="mask must be floating point"):
        dcnv3(
            torch.zeros(1, 5, 6, 8),
            torch.zeros(1, 5, 6, 36),
            torch.ones(1, 5, 6, 18).int(),
            kernel_size=3,
            group=2,
        )


def test_one_node_in_an_exported_graph():
    layer = DCNv3(16, group=2)
    program = torch.export.export(
        layer, (torch.randn(2, 8, 9, 16),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert calls.count("internimage.dcnv3.default") == 1
    assert not any("embedding_bag" in call or "grid_sampler" in call for call in calls)
    x = torch.randn(3, 8, 9, 16)
    torch.testing.assert_close(program.module()(x), layer(x))


def test_compiles_without_breaks_and_with_gradients():
    tensors, arguments = random_call(15, kernel_size=3, group=2, dtype=torch.float32)
    leaves = [tensor.requires_grad_() for tensor in tensors]

    def loss(*t):
        return dcnv3(*t, **arguments).square().sum()

    expected = torch.autograd.grad(loss(*leaves), leaves)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for own, other in zip(torch.autograd.grad(compiled(*leaves), leaves), expected, strict=True):
        torch.testing.assert_close(own, other)


def test_registration_passes_pytorch_own_checks():
    tensors, _ = random_call(16, kernel_size=3, group=2, dtype=torch.float32)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    torch.library.opcheck(
        torch.ops.internimage.dcnv3.default, (*leaves, [3, 3], [1, 1], [1, 1], [1, 1], 2, 1.0, False)
    )
