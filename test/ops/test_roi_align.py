"""RoIAlign: its definition, the native kernels, and its edges."""

import ctypes
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.ops import OperatorError, choice, native_roi_align, roi_align
from internimage_perception.ops.native_library import F16, F32, F64, Array

needs_native = pytest.mark.skipif(
    choice.missing() is not None, reason="the native kernels are not built: no C++ compiler"
)
EVERY = pytest.mark.parametrize(
    "implementation", ["auto", "reference", pytest.param("native", marks=needs_native)]
)


def draw_call(seed, *, size=(2, 3, 9, 11), boxes=6, reach=1.5, dtype=torch.float64):
    """Return a random map and boxes, in its pixels, that lie up to `reach` map sizes around its middle."""
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)
    extent = torch.tensor([size[3], size[2]])
    corners = ((torch.rand(boxes, 2, 2, generator=generator) - 0.5) * reach + 0.5) * extent
    corners = corners.sort(dim=1).values.flatten(1)
    image = torch.randint(0, max(1, size[0]), (boxes, 1), generator=generator)
    return feature, torch.cat([image, corners], dim=1).to(torch.float32 if dtype != torch.float64 else dtype)


def run(feature, rois, output_size, **arguments):
    """Return the result and the gradient of the map."""
    leaf = feature.clone().requires_grad_()
    output = roi_align(leaf, rois, output_size, **arguments)
    toward = torch.cos(torch.arange(output.numel(), dtype=torch.float64)).reshape(output.shape)
    return output.detach(), *torch.autograd.grad(output, leaf, toward.to(output.dtype))


def sample(plane, y, x):
    """Return one bilinear sample of (C, H, W): the border's value up to a pixel outside, then 0."""
    height, width = plane.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(plane.shape[0], dtype=plane.dtype)
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    result = 0
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        share = max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
        result = result + share * plane[:, min(row, height - 1), min(column, width - 1)]
    return result


def by_definition(feature, rois, output_size, *, spatial_scale=1.0, sampling_ratio=0, aligned=True):
    """Compute the operator sample by sample."""
    output = torch.zeros(len(rois), feature.shape[1], *output_size, dtype=feature.dtype)
    for k, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (corner * spatial_scale - (0.5 if aligned else 0) for corner in corners)
        height, width = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        bin_height, bin_width = height / output_size[0], width / output_size[1]
        rows = sampling_ratio or math.ceil(bin_height)
        columns = sampling_ratio or math.ceil(bin_width)
        for i, j in itertools.product(*map(range, output_size)):
            for a, b in itertools.product(range(rows), range(columns)):
                y = y1 + (i + (a + 0.5) / rows) * bin_height
                x = x1 + (j + (b + 0.5) / columns) * bin_width
                output[k, :, i, j] += sample(feature[int(image)], y, x) / (rows * columns)
    return output


@EVERY
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3])
def test_agrees_with_its_definition(sampling_ratio, aligned, implementation):
    feature, rois = draw_call(1)
    for output_size, scale in (((3, 4), 1.0), ((7, 7), 0.7), ((1, 2), 1.0)):
        arguments = {"spatial_scale": scale, "sampling_ratio": sampling_ratio, "aligned": aligned}
        torch.testing.assert_close(
            roi_align(feature, rois, output_size, **arguments, implementation=implementation),
            by_definition(feature, rois, output_size, **arguments),
        )


@EVERY
def test_known_values(implementation):
    """A ramp: the mean of a bin inside the map is the value at its middle, half a pixel less if aligned."""
    ramp = torch.arange(16.0).expand(1, 1, 16, 16) + 100 * torch.arange(16.0)[:, None]
    rois = torch.tensor([[0.0, 8, 16, 24, 32]])
    for aligned, shift in ((True, 0.5), (False, 0.0)):
        found = roi_align(ramp, rois, 2, spatial_scale=0.25, aligned=aligned, implementation=implementation)
        middles = torch.tensor([[3.0, 5.0], [3.0, 5.0]]) + 100 * torch.tensor([[5.0, 5.0], [7.0, 7.0]])
        torch.testing.assert_close(found[0, 0], middles - 101 * shift)
    # One sample in the middle of the box, and the border's value up to a pixel outside.
    tiny = torch.tensor([[0.0, 3.2, 4.2, 3.8, 4.8], [0, -0.4, 0, 0, 0.4], [0, -3, -3, -2.9, -2.9]])
    found = roi_align(ramp, tiny, 1, implementation=implementation).flatten()
    torch.testing.assert_close(found, torch.tensor([403.0, 0.0, 0.0]), atol=1e-3, rtol=0)


