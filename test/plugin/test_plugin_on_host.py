"""The TensorRT plugins, from a node's fields to the kernels, on the CPU: against official outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.cuda_on_host import ROUNDING
from support.dcnv3_calls import draw_call, geometry_of
from support.tensorrt_on_host import PATH, STATE, Plugin, RefusedError, load

from internimage_perception.deploy.dcnv3_function import (
    INTEGER_ATTRIBUTES,
    PLUGIN_ATTRIBUTES,
    dcnv3_attributes,
)
from internimage_perception.ops import dcnv3

GOLDEN = Path(__file__).parent.parent / "golden"
OPERATORS = sorted(GOLDEN.glob("dcnv3_op_*.npz"))
ATTENTION = sorted(GOLDEN.glob("msda_*.npz"))
ATTENTION_NAME = "MultiScaleDeformableAttention"

pytestmark = pytest.mark.skipif(PATH is None, reason="the native kernels are not built: no C++ compiler")


@pytest.fixture(scope="module")
def library():
    return load()


def node_of(geometry, per_group):
    """Return the fields that a parser makes of the exporter's attributes."""
    attributes = dcnv3_attributes(
        kernel_size=geometry.kernel_size, stride=geometry.stride, padding=geometry.padding,
        dilation=geometry.dilation, group=geometry.group, group_channels=per_group,
        offset_scale=float(geometry.offset_scale), remove_center=geometry.remove_center,
    )  # fmt: skip
    return {name: value for name, value in attributes.items() if name not in PLUGIN_ATTRIBUTES}


@pytest.mark.parametrize("path", OPERATORS, ids=lambda path: path.stem.removeprefix("dcnv3_op_"))
def test_dcnv3_reproduces_the_official_operator(library, path):
    stored = np.load(path)
    node = {name: int(stored[name]) for name in INTEGER_ATTRIBUTES}
    plugin = Plugin.create(library, "DCNv3", node | {"offset_scale": float(stored["offset_scale"])})
    inputs = [torch.from_numpy(stored[name]) for name in ("input", "offset", "mask")]
    found = plugin(*inputs)
    np.testing.assert_allclose(found, stored["output"], atol=2e-5, rtol=1e-5)
    # What an engine keeps makes the same plugin, in both forms that TensorRT hands it back; so does a copy.
    state = plugin.state()
    for again in (
        plugin.clone(),
        Plugin.restore(library, "DCNv3", state.tobytes()),
        Plugin.create(library, "DCNv3", {STATE: state}),
    ):
        assert torch.equal(again(*inputs), found)


@pytest.mark.parametrize("path", ATTENTION, ids=lambda path: path.stem)
def test_attention_reproduces_the_official_operator(library, path):
    stored = np.load(path)
    fields = {"spatial_shapes": stored["spatial_shapes"].reshape(-1)}
    plugin = Plugin.create(library, ATTENTION_NAME, fields)
    names = ("value", "sampling_locations", "attention_weights")
    inputs = [torch.from_numpy(stored[name]).float() for name in names]
    found = plugin(*inputs)
    np.testing.assert_allclose(found, stored["output"], atol=2e-5, rtol=1e-4)
    again = Plugin.restore(library, ATTENTION_NAME, plugin.state().tobytes())
    assert torch.equal(again(*inputs), found)


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("positions", [torch.float32, None], ids=["float32_positions", "same_type"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_every_type_is_computed_as_by_the_reference(library, dtype, positions, batch):
    geometry = geometry_of(kernel_size=3, stride=2, group=3)
    value, offset, mask, _ = draw_call(1, geometry, (9, 12), 8, batch=batch, dtype=dtype)
    offset, mask = (tensor.to(positions or dtype) for tensor in (offset, mask))
    found = Plugin.create(library, "DCNv3", node_of(geometry, 8))(value, offset, mask)
    wanted = dcnv3(
        value.double(), offset.double(), mask.double(), kernel_size=3, stride=2, padding=1, dilation=1,
        group=3, offset_scale=1.0, remove_center=False, implementation="reference",
    )  # fmt: skip
    assert found.dtype == dtype
    assert found.shape == wanted.shape
    if batch:
        assert (found.double() - wanted).abs().max() <= ROUNDING[dtype] * wanted.abs().max()


def test_attention_samples_half_types_at_exact_locations(library):
    """Locations in float32 beside values in float16: what the table of types allows is what is read."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 300 * 4, 2, 8, generator=generator).half()
    location = torch.rand(2, 7, 2, 1, 4, 2, generator=generator)
    weight = torch.rand(2, 7, 2, 1, 4, generator=generator)
    plugin = Plugin.create(library, ATTENTION_NAME, {"spatial_shapes": np.array([4, 300], np.int32)})
    found, wanted = plugin(value, location, weight), plugin(value.float(), location, weight)
    assert found.dtype == torch.float16
    assert (found.float() - wanted).abs().max() <= 2e-3 * wanted.abs().max()


def test_a_wrong_tensor_is_refused_with_its_size_and_what_it_should_be(library):
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, _ = draw_call(0, geometry, (6, 7), 4, dtype=torch.float32)
    plugin = Plugin.create(library, "DCNv3", node_of(geometry, 4))
    with pytest.raises(RefusedError, match=r"axis 3 of mask is 17, but group \* points is 18"):
        plugin(value, offset, mask[..., 1:].contiguous())
    # One row less than there is room for: the size that other plugins give for strides of 2.
    with pytest.raises(RefusedError, match="axis 1 of output is 5, but the output's size is 6"):
        plugin(value, offset, mask, out=torch.empty(2, 5, 7, 8))
    with pytest.raises(RefusedError, match="there are 2 inputs"):
        plugin.output_shape(value, offset)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stride_w": 0}, "stride_w is 0; give 1 to"),
        ({"offset_scale": np.array([1], np.int32)}, "offset_scale is not a float32"),
        ({"kernel_h": np.array([3.0], np.float32)}, "kernel_h is not an int32"),
        ({"im2col_step": 256}, "there is no field 'im2col_step'"),
        ({"group_channels": np.array([1 << 33], np.int64)}, "group_channels is 8589934592"),
    ],
)
def test_a_wrong_field_is_refused_by_name(library, changes, reason):
    node = node_of(geometry_of(kernel_size=3, group=2), 4)
    with pytest.raises(RefusedError, match=reason):
        Plugin.create(library, "DCNv3", node | changes)


def test_a_missing_field_is_named(library):
    node = node_of(geometry_of(kernel_size=3, group=2), 4)
    del node["dilation_w"]
    with pytest.raises(RefusedError, match="dilation_w is missing"):
        Plugin.create(library, "DCNv3", node)


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (0, 7, "no state of this plugin"),
        (1, 2, "version 2, this library reads 1; build the engine anew"),
        (2, 4, "words instead of 4"),
        (3, 2, "that of another plugin"),
        (9, 0, "kernel_w is 0|stride_h is 0"),
    ],
)
def test_an_engine_of_another_library_is_refused(library, word, value, reason):
    plugin = Plugin.create(library, "DCNv3", node_of(geometry_of(kernel_size=3, group=2), 4))
    state = plugin.state()
    state[word] = value
    with pytest.raises(RefusedError, match=reason):
        Plugin.restore(library, "DCNv3", state.tobytes())
    with pytest.raises(RefusedError, match=reason):
        Plugin.create(library, "DCNv3", {STATE: state})
