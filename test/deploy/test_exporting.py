"""Exports of every kind of network: files, types and sizes in them, and answers like PyTorch's."""

import platform
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnx.inliner
import pytest
import torch
from onnx import TensorProto
from support.exports import (
    CLASSIFIER,
    CLASSIFIER_LIKE_H,
    LIKE_H,
    LIKE_XL,
    SEGMENTOR,
    bundle_of,
    export,
    pictures,
)

from internimage_perception.deploy import ExportFrames, exporting
from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.backends.onnxruntime import OnnxRuntimeBackend
from internimage_perception.inference.backends.torch import TorchBackend, load_graph
from internimage_perception.inference.bundle import PLUGIN, PORTABLE, Bundle
from internimage_perception.inference.check_frames import CHECK, stored_check
from internimage_perception.resources import bundle_path

# name: network, precision, batch, height, width
EXPORTS = {
    "segmentor": (SEGMENTOR, "fp32", 1, 75, 131),
    "like H, half": (LIKE_H, "fp16", 4, 80, 110),
    "like XL, free": (LIKE_XL, "fp32", (1, 2, 4), (48, 75, 200), (48, 131, 200)),
    "segmentor, int8": (SEGMENTOR, "int8", 2, 75, 131),
    "classifier, half": (CLASSIFIER, "fp16", 1, 64, 96),
    "classifier like H, half, free": (CLASSIFIER_LIKE_H, "fp16", (1, 1, 4), 70, (32, 90, 128)),
}
TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3, "int8": 0.15}


class Exported:
    """An export of one of EXPORTS, made when first asked for."""

    def __init__(self, name, folder):
        network, self.precision, self.batch, self.height, self.width = EXPORTS[name]
        self.source = bundle_of(folder / "bundle", network)
        usual = [size if isinstance(size, int) else size[1] for size in (self.height, self.width)]
        frames = pictures(6, *usual)
        given = ExportFrames({"given": frames[4:]}, frames[:4] if self.precision == "int8" else ())
        sizes = (self.batch, self.height, self.width)
        self.bundle = export(self.source, folder / "export", self.precision, *sizes, given)

    @property
    def shapes(self):
        """Shapes of frames the export takes: the least, the usual and the most."""
        sizes = [(size,) * 3 if isinstance(size, int) else size for size in self.sizes]
        return sorted({tuple(size[k] for size in sizes) for k in range(3)})

    @property
    def sizes(self):
        return self.batch, self.height, self.width

    def model(self, name):
        return onnx.load(self.bundle.root / name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the export of a name, each made once."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = Exported(name, tmp_path_factory.mktemp("export"))
        return found[name]

    return get


@pytest.fixture(params=EXPORTS)
def exported(request, made):
    return made(request.param)


def test_answers_like_pytorch(exported):
    """At the sizes between which the export is free, by the backends that vehicles run."""
    own, other = TorchBackend(exported.source, device="cpu"), OnnxRuntimeBackend(exported.bundle)
    for shape in exported.shapes:
        frames = np.stack(pictures(shape[0], *shape[1:], seed=3))
        expected, answer = own.run(frames), other.run(frames)
        assert {name: (item.shape, item.dtype) for name, item in answer.items()} == {
            name: (item.shape, item.dtype) for name, item in expected.items()
        }
        if "confidence" in expected:
            # Classes change only where PyTorch was as unsure.
            limit = {"fp32": 0.9999, "fp16": 0.98, "int8": 0.8}[exported.precision]
            assert (answer["class_ids"] == expected["class_ids"]).mean() >= limit
        else:
            error = np.abs(np.sort(answer["probabilities"]) - np.sort(expected["probabilities"]))
            assert error.max() < {"fp32": 1e-5, "fp16": 5e-3}[exported.precision]


def test_the_figures_are_stored(exported):
    spec = Bundle.load(exported.bundle.root).export
    assert spec.precision == exported.precision
    assert spec.agreement == exported.bundle.export.agreement
    logits = spec.agreement["logits"]
    assert 0 < logits["given_relative_difference"] < TOLERANCE[exported.precision]
    assert spec.agreement["class_ids"]["given_identical"] > 0.8
    rounded = [name for name in logits if "rounded" in name]
    assert bool(rounded) == (exported.precision == "fp16")
    if rounded:
        assert logits["given_rounded_relative_rms"] < TOLERANCE["fp16"]
        assert 0.1 < logits["given_largest_value"] < 1000


def test_two_graphs_of_the_same_nodes(exported):
    portable, plugin = exported.model(PORTABLE), exported.model(PLUGIN)
    assert [function.name for function in portable.functions] == ["DCNv3"]
    assert not plugin.functions
    assert portable.graph == plugin.graph
    nodes = [node for node in plugin.graph.node if node.op_type == "DCNv3"]
    assert len(nodes) == sum(exported.source.architecture["depths"])
    attributes = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in nodes[0].attribute
    }
    assert attributes["plugin_version"] == b"1"
    assert attributes["plugin_namespace"] == b""
    assert {node.domain for node in plugin.graph.node if node.op_type != "DCNv3"} == {""}
    assert sorted(exported.bundle.files)[-2:] == [PLUGIN, PORTABLE]
    assert not (exported.bundle.root / "weights.safetensors").exists()