@EVERY
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_gradients_by_finite_differences(sampling_ratio, implementation):
    feature, rois = draw_call(2, size=(2, 2, 5, 6), boxes=4)

    def pool(feature):
        return roi_align(
            feature, rois, (2, 3), spatial_scale=0.9, sampling_ratio=sampling_ratio,
            implementation=implementation,
        )  # fmt: skip

    feature.requires_grad_()
    assert torch.autograd.gradcheck(pool, feature)
    assert torch.autograd.gradgradcheck(pool, feature)


ODD = [math.nan, math.inf, -math.inf, 1e38, -1e38, 1e6, -1e6]


@needs_native
@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 9),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.integers(0, 2**20),
    st.sampled_from([0.5, 1.0, 3.0, 30.0]),
    st.fixed_dictionaries(
        {
            "spatial_scale": st.sampled_from([1.0, 0.25, 0.37, 2.0]),
            "sampling_ratio": st.integers(0, 3),
            "aligned": st.booleans(),
        }
    ),
    st.lists(st.sampled_from(ODD), max_size=2),
)
def test_the_native_kernels_agree_with_the_reference(size, boxes, output_size, seed, reach, arguments, odd):
    feature, rois = draw_call(seed, size=size, boxes=boxes, reach=reach)
    for number, coordinate in enumerate(odd[:boxes]):
        rois[(seed + number) % boxes, 1 + (seed + 3 * number) % 4] = coordinate
    wanted = run(feature, rois, output_size, **arguments, implementation="reference")
    for mine, theirs in zip(
        run(feature, rois, output_size, **arguments, implementation="native"), wanted, strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)


@needs_native
@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 3, 1 / 16])
def test_the_native_kernels_agree_to_the_last_bit_of_positions(scale):
    """Whole bins and samples on the border's limit: one sample more or less is no rounding error."""
    feature = torch.randn(1, 2, 12, 12, dtype=torch.float64)
    numbers = torch.arange(-4, 15)[None] / torch.tensor([scale, scale * 7, scale * 3])[:, None]
    corners = torch.cartesian_prod(numbers.flatten(), numbers.flatten()[::5]).double()
    rois = torch.cat([torch.zeros(len(corners), 1), corners[:, :1], corners[:, :1], corners[:, 1:]], dim=1)
    rois = torch.cat([rois, corners[:, 1:]], dim=1)
    for aligned in (True, False):
        found, wanted = (
            roi_align(feature, rois, (2, 7), spatial_scale=scale, aligned=aligned, implementation=name)
            for name in ("native", "reference")
        )
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_native_kernels_agree_in_other_types(dtype):
    feature, rois = draw_call(3, size=(2, 75, 30, 40), boxes=20, dtype=dtype)
    wanted = run(feature.double(), rois, (7, 7), implementation="reference")
    share = 1e-5 if dtype == torch.float32 else 2e-2
    for mine, theirs in zip(run(feature, rois, (7, 7), implementation="native"), wanted, strict=True):
        assert mine.dtype == dtype
        assert (mine.double() - theirs).abs().max() <= share * theirs.abs().max()


def test_half_types_are_averaged_in_float32():
    feature, rois = draw_call(4, size=(2, 3, 30, 40), dtype=torch.float16)
    found, gradient = run(feature, rois, 3)
    assert found.dtype == gradient.dtype == torch.float16
    wanted = roi_align(feature.float(), rois, 3)
    torch.testing.assert_close(found, wanted.half(), atol=1e-3, rtol=1e-3)


@needs_native
def test_the_same_bits_for_any_number_of_threads():
    feature, rois = draw_call(5, size=(3, 75, 20, 30), boxes=40, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            results.append(run(feature, rois, (7, 7), implementation="native"))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(results[0], other, strict=True))


@EVERY
def test_boxes_that_are_no_place(implementation):
    """A box that is not finite is NaN and adds nothing to gradients; one far outside is 0."""
    feature, rois = draw_call(6, boxes=8, reach=0.9)
    clean = run(feature, rois[:1], (3, 4), implementation=implementation)
    for row, (column, bad) in enumerate(itertools.product((1, 4), (math.nan, math.inf, -math.inf)), start=1):
        rois[row, column] = bad
    rois[7, 1:] = torch.tensor([1e30, 1e30, 3e30, 3e30])
    found, gradient = run(feature, rois, (3, 4), implementation=implementation)
    assert found[1:7].isnan().all() and not found[7].any()
    torch.testing.assert_close(found[:1], clean[0])
    torch.testing.assert_close(gradient, clean[1])


