"""The CUDA kernels of RoIAlign, compiled for the host, against the reference."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cuda_on_host import ORDERS, PATH, ROUNDING, TYPES, assert_close

from internimage_perception.ops.native_cuda import load
from internimage_perception.ops.native_cuda_roi_align import roi_align_cuda, roi_align_cuda_backward
from internimage_perception.ops.roi_align_reference import (
    RoiGeometry,
    roi_align_reference,
    roi_align_reference_backward,
)

ODD = [math.nan, math.inf, -math.inf, 1e38, -1e38, 1e6, -1e6]

pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels are not built: no C++ compiler")


def geometry_of(output_size=(3, 4), *, spatial_scale=1.0, sampling_ratio=0, aligned=True):
    return RoiGeometry(output_size, spatial_scale, sampling_ratio, aligned)


def draw_call(seed, output_size=(3, 4), *, size=(2, 3, 9, 11), boxes=6, reach=1.5, dtype=torch.float32):
    """Return a map, boxes in its pixels, up to `reach` sizes around its middle, and a result's gradient."""
    generator = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[3], size[2]])
    corners = ((torch.rand(boxes, 2, 2, generator=generator) - 0.5) * reach + 0.5) * extent
    image = torch.randint(0, max(1, size[0]), (boxes, 1), generator=generator)
    rois = torch.cat([image, corners.sort(dim=1).values.flatten(1)], dim=1)
    feature, gradient = (
        torch.randn(*shape, generator=generator) for shape in (size, (boxes, size[1], *output_size))
    )
    return feature.to(dtype), rois, gradient.to(dtype)


def run(kernels, call, geometry, *, deterministic=False):
    """Return the result and the gradient of the map."""
    feature, rois, gradient = call
    size = (feature.shape[0], *feature.shape[2:])
    return [
        roi_align_cuda(feature, rois, geometry, library=kernels),
        roi_align_cuda_backward(gradient, rois, size, geometry, deterministic=deterministic, library=kernels),
    ]


def exact(call, geometry):
    """Return the reference's for the same numbers, in float64."""
    feature, rois, gradient = call
    size = (feature.shape[0], *feature.shape[2:])
    return [
        roi_align_reference(feature.double(), rois, geometry),
        roi_align_reference_backward(gradient.double(), rois, size, geometry),
    ]


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 19), st.integers(1, 20), st.integers(1, 20)),
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
    st.tuples(st.sampled_from(TYPES), st.sampled_from(sorted(ORDERS.values())), st.booleans()),
)
def test_agrees_with_the_reference(size, boxes, output_size, seed, reach, arguments, odd, way):
    dtype, order, deterministic = way
    call = draw_call(seed, output_size, size=size, boxes=boxes, reach=reach, dtype=dtype)
    for number, coordinate in enumerate(odd[:boxes]):
        call[1][(seed + number) % boxes, 1 + (seed + 3 * number) % 4] = coordinate
    geometry = geometry_of(output_size, **arguments)
    kernels = load(PATH)
    kernels.dcnv3_host_order(order)
    try:
        found = run(kernels, call, geometry, deterministic=deterministic)
    finally:
        kernels.dcnv3_host_order(0)
    wanted = exact(call, geometry)
    assert all(tensor.dtype == dtype for tensor in found)
    assert torch.equal(found[0].isnan(), wanted[0].isnan())
    if found[0].numel():
        assert_close(
            [tensor.nan_to_num() for tensor in found], [tensor.nan_to_num() for tensor in wanted],
            ROUNDING[dtype],
        )  # fmt: skip
    else:
        assert not found[1].any()


@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 3, 1 / 16])
def test_agrees_to_the_last_bit_of_positions(kernels, scale):
    """Whole bins and samples on the border's limit: one sample more or less is no rounding error."""
    feature = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    numbers = torch.arange(-4, 15)[None] / torch.tensor([scale, scale * 7, scale * 3])[:, None]
    corners = torch.cartesian_prod(numbers.flatten(), numbers.flatten()[::5]).double()
    rois = torch.cat([torch.zeros(len(corners), 1), corners[:, :1], corners[:, :1], corners[:, 1:]], dim=1)
    rois = torch.cat([rois, corners[:, 1:]], dim=1)
    for aligned in (True, False):
        geometry = geometry_of((2, 7), spatial_scale=scale, aligned=aligned)
        found = roi_align_cuda(feature, rois, geometry, library=kernels)
        wanted = roi_align_reference(feature.double(), rois, geometry)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("edge", [-1.0, 11.0])