def test_frames_and_answers_travel_along(exported):
    check = stored_check(exported.bundle)
    assert check.frames.dtype == np.uint8 and len(check.frames) in {1, 2}
    assert check.frames.std() > 10
    graph = load_graph(exported.source)
    assert list(check.answers) == list(graph.outputs)
    for index, frame in enumerate(check.frames):
        with torch.inference_mode():
            answers = graph(torch.from_numpy(frame[None]))
        for name, answer in zip(graph.outputs, answers, strict=True):
            np.testing.assert_array_equal(check.answers[name][index], answer.numpy()[0])


def test_fixed_sizes_leave_no_arithmetic_of_shapes(exported):
    graph = exported.model(PLUGIN).graph
    shape = graph.input[0].type.tensor_type.shape.dim
    sizes = [dim.dim_value or None for dim in shape]
    assert sizes == [size if isinstance(size, int) else None for size in exported.sizes] + [3]
    kinds = {value.type.tensor_type.elem_type for value in (graph.input[0], *graph.output)}
    masks = exported.source.task == "segmentation"
    assert kinds == (
        {TensorProto.UINT8} if masks else {TensorProto.UINT8, TensorProto.INT32, TensorProto.FLOAT}
    )
    if None in sizes:
        return
    for output in graph.output:
        assert all(dim.dim_value for dim in output.type.tensor_type.shape.dim)
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        assert node.op_type not in {"Shape", "Size", "Range", "ConstantOfShape", "NonZero", "Where"}
        if node.op_type in {"Reshape", "Slice", "Resize", "Unsqueeze", "Expand", "Tile"}:
            assert all(name in constants or not name for name in node.input[1:])


