"""What NVIDIA's ONNX parser makes of a plugin node: TensorRT-RTX parses on the CPU and asks a recorder."""

import platform
import sys

import pytest
from onnx import TensorProto, helper

from internimage_perception.deploy.dcnv3_function import (
    DOMAIN,
    INTEGER_ATTRIBUTES,
    NAME,
    OPSET,
    dcnv3_attributes,
    dcnv3_function,
)

# requirements/tensorrt_rtx.txt names the same platform.
if sys.platform != "linux" or platform.machine() != "x86_64":
    pytest.skip("no TensorRT-RTX for this platform", allow_module_level=True)
trt = pytest.importorskip("tensorrt_rtx_bindings")

ATTENTION = "MultiScaleDeformableAttention"


class Log(trt.ILogger):
    """Keeps what the parser says, and stays silent."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def log(self, severity, message):
        self.lines.append((severity, message))


LOG = Log()
"""TensorRT keeps the first log it is given for the whole process."""


class Recorder(trt.IPluginCreatorV3One):
    """A creator that announces fields, notes those it gets and makes nothing: RTX networks take no plugin."""

    def __init__(self, name, fields):
        super().__init__()
        self.name, self.plugin_version, self.plugin_namespace = name, "1", ""
        self.field_names = trt.PluginFieldCollection([trt.PluginField(*field) for field in fields])
        self.calls = []

    def create_plugin(self, name, fields, phase):
        self.calls.append((name, {f.name: (f.type, f.size, list(f.data)) for f in fields}, phase))
        raise RuntimeError("recorded")


def announced():
    """The fields of dcnv3_plugin/src/tensorrt, as its creators announce them."""
    integers = [(name, b"", trt.PluginFieldType.INT32) for name in INTEGER_ATTRIBUTES]
    return [*integers, ("offset_scale", b"", trt.PluginFieldType.FLOAT32)]


@pytest.fixture
def recorded():
    """Parse a model with a recorder registered; return the recorder and the parser's errors."""
    registry, registered = trt.get_plugin_registry(), []

    def parse(model, name, fields):
        recorder = Recorder(name, fields)
        assert registry.register_creator(recorder, "")
        registered.append(recorder)
        network = trt.Builder(LOG).create_network(0)
        parser = trt.OnnxParser(network, LOG)
        assert not parser.parse(model.SerializeToString())
        return recorder, [parser.get_error(i).desc() for i in range(parser.num_errors)]

    yield parse
    for recorder in registered:
        assert registry.deregister_creator(recorder)


def model_of(node, inputs, *, functions=()):
    """Return a model of one node with float inputs of the given shapes."""
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(node.input, inputs, strict=True)
    ]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", tensors, [output])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def dcnv3_node(**changes):
    attributes = dcnv3_attributes(
        kernel_size=(3, 5), stride=(2, 1), padding=(4, 6), dilation=(7, 8), group=9, group_channels=10,
        offset_scale=0.625, remove_center=True,
    )  # fmt: skip
    inputs = ["input", "offset", "mask"]
    return helper.make_node(NAME, inputs, ["output"], "layer", domain=DOMAIN, **(attributes | changes))


SHAPES = [[1, 40, 40, 90], [1, 17, 20, 252], [1, 17, 20, 126]]
"""Of input, offset and mask; the recorder makes no use of them."""


def test_every_attribute_arrives_as_the_plugin_reads_it(recorded):
    recorder, errors = recorded(model_of(dcnv3_node(), SHAPES), NAME, announced())
    assert len(recorder.calls) == 1, errors
    node, fields, phase = recorder.calls[0]
    assert "layer" in node
    assert phase == trt.TensorRTPhase.BUILD
    values = dict(zip(INTEGER_ATTRIBUTES, (3, 5, 2, 1, 4, 6, 7, 8, 9, 10, 1), strict=True))
    expected = {name: (trt.PluginFieldType.INT32, 1, [value]) for name, value in values.items()}
    assert fields == expected | {"offset_scale": (trt.PluginFieldType.FLOAT32, 1, [0.625])}
    # The parse ends with the creator's refusal, not with a node that it does not know.
    assert errors
    assert not any("Plugin not found" in error for error in errors)


def test_levels_arrive_as_one_field(recorded):
    sizes = [58, 100, 29, 50]
    node = helper.make_node(
        ATTENTION, ["value", "location", "weight"], ["output"], "attention", domain=DOMAIN,
        spatial_shapes=sizes, plugin_version="1", plugin_namespace="",
    )  # fmt: skip
    shapes = [[1, 7250, 8, 32], [1, 9, 8, 2, 4, 2], [1, 9, 8, 2, 4]]
    fields = [("spatial_shapes", b"", trt.PluginFieldType.INT32)]
    recorder, errors = recorded(model_of(node, shapes), ATTENTION, fields)
    assert len(recorder.calls) == 1, errors
    assert recorder.calls[0][1] == {"spatial_shapes": (trt.PluginFieldType.INT32, 4, sizes)}


def test_a_registered_plugin_comes_before_the_function_in_the_file(recorded):
    model = model_of(dcnv3_node(), SHAPES, functions=[dcnv3_function()])
    recorder, errors = recorded(model, NAME, announced())
    assert len(recorder.calls) == 1, errors


def test_another_version_is_not_found(recorded):
    """The parser asks for the version in the node: were it ignored, old libraries would take new graphs."""
    recorder, errors = recorded(model_of(dcnv3_node(plugin_version="2"), SHAPES), NAME, announced())
    assert not recorder.calls
    assert any("Plugin not found" in error for error in errors)