def test_samples_a_pixel_outside_have_the_border_and_the_next_ones_nothing(kernels, edge):
    feature = torch.randn(1, 2, 9, 11, generator=torch.Generator().manual_seed(1)).abs() + 1
    place = torch.nextafter(torch.tensor(edge), torch.tensor(math.copysign(math.inf, edge)))
    rois = torch.tensor([[0.0, edge, 4, edge, 4], [0, place.item(), 4, place.item(), 4]]).double()
    rois[:, 1:] += 0.5
    found = roi_align_cuda(feature, rois, geometry_of((1, 1), sampling_ratio=1), library=kernels)
    torch.testing.assert_close(found[0, :, 0, 0], feature[0, :, 4, 0 if edge < 0 else 10])
    assert not found[1].any()


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("output_size", [(1, 1), (7, 7), (17, 19)], ids=str)
@pytest.mark.parametrize("channels", [1, 4, 70])
def test_blocks_of_many_and_few_channels_and_bins(kernels, channels, output_size, dtype):
    call = draw_call(3, output_size, size=(2, channels, 15, 20), boxes=5, dtype=dtype)
    geometry = geometry_of(output_size)
    for deterministic in (False, True):
        found = run(kernels, call, geometry, deterministic=deterministic)
        assert_close(found, exact(call, geometry), ROUNDING[dtype])


@pytest.mark.parametrize("sampling_ratio", [0, 1, 5])
def test_many_bins_of_less_than_a_pixel(kernels, sampling_ratio):
    """Pixels that many neighbouring bins share, also where the box is turned round."""
    call = draw_call(4, (40, 33), size=(1, 5, 6, 7), boxes=4, reach=0.9)
    call[1][2:] = call[1][2:, [0, 3, 4, 1, 2]]
    geometry = geometry_of((40, 33), sampling_ratio=sampling_ratio)
    assert_close(run(kernels, call, geometry), exact(call, geometry), 3e-5)


def test_boxes_that_are_no_place_or_of_no_image(kernels):
    """They are NaN and add nothing to gradients; a box far outside is 0."""
    feature, rois, gradient = draw_call(6, boxes=13, reach=0.9)
    bad = list(itertools.product((1, 4), (math.nan, math.inf, -math.inf)))
    bad += [(0, image) for image in (2, -1, 0.5, math.nan, 1e30)]
    for row, (column, number) in enumerate(bad, start=1):
        rois[row, column] = number
    rois[12, 1:] = torch.tensor([1e30, 1e30, 3e30, 3e30])
    gradient[1:12] = 1e30
    geometry = geometry_of()
    clean = exact((feature, rois[:1], gradient[:1]), geometry)
    for deterministic in (False, True):
        found, map_gradient = run(kernels, (feature, rois, gradient), geometry, deterministic=deterministic)
        assert found[1:12].isnan().all() and not found[12].any()
        assert_close([found[:1], map_gradient], clean, 2e-5)


def test_a_huge_box_ends_and_covers_the_map(kernels):
    feature, _, gradient = draw_call(7, (1, 1), size=(1, 3, 9, 11), boxes=2)
    rois = torch.tensor([[0.0, -1e9, -1e9, 1e9, 1e9], [0, -70, -70, 70, 70]])
    geometry = geometry_of((1, 1))
    found = run(kernels, (feature, rois, gradient), geometry)
    assert_close(found, exact((feature, rois, gradient), geometry), 2e-5)
    assert found[0][0].abs().max() < 1e-3 and found[0][1].all()


def test_pixels_without_a_weight_count_in_no_way(kernels):
    feature = torch.full((1, 5, 9, 11), math.nan)
    feature[0, :, 3:6, 2:8] = 1.5
    rois = torch.tensor([[0.0, 2.5, 3.5, 7.5, 5.5]])
    found = roi_align_cuda(feature, rois, geometry_of((2, 5), sampling_ratio=1), library=kernels)
    torch.testing.assert_close(found, torch.full((1, 5, 2, 5), 1.5))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("deterministic", [False, True])
def test_gradients_that_are_not_finite_stay_visible(kernels, bad, deterministic):
    call = draw_call(8, boxes=3, reach=0.8)
    call[1][:, 0] = 1
    call[2][1, 2, 0, 3] = bad
    found = run(kernels, call, geometry_of(), deterministic=deterministic)[1]
    assert found[0].isfinite().all() and found[1, :2].isfinite().all() and not found[1, 2].isfinite().all()
    call[2][1, 2, 0, 3] = 0
    fine = found.isfinite()
    wanted = exact(call, geometry_of())[1]
    torch.testing.assert_close(found[fine].double(), wanted[fine], rtol=1e-4, atol=1e-4)