def types(model):
    """Return the type of every value of a graph. Raises where an operator's inputs do not fit each other."""
    inlined = onnx.inliner.inline_local_functions(model)
    inferred = onnx.shape_inference.infer_shapes(inlined, check_type=True, strict_mode=True).graph
    values = {
        value.name: value.type.tensor_type.elem_type
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    return values | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def test_half_precision_is_written_down(made):
    """Weights as they are stored in bundles; float32 only where float16 is too coarse."""
    model = made("like H, half").model(PORTABLE)
    kinds, half, single = types(model), TensorProto.FLOAT16, TensorProto.FLOAT
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        read = {kinds[name] for name in node.input if name in kinds} & {half, single}
        if node.op_type in {"Conv", "MatMul", "DCNv3", "Erf", "Relu", "Sigmoid"}:
            assert read == {half}, node
        if node.op_type in {"LayerNormalization", "Softmax", "ArgMax", "Exp"}:
            assert read == {single}, node
        if node.op_type == "Cast":
            assert node.input[0] not in constants
        elif node.op_type != "Resize":
            assert len(read) <= 1, node
    large = [
        tensor for tensor in model.graph.initializer if ".weight" in tensor.name and len(tensor.dims) > 1
    ]
    assert large
    assert {tensor.data_type for tensor in large} == {half}


def test_single_precision_holds_its_weights_as_they_are(made):
    graph = made("segmentor").model(PLUGIN).graph
    constants = {tensor.name for tensor in graph.initializer}
    assert not any(node.op_type == "Cast" and node.input[0] in constants for node in graph.node)


def test_int8_quantises_convolutions_and_linear_layers(made):
    graph = made("segmentor, int8").model(PLUGIN).graph
    writers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    layers = 0
    for node in graph.node:
        sources = [writers[name].op_type for name in node.input if name in writers]
        if node.op_type in {"Conv", "MatMul"} and "DequantizeLinear" in sources:
            layers += 1
            assert sources == ["DequantizeLinear"] * 2
            scale = constants[writers[writers[node.input[1]].input[0]].input[1]]
            assert len(scale.dims) == 1
            assert np.prod(scale.dims) > 1
        elif node.op_type != "DequantizeLinear":
            assert "DequantizeLinear" not in sources, node
    # Stem 2, stages down 3, heads 13 convolutions; each block a depthwise one and six linear layers.
    assert layers == 18 + 4 * 7
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            assert not onnx.numpy_helper.to_array(constants[node.input[2]]).any()


def test_other_sizes_and_numbers_of_frames(made):
    backend = OnnxRuntimeBackend(made("like H, half").bundle)
    assert backend.prefers_batch
    frames = np.stack(pictures(6, 80, 110))
    together = backend.run(frames)["class_ids"]
    apart = np.concatenate([backend.run(frames[k : k + 1])["class_ids"] for k in range(6)])
    assert together.shape == (6, 64, 96)
    assert (together == apart).mean() > 0.999
    with pytest.raises(BackendError, match=r"of 100x90 pixels .* takes 110x80; .*--height 90 --width 100"):
        backend.run(np.zeros((1, 90, 100, 3), np.uint8))
    partly = OnnxRuntimeBackend(made("classifier like H, half, free").bundle)
    with pytest.raises(BackendError, match=r"of 90x60 pixels .* takes widths \d+ to \d+ and heights 70;"):
        partly.run(np.zeros((1, 60, 90, 3), np.uint8))


def test_an_export_runs_without_weights_and_says_so(made, tmp_path):
    bundle = made("segmentor").bundle
    assert create_backend("auto", bundle).name.startswith("onnxruntime")
    with pytest.raises(BackendError, match=r"is an export, .*onnxruntime or tensorrt"):
        create_backend("torch", bundle)
    with pytest.raises(BackendError, match="take the bundle it was exported from"):
        export(bundle, tmp_path / "again", "fp32", 1, 64, 96)
    assert bundle.provenance["exported_from"] == made("segmentor").source.identity()


def test_the_shipped_network_in_half_precision(tmp_path):
    bundle = Bundle.load(bundle_path("nano"))
    small = replace(bundle, input=replace(bundle.input, height=120, width=160))
    agreement = export(small, tmp_path / "export", "fp16", 1, 240, 320).export.agreement
    assert agreement["class_ids"]["noise_rounded_identical"] > 0.999
    assert agreement["logits"]["noise_rounded_relative_difference"] < 5e-3


def too_large(model):
    """Give one layer values beyond float16, and let the next one bring them back."""
    with torch.no_grad():
        layer = model.backbone.levels[1].blocks[0].mlp
        layer.fc1.weight.mul_(1e7).clamp_(-6e4, 6e4)
        layer.fc2.weight.mul_(1e-5)


def test_values_beyond_float16_are_named(tmp_path):
    bundle = bundle_of(tmp_path / "bundle", SEGMENTOR, change=too_large)
    with pytest.raises(BundleError, match=r"65504, and backbone.levels.1.blocks.0.mlp.fc1 .*precision fp32"):
        export(bundle, tmp_path / "export", "fp16", 1, 64, 96)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_graph_that_answers_differently_is_not_kept(made, tmp_path, monkeypatch):
    def shifted(*_):
        model = made("segmentor").model(PORTABLE)
        norm = next(tensor for tensor in model.graph.initializer if tensor.name == "mean")
        values = onnx.numpy_helper.to_array(norm) * np.float32(1.05)
        norm.CopyFrom(onnx.numpy_helper.from_array(values, norm.name))
        return model

    monkeypatch.setattr(exporting, "trace", shifted)
    with pytest.raises(BundleError, match=r"on noise frames the fp32 graph answers differently .* logits"):
        export(made("segmentor").source, tmp_path / "export", "fp32", 1, 75, 131)
    assert not list(tmp_path.iterdir())


def test_folders_are_replaced_only_when_asked(made, tmp_path):
    bundle = made("segmentor").source
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="already exists"):
        export(bundle, tmp_path / "mine", "fp32", 1, 64, 96)
    with pytest.raises(BundleError, match="is no bundle"):
        export(bundle, tmp_path / "mine", "fp32", 1, 64, 96, overwrite=True)
    with pytest.raises(ConfigError, match="int8 takes its scales from real frames"):
        export(bundle, tmp_path / "new", "int8", 1, 64, 96)