@EVERY
def test_a_huge_box_ends_and_covers_the_map(implementation):
    feature, _ = draw_call(7, size=(1, 3, 9, 11))
    rois = torch.tensor([[0.0, -1e9, -1e9, 1e9, 1e9], [0, -70, -70, 70, 70]], dtype=torch.float64)
    found = roi_align(feature, rois, 1, implementation=implementation)
    torch.testing.assert_close(found[1, :, 0, 0], by_definition(feature, rois[1:], (1, 1))[0, :, 0, 0])
    assert found[0].isfinite().all() and found[0].abs().max() < 1e-3


@EVERY
def test_boxes_turned_round(implementation):
    """An aligned box of negative size has no samples of its own; asked for some, it is mirrored."""
    feature, rois = draw_call(8, boxes=3, reach=0.8)
    mirrored = rois[:, [0, 3, 4, 1, 2]]
    assert not roi_align(feature, mirrored, (3, 4), implementation=implementation).any()
    found = roi_align(feature, mirrored, (3, 4), sampling_ratio=2, implementation=implementation)
    wanted = roi_align(feature, rois, (3, 4), sampling_ratio=2, implementation=implementation)
    torch.testing.assert_close(found.flip(2, 3), wanted)


@EVERY
def test_nothing_outside_is_read(implementation):
    feature, rois = draw_call(9, reach=4.0)
    guarded = []
    for tensor in (feature, rois):
        memory = torch.full((tensor.numel() + 512,), math.nan, dtype=tensor.dtype)
        guarded.append(memory[256:-256].view(tensor.shape).copy_(tensor))
    wanted, found = (run(*call, (3, 4), implementation=implementation) for call in ((feature, rois), guarded))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, wanted, strict=True))


@EVERY
@pytest.mark.parametrize(("images", "boxes"), [(2, 0), (0, 0)])
def test_no_images_or_boxes(images, boxes, implementation):
    feature, rois = draw_call(10, size=(images, 3, 5, 6), boxes=boxes)
    output, gradient = run(feature, rois, (3, 4), implementation=implementation)
    assert output.shape == (0, 3, 3, 4)
    assert gradient.shape == (images, 3, 5, 6) and not gradient.any()


@EVERY
def test_tensors_without_contiguous_memory(implementation):
    feature, rois = draw_call(11)
    strided = feature.to(memory_format=torch.channels_last), torch.cat([rois, rois], dim=1)[:, :5]
    assert not strided[0].is_contiguous() and not strided[1].is_contiguous()
    for mine, theirs in zip(
        run(*strided, 3, implementation=implementation), run(feature, rois, 3, implementation=implementation),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, theirs)


@EVERY
@pytest.mark.parametrize("image", [2, -1, 0.5, math.nan, math.inf, 1e30])
def test_boxes_of_no_image_are_named(image, implementation):
    feature, rois = draw_call(12, boxes=3)
    rois[1, 0] = image
    with pytest.raises(OperatorError, match=r"box 1 belongs to image .* there are 2 images"):
        roi_align(feature, rois, 3, implementation=implementation)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input": torch.zeros(3, 5, 6)}, ("input", "(3, 5, 6)")),
        ({"input": torch.zeros(2, 0, 5, 6)}, ("no channels", "(2, 0, 5, 6)")),
        ({"input": torch.zeros(2, 3, 5, 6).int()}, ("input", "torch.int32")),
        ({"rois": torch.zeros(2, 4)}, ("rois", "(2, 4)")),
        ({"rois": torch.zeros(5)}, ("rois", "(5,)")),
        ({"output_size": 0}, ("output_size", "(0, 0)")),
        ({"output_size": (1, 2, 3)}, ("output_size", "[1, 2, 3]")),
        ({"spatial_scale": 0.0}, ("spatial_scale", "0.0")),
        ({"spatial_scale": math.nan}, ("spatial_scale", "nan")),
        ({"sampling_ratio": -1}, ("sampling_ratio", "-1")),
        ({"implementation": "magic"}, ("magic", "auto, reference")),
    ],
    ids=str,
)
def test_misfits_are_named(arguments, words):
    call = {"input": torch.zeros(2, 3, 5, 6), "rois": torch.zeros(2, 5), "output_size": 7} | arguments
    with pytest.raises(OperatorError) as caught:
        roi_align(**call)
    for word in words:
        assert word in str(caught.value)


