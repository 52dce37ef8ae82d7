"""Building plans for real: TensorRT-RTX parses and builds without a GPU."""

import logging
import platform
import re
import sys

import onnx
import pytest

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.build import BuildOptions, PlanBuilder
from internimage_perception.inference.engines.graph_choice import GraphChoice, GraphFile, choose_graph
from internimage_perception.inference.engines.profile import Profile, profile_of
from internimage_perception.inference.engines.tensorrt_module import (
    parse_version,
    shared_logger,
)

SMALL = Profile((1, 1, 2), (32, 64, 96), (32, 96, 128))
TEN = parse_version("10.3.0")


def choice(bundle="nano", library=None):
    return choose_graph(Bundle.load(bundle), TEN, library)


# requirements/tensorrt_rtx.txt names the same platform.
if sys.platform != "linux" or platform.machine() != "x86_64":
    pytest.skip("no TensorRT-RTX for this platform", allow_module_level=True)
rtx = pytest.importorskip("tensorrt_rtx_bindings")


NAMES = {
    "Builder": "create_network create_builder_config create_optimization_profile build_serialized_network",
    "OnnxParser": "parse num_errors get_error",
    "ParserError": "desc node node_name",
    "INetworkDefinition": "num_inputs get_input",
    "IOptimizationProfile": "set_shape",
    "IBuilderConfig": "set_flag set_memory_pool_limit add_optimization_profile create_timing_cache "
    "set_timing_cache get_timing_cache",
    "ITimingCache": "serialize",
    "IHostMemory": "nbytes",
    "Runtime": "deserialize_cuda_engine",
    "ICudaEngine": "num_io_tensors get_tensor_name get_tensor_mode get_tensor_dtype get_tensor_shape "
    "create_execution_context",
    "IExecutionContext": "set_input_shape get_tensor_shape set_tensor_address execute_async_v3",
    "IPluginRegistry": "load_library get_creator",
    "ILogger": "INTERNAL_ERROR ERROR WARNING log",
    "MemoryPoolType": "WORKSPACE",
    "NetworkDefinitionCreationFlag": "STRONGLY_TYPED",
    "TensorIOMode": "INPUT",
    "DataType": "FLOAT HALF INT8 UINT8 INT32 INT64 BOOL",
}
"""What `engines` uses of TensorRT, as far as TensorRT-RTX shares it."""


@pytest.fixture(scope="module")
def builder():
    messages, logger = shared_logger(rtx)
    return PlanBuilder(rtx, logger, messages)


@pytest.fixture(scope="module")
def small_graph(tmp_path_factory):
    """A graph of few nodes that takes frames of any size."""
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=kinds.FLOAT),
        helper.make_node("ReduceMax", ["floats", "axis"], ["greatest"], keepdims=0),
        helper.make_node("Cast", ["greatest"], ["class_ids"], to=kinds.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", kinds.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("class_ids", kinds.UINT8, ["n", "h", "w"])],
        [helper.make_tensor("axis", kinds.INT64, [1], [3])],
    )
    path = tmp_path_factory.mktemp("small") / "portable.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return GraphChoice(GraphFile.read(path), "standard")


def without_gpu(config):
    """Say what a GPU would be asked for, and build as fast as can be."""
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM86, 0)
    config.builder_optimization_level = 0


class TestRealParserAndBuilder:
    """TensorRT-RTX: a sibling of TensorRT 11 that builds without a GPU. It says nothing about speed."""

    def test_the_shipped_model_becomes_a_plan(self, builder, caplog):
        """Its weights are read from the file beside it."""
        fixed = Profile((1, 1, 1), (64, 64, 64), (96, 96, 96))
        with caplog.at_level(logging.INFO):
            plan = builder.build(choice(), fixed, "fp32", BuildOptions(1 << 28, configure=without_gpu))
        weights = GraphFile.read(choice().file.path).path.parent / "weights.safetensors"
        # Halves there, singles here.
        assert plan.nbytes > 1.5 * weights.stat().st_size
        assert len(bytes(plan)) == plan.nbytes
        # Hundreds of lines on the function's nodes are not passed on.
        assert [item.levelno for item in caplog.records] == [logging.WARNING, logging.INFO]

    def test_sizes_may_vary(self, builder, small_graph):
        profile = profile_of(Bundle.load("nano"))
        plan = builder.build(small_graph, profile, "fp32", BuildOptions(configure=without_gpu))
        assert plan.nbytes > 0

    def test_without_its_function_the_graph_asks_for_the_plugin(self, builder, tmp_path):
        """So nothing of the function was left, and everything else parses, weights included."""
        asked = choice(library=tmp_path / "x.so")
        with pytest.raises(BackendError, match=r"(?i)plugin not found") as caught:
            builder.build(asked, SMALL, "fp32", BuildOptions(configure=without_gpu))
        assert re.search(r"\(node_dcnv3, node_dcnv3_1, node_dcnv3_2 and \d+ more\)", str(caught.value))

    def test_operators_that_do_not_take_bytes_are_named(self, builder, brightness_bundle):
        with pytest.raises(BackendError, match=r"refuses .*portable\.onnx: .*UINT8"):
            builder.build(choice(brightness_bundle), SMALL, "fp32", BuildOptions(configure=without_gpu))

    @pytest.mark.parametrize("kind", NAMES)
    def test_the_names_in_use_are_there(self, kind):
        assert [name for name in NAMES[kind].split() if not hasattr(getattr(rtx, kind), name)] == []