def test_large_weights_lie_beside_both_graphs(made, tmp_path, monkeypatch):
    """And answer as before. int8 goes through files of its own, which cannot hold them either."""
    small = made("segmentor")
    frames = pictures(6, 75, 131)
    given = ExportFrames({"given": frames[4:]}, frames[:4])
    monkeypatch.setattr(exporting, "trace", lambda *_: small.model(PORTABLE))
    arguments = ("int8", 1, 75, 131, given)
    together = export(small.source, tmp_path / "together", *arguments)
    monkeypatch.setattr(exporting, "_TOGETHER", 20_000)
    apart = export(small.source, tmp_path / "apart", *arguments)
    assert set(apart.files) == {PORTABLE, PLUGIN, "weights.data", CHECK}
    assert (apart.root / PLUGIN).stat().st_size < 0.5 * (together.root / PLUGIN).stat().st_size
    batch = np.stack(pictures(1, 75, 131, seed=5))
    answers = [OnnxRuntimeBackend(item).run(batch) for item in (together, apart)]
    assert all(np.array_equal(answers[0][name], answers[1][name]) for name in answers[0])


# requirements/tensorrt_rtx.txt names the same platform.
on_this_platform = sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.mark.skipif(not on_this_platform, reason="no TensorRT-RTX for this platform")
def test_tensorrt_takes_every_export(exported):
    """NVIDIA's parser and builder, on the CPU: they check every type, and shapes at the ranges' ends."""
    import tensorrt_rtx_bindings as trt  # noqa: PLC0415 - not on every platform
    from support.rtx_log import LOG  # noqa: PLC0415 - stands on the former

    builder = trt.Builder(LOG)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, LOG)
    parsed = parser.parse((exported.bundle.root / PORTABLE).read_bytes())
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    spec = exported.bundle.export
    if not spec.fixed:
        profile = builder.create_optimization_profile()
        ranges = [(*shape, 3) for shape in zip(spec.batch, spec.height, spec.width, strict=True)]
        profile.set_shape("images", *ranges)
        config.add_optimization_profile(profile)
    kinds = Counter(network.get_output(i).dtype for i in range(network.num_outputs))
    assert network.get_input(0).dtype == trt.DataType.UINT8
    if exported.source.task == "segmentation":
        assert kinds == {trt.DataType.UINT8: 2}
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    assert engine.nbytes > 10_000