def test_nothing_outside_is_read(kernels):
    feature, rois, gradient = draw_call(9, reach=4.0)
    guarded = []
    for tensor in (feature, rois.double(), gradient):
        memory = torch.full((tensor.numel() + 512,), math.nan, dtype=tensor.dtype)
        guarded.append(memory[256:-256].view(tensor.shape).copy_(tensor))
    wanted = run(kernels, (feature, rois, gradient), geometry_of(), deterministic=True)
    found = run(kernels, guarded, geometry_of(), deterministic=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, wanted, strict=True))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(("images", "boxes"), [(2, 0), (0, 0)])
def test_no_images_or_boxes(kernels, images, boxes, deterministic, dtype):
    call = draw_call(10, size=(images, 3, 5, 6), boxes=boxes, dtype=dtype)
    output, gradient = run(kernels, call, geometry_of(), deterministic=deterministic)
    assert output.shape == (0, 3, 3, 4)
    assert gradient.shape == (images, 3, 5, 6) and not gradient.any()


def test_tensors_without_contiguous_memory(kernels):
    feature, rois, gradient = draw_call(11)
    strided = (
        feature.to(memory_format=torch.channels_last),
        torch.cat([rois, rois], dim=1)[:, :5],
        gradient.transpose(2, 3).contiguous().transpose(2, 3),
    )
    assert not any(tensor.is_contiguous() for tensor in strided)
    wanted = run(kernels, (feature, rois, gradient), geometry_of())
    for mine, theirs in zip(run(kernels, strided, geometry_of()), wanted, strict=True):
        assert torch.equal(mine, theirs)


def test_deterministic_sums_do_not_depend_on_the_order(kernels):
    # Boxes over one place, so that many numbers meet in few sums.
    call = draw_call(5, (7, 7), size=(1, 9, 10, 12), boxes=40, reach=0.6)
    runs = {}
    for deterministic, order in itertools.product((True, False), ORDERS.values()):
        kernels.dcnv3_host_order(order)
        runs[deterministic, order] = run(kernels, call, geometry_of((7, 7)), deterministic=deterministic)
    kernels.dcnv3_host_order(0)
    assert all(torch.equal(found[0], runs[True, 0][0]) for found in runs.values())
    assert all(torch.equal(runs[True, order][1], runs[True, 0][1]) for order in ORDERS.values())
    assert not all(torch.equal(runs[False, order][1], runs[False, 0][1]) for order in ORDERS.values())


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_deterministic_sums_at_any_scale(kernels, scale):
    feature, rois, gradient = draw_call(12)
    plain = run(kernels, (feature, rois, gradient * scale), geometry_of())[1]
    fixed = run(kernels, (feature, rois, gradient * scale), geometry_of(), deterministic=True)[1]
    assert (plain - fixed).abs().max() <= 1e-6 * plain.abs().max()
    assert not run(kernels, (feature, rois, gradient * 0), geometry_of(), deterministic=True)[1].any()


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (5, 6, 2, 3), (3, 1, 1, 2)], ids=str)
def test_deterministic_sums_where_one_gradient_is_by_far_the_largest(kernels, place):
    """Wherever it is, the unit of the sums follows from it."""
    feature, rois, gradient = draw_call(15, size=(2, 7, 9, 11), reach=0.9)
    gradient *= 1e-12
    gradient[place] = 1e12
    call = (feature, rois, gradient)
    assert_close(run(kernels, call, geometry_of(), deterministic=True), exact(call, geometry_of()), 2e-5)


def test_the_setting_of_pytorch_chooses_deterministic_sums(kernels):
    feature, rois, gradient = call = draw_call(13, (7, 7), boxes=30, reach=0.6)
    size, geometry = (feature.shape[0], *feature.shape[2:]), geometry_of((7, 7))
    kernels.dcnv3_host_order(2)
    torch.use_deterministic_algorithms(True)
    try:
        chosen = roi_align_cuda_backward(gradient, rois, size, geometry, library=kernels)
    finally:
        torch.use_deterministic_algorithms(False)
        kernels.dcnv3_host_order(0)
    wanted, other = (run(kernels, call, geometry, deterministic=choice)[1] for choice in (True, False))
    assert torch.equal(chosen, wanted) and not torch.equal(chosen, other)
