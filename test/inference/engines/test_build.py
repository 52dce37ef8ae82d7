"""What TensorRT is told while a plan is built, on a fake. `test_build_real.py` builds for real."""

import pytest
from support.engines import fake_toolkit

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.build import BuildOptions
from internimage_perception.inference.engines.graph_choice import choose_graph
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.engines.tensorrt_module import (
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