@needs_native
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0), ({"struct_size": 8}, 1), ({"batch": -1}, 1), ({"channels": 0}, 1), ({"height": 0}, 1),
        ({"width": 2**40}, 2), ({"boxes": -1}, 1), ({"out_height": 0}, 1), ({"out_width": -2}, 1),
        ({"sampling_ratio": -1}, 1), ({"threads": -1}, 1), ({"spatial_scale": 0.0}, 1),
        ({"spatial_scale": math.nan}, 1), ({"map": Array(1, F16, 0)}, 2), ({"map": Array(1, F64, 0)}, 1),
        ({"map": Array(None, F32, 0)}, 1), ({"output": Array(None, F32, 0)}, 1), ({"box": None}, 1),
        ({"box": (2, 0, 0, 1, 1)}, 1), ({"box": (0.5, 0, 0, 1, 1)}, 1), ({"box": (math.nan, 0, 0, 1, 1)}, 1),
        ({"boxes": 0, "box": None, "output": Array(None, F32, 0)}, 0),
    ],
    ids=str,
)  # fmt: skip
def test_the_c_interface_refuses_what_makes_no_sense(changes, status):
    library = native_roi_align._library()
    feature, output = torch.zeros(2, 3, 5, 6), torch.zeros(1, 3, 2, 2)
    others = {"map": Array(feature.data_ptr(), F32, 0), "output": Array(output.data_ptr(), F32, 0)}
    others |= {"box": (1, 0, 0, 4, 4)}
    fields = {
        "struct_size": ctypes.sizeof(native_roi_align.Params), "batch": 2, "channels": 3, "height": 5,
        "width": 6, "boxes": 1, "out_height": 2, "out_width": 2, "spatial_scale": 1.0,
    }  # fmt: skip
    fields |= {name: value for name, value in changes.items() if name not in others}
    others |= {name: value for name, value in changes.items() if name in others}
    params = native_roi_align.Params(**fields)
    box = others["box"] and (ctypes.c_double * 5)(*others["box"])
    call = ctypes.byref(params), others["map"], box, others["output"]
    assert library.dcnv3_roi_align_forward_cpu(*call) == status
    turned = ctypes.byref(params), others["output"], box, others["map"]
    assert library.dcnv3_roi_align_backward_cpu(*turned) == status


@EVERY
def test_compiles_without_breaks_and_with_gradients(implementation):
    feature, rois = draw_call(13, dtype=torch.float32)

    def loss(feature):
        return roi_align(feature, rois, (3, 4), implementation=implementation).square().sum()

    feature.requires_grad_()
    wanted = torch.autograd.grad(loss(feature), feature)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(feature), feature), wanted)


def test_one_node_in_an_exported_graph():
    class Pool(torch.nn.Module):
        def forward(self, feature, rois):
            return roi_align(feature, rois, (3, 4), spatial_scale=0.5)

    call = draw_call(14, dtype=torch.float32)
    free = {0: torch.export.Dim.AUTO}
    program = torch.export.export(Pool(), call, dynamic_shapes=(free, free))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert names == ["internimage.roi_align.default"]
    other = draw_call(15, size=(3, 3, 9, 11), boxes=9, dtype=torch.float32)
    torch.testing.assert_close(program.module()(*other), Pool()(*other))


def test_runs_under_autocast():
    feature, rois = draw_call(16, dtype=torch.float32)
    layer = torch.nn.Conv2d(3, 4, 1)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = roi_align(layer(feature), rois, 3)
        pooled.float().square().sum().backward()
    assert pooled.dtype == torch.bfloat16 and layer.weight.grad.abs().max() > 0
    torch.testing.assert_close(pooled.float(), roi_align(layer(feature), rois, 3), atol=0.05, rtol=0.05)


@EVERY
def test_registration_passes_pytorch_own_checks(implementation):
    feature, rois = draw_call(17, dtype=torch.float32)
    torch.library.opcheck(
        torch.ops.internimage.roi_align.default,
        (feature.requires_grad_(), rois, [3, 4], 0.5, 0, True, implementation),
    )
    gradient = torch.randn(6, 3, 3, 4, requires_grad=True)
    torch.library.opcheck(
        torch.ops.internimage.roi_align_backward.default,
        (gradient, rois, [2, 9, 11], 0.5, 0, True, implementation),
    )
