"""DCNv3 as ONNX function, run by ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, inliner

from internimage_perception.deploy.dcnv3_function import (
    DOMAIN,
    NAME,
    OPSET,
    PLUGIN_ATTRIBUTES,
    dcnv3_attributes,
    dcnv3_function,
    register_schema,
)
from internimage_perception.ops import dcnv3

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("dcnv3_op_*.npz"))
TYPES = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def one_node_model(attributes, kind, channels):
    """Return a graph of one DCNv3 node whose sizes are free."""
    register_schema()
    node = helper.make_node(NAME, ["input", "offset", "mask"], ["output"], domain=DOMAIN, **attributes)
    tensor = lambda name, last: helper.make_tensor_value_info(
        name, TYPES[kind], [f"{name}_{axis}" for axis in "nhw"] + [last]
    )
    inputs = [tensor(name, None) for name in ("input", "offset", "mask")]
    graph = helper.make_graph([node], "graph", inputs, [tensor("output", channels)])
    return helper.make_model(
        graph,
        functions=[dcnv3_function()],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=9,
    )


def run(model, tensors):
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(("input", "offset", "mask"), tensors, strict=True)))[0]


def attributes_of(stored):
    pair = lambda key: (int(stored[f"{key}_h"]), int(stored[f"{key}_w"]))
    return dcnv3_attributes(
        kernel_size=pair("kernel"),
        stride=pair("stride"),
        padding=pair("pad"),
        dilation=pair("dilation"),
        group=int(stored["group"]),
        group_channels=int(stored["group_channels"]),
        offset_scale=float(stored["offset_scale"]),
        remove_center=bool(stored["remove_center"]),
    )


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem.removeprefix("dcnv3_op_"))
def test_agrees_with_the_official_operator(path):
    stored = np.load(path)
    tensors = [stored[name] for name in ("input", "offset", "mask")]
    output = run(one_node_model(attributes_of(stored), np.float32, tensors[0].shape[3]), tensors)
    np.testing.assert_allclose(output, stored["output"], atol=2e-5, rtol=1e-5)


def test_half_precision_samples_in_single():
    """On a map 800 wide, positions rounded to float16 would miss by up to half a pixel."""
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(1, 4, 800, 8, generator=generator).half(),
        torch.randn(1, 4, 800, 36, generator=generator).half(),
        torch.rand(1, 4, 800, 18, generator=generator).half(),
    ]
    attributes = dcnv3_attributes(
        kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), group=2, group_channels=4,
        offset_scale=1.0, remove_center=False,
    )  # fmt: skip
    output = run(one_node_model(attributes, np.float16, 8), [tensor.numpy() for tensor in tensors])
    expected = dcnv3(*(tensor.float() for tensor in tensors), kernel_size=3, group=2).numpy()
    assert output.dtype == np.float16
    error = np.abs(output - expected)
    assert error.max() < 4e-3
    assert error.mean() < 5e-4


def test_inlined_by_the_onnx_package_it_is_standard_operators_with_the_same_result():
    stored = np.load(GOLDEN[0])
    tensors = [stored[name] for name in ("input", "offset", "mask")]
    model = one_node_model(attributes_of(stored), np.float32, tensors[0].shape[3])
    inlined = inliner.inline_local_functions(model)
    assert {node.domain for node in inlined.graph.node} == {""}
    assert not inlined.functions
    assert np.array_equal(run(inlined, tensors), run(model, tensors))


def test_carries_what_a_plugin_is_looked_up_by():
    stored = np.load(GOLDEN[0])
    model = one_node_model(attributes_of(stored), np.float32, None)
    attributes = {item.name: helper.get_attribute_value(item) for item in model.graph.node[0].attribute}
    for name, value in PLUGIN_ATTRIBUTES.items():
        assert attributes[name].decode() == value
    assert set(dcnv3_function().attribute) == set(attributes)


def test_registering_twice_is_harmless():
    register_schema()
    register_schema()
    assert onnx.defs.has(NAME, 1, DOMAIN)
