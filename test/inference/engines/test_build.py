"""Building plans: the calls on a fake, and the shipped model in the real TensorRT-RTX, which needs no GPU."""

import logging
import re

import onnx
import pytest
from support.engines import fake_toolkit

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.build import BuildOptions, PlanBuilder
from internimage_perception.inference.engines.graph_choice import GraphChoice, GraphFile, choose_graph
from internimage_perception.inference.engines.profile import Profile, profile_of
from internimage_perception.inference.engines.tensorrt_module import (
    MessageFilter,
    make_logger,
    parse_version,
)

SMALL = Profile((1, 1, 2), (32, 64, 96), (32, 96, 128))
TEN = parse_version("10.3.0")


def choice(bundle="nano", library=None):
    return choose_graph(Bundle.load(bundle), TEN, library)


class TestCalls:
    """What TensorRT is told, on the fake."""

    @pytest.mark.parametrize(
        ("version", "precision", "flags", "switched"),
        [
            ("8.6.1", "fp32", 1 << 0, []),
            ("8.6.1", "fp16", 1 << 0, ["fp16"]),
            ("8.6.1", "int8", 1 << 0, ["fp16", "int8"]),
            ("10.3.0", "fp32", 1 << 1, []),
            ("10.3.0", "fp16", 1 << 1, []),
            ("11.1.0", "int8", 1 << 1, []),
        ],
    )
    def test_types_come_from_the_graph_from_tensorrt_10_on(self, version, precision, flags, switched):
        toolkit = fake_toolkit(version)
        toolkit.builder().build(choice(), SMALL, precision, BuildOptions())
        assert (toolkit.trt.built[0]["flags"], toolkit.trt.built[0]["set"]) == (flags, switched)

    def test_a_flag_that_went_is_no_flag(self):
        toolkit = fake_toolkit("11.1.0")
        del toolkit.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        toolkit.builder().build(choice(), SMALL, "fp16", BuildOptions())
        assert toolkit.trt.built[0]["flags"] == 0

    def test_graph_path_profile_and_workspace_arrive(self, tmp_path):
        toolkit = fake_toolkit()
        graph = choice(library=tmp_path / "x.so")
        toolkit.builder().build(graph, SMALL, "fp32", BuildOptions(workspace=1 << 20))
        built = toolkit.trt.built[0]
        assert built["content"] == graph.content()
        assert built["path"] == str(graph.file.path)
        assert built["shapes"] == ((1, 32, 32, 3), (1, 64, 96, 3), (2, 96, 128, 3))
        assert built["workspace"] == 1 << 20

    def test_fixed_graphs_need_no_profile_and_take_no_other(self):
        toolkit = fake_toolkit(fixed=True)
        fixed = Profile((4, 4, 4), (48, 48, 48), (64, 64, 64))
        toolkit.builder().build(choice(), fixed, "fp32", BuildOptions())
        assert toolkit.trt.built[0]["shapes"] is None
        with pytest.raises(BackendError, match=r"takes frames \(4, 48, 64, 3\).*which are not 1 to 2 frames"):
            toolkit.builder().build(choice(), SMALL, "fp32", BuildOptions())

    @pytest.mark.parametrize(("known", "used"), [(None, ""), (b"mine", "mine"), (b"foreign", "")])
    def test_kernel_timings_are_read_and_written(self, tmp_path, known, used):
        toolkit = fake_toolkit()
        path = tmp_path / "folder" / "timing.cache"
        if known:
            path.parent.mkdir()
            path.write_bytes(known)
        toolkit.builder().build(choice(), SMALL, "fp32", BuildOptions(timing_cache=path))
        assert toolkit.trt.built[0]["known"] == used
        assert path.read_bytes() == used.encode() + b"+timings"

    def test_refusals_say_why(self):
        toolkit = fake_toolkit()
        toolkit.trt.parse_error = "unsupported operator"
        with pytest.raises(
            BackendError, match=r"TensorRT 10\.3\.0 refuses .*onnx: unsupported operator \(node 7\)"
        ):
            toolkit.builder().build(choice(), SMALL, "fp32", BuildOptions())
        toolkit.trt.parse_error, toolkit.trt.build_error = "", "out of memory"
        with pytest.raises(BackendError, match=r"found no engine for .*fp32, 1 to 2 frames.*: out of memory"):
            toolkit.builder().build(choice(), SMALL, "fp32", BuildOptions())

    def test_a_builder_that_does_not_start_is_said(self):
        toolkit = fake_toolkit()

        def missing(logger):
            logger.log(toolkit.trt.ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

        toolkit.trt.Builder = missing
        with pytest.raises(
            BackendError, match=r"cannot start: CUDA initialization failure with error: 35; is there"
        ):
            toolkit.builder().build(choice(), SMALL, "fp32", BuildOptions())


rtx = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")


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
def messages():
    return MessageFilter()


@pytest.fixture(scope="module")
def builder(messages):
    return PlanBuilder(rtx, make_logger(rtx, messages), messages)


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
