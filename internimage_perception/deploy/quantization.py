"""int8 by explicit quantisation: Q/DQ nodes before convolutions and linear layers, scales from frames."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from internimage_perception.deploy.dcnv3_function import NAME
from internimage_perception.deploy.tracing import INPUT

_OPTIONS = {
    # TensorRT knows no zero points and no quantised biases, and wants weights in their own type with a pair
    # of Q and DQ, one for each reader of a value.
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": ["Conv", "MatMul", "Gemm"],
}


def quantize(
    model: onnx.ModelProto, batches: Sequence[npt.NDArray[np.uint8]], folder: Path, *, large: bool = False
) -> onnx.ModelProto:
    """Return an exported float32 graph with Q/DQ pairs in front of its convolutions and linear layers.

    Weights get one scale per output channel, activations one each, the largest magnitude seen; all are
    symmetric. Everything else stays float32: DCNv3, softmax, layer norms, resizing, sums.

    Args:
        model: the graph, its weights plain initialisers; changed.
        batches: frames, uint8 (N, H, W, 3), as the graph takes them.
        folder: for files in between.
        large: the weights are too many for one file.
    """
    # The quantiser does not look into functions: without a type it would leave what follows DCNv3 alone.
    for node in model.graph.node:
        if node.op_type == NAME:
            kind = helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
            model.graph.value_info.append(kind)
    before, after = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(model, before, save_as_external_data=large, location="float.data")
    layers = _layers(model.graph)
    with _quiet_quantizer():
        quantize_static(
            before,
            after,
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            nodes_to_quantize=layers,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=large,
            extra_options=_OPTIONS,
        )
    quantized: onnx.ModelProto = onnx.load(after)
    del quantized.graph.value_info[:]
    _spare_others(quantized.graph, set(layers))
    return quantized


class _Reader(CalibrationDataReader):
    """Hands the frames to the quantiser, one batch after the other."""

    def __init__(self, batches: Sequence[npt.NDArray[np.uint8]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _layers(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that multiply by weights.

    Pooling to a few regions is written as products too, of a fixed matrix from the left and one from the
    right; these averages stay exact.
    """
    constants = {tensor.name for tensor in graph.initializer}
    averages = {n.output[0] for n in graph.node if n.op_type == "MatMul" and n.input[0] in constants}
    return [
        node.name
        for node in graph.node
        if node.op_type in {"Conv", "MatMul", "Gemm"}
        and node.input[1] in constants
        and not averages & {node.input[0], node.output[0]}
    ]


def _spare_others(graph: onnx.GraphProto, layers: set[str]) -> None:
    """Let nodes that are not quantised read the values themselves.

    The quantiser gives a value's only pair to all that read it, residual sums and the like too.
    """
    writers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.name in layers or node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        for index, name in enumerate(node.input):
            writer = writers.get(name)
            if writer is not None and writer.op_type == "DequantizeLinear":
                node.input[index] = writers[writer.input[0]].input[0]


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Keep advice of the quantiser on preparing a model from the user: this one is prepared."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
