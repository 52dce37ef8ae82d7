"""Writing the deployed graph as one portable ONNX file."""

import copy
import hashlib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnxscript import ir
from onnxscript.values import Opset
from torch import nn

from internimage_perception.deploy.dcnv3_function import (
    DOMAIN,
    NAME,
    OPSET,
    dcnv3_attributes,
    dcnv3_function,
    register_schema,
)
from internimage_perception.deploy.selfcheck import OutputAgreement, check_export
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.files import atomic_path
from internimage_perception.models.deployed import DeployedSegmentation

INPUT = "images"
OUTPUTS = ("class_ids", "confidence")
_PROTOBUF_LIMIT = 2**31 - 1
_ACCEPTED = 0.999
"""Least share of equal class ids: near-ties between classes fall either way, anything more is an error."""
_HALF_FROM = 256
"""Initialisers with fewer values stay float32: nothing to gain, and biases are wanted as constants."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how well it answers.

    Attributes:
        path: the file.
        sha256: its checksum.
        size: its length in bytes.
        agreements: each output against PyTorch, on random frames in ONNX Runtime.
    """

    path: Path
    sha256: str
    size: int
    agreements: tuple[OutputAgreement, ...]


def export_portable(
    graph: DeployedSegmentation, path: Path, *, metadata: Mapping[str, str] | None = None
) -> ExportReport:
    """Write `graph` to `path` as ONNX, after it has answered like PyTorch.

    The file takes "images", uint8 (N, H, W, 3) with N, H and W free, and answers "class_ids" and
    "confidence", uint8 (N, h, w). DCNv3 stays one node per layer, with a function of standard operators
    (set 18) beside it, so that ONNX Runtime and TensorRT run the file without a plugin. Weights that
    float16 holds exactly are stored as float16 with a cast behind. The file is complete (no external data)
    and appears under its name only when it is whole.

    Args:
        graph: the graph; brought into evaluation mode.
        path: where to write.
        metadata: texts to put into the file, such as name and version; `weights_sha256` is added.

    Raises:
        ConfigError: the graph is too large for one ONNX file (2 GB).
        BundleError: the file answers differently from PyTorch; nothing is left behind.
    """
    model = _trace(_merge_batch_norms(graph.eval()))
    _halve_initializers(model)
    texts = {**(metadata or {}), "weights_sha256": _weights_digest(graph)}
    helper.set_model_props(model, texts)
    model.producer_name = "internimage_perception"
    model.producer_version = ""
    if model.ByteSize() > _PROTOBUF_LIMIT:
        message = f"the graph has {model.ByteSize() / 1e9:.1f} GB; one ONNX file holds at most 2 GB"
        raise ConfigError(message)
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        agreements = check_export(graph, temporary)
        if any(agreement.identical < _ACCEPTED for agreement in agreements if agreement.name == OUTPUTS[0]):
            message = f"{path} was not written: the exported graph answers differently from PyTorch ("
            raise BundleError(message + "; ".join(map(str, agreements)) + ")")
    return ExportReport(path, hashlib.sha256(data).hexdigest(), len(data), agreements)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's notes on its own deprecations and missing extras from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _Affine(nn.Module):
    """A batch norm with fixed statistics, as factor and summand of each channel."""

    factor: torch.Tensor
    summand: torch.Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None  # noqa: S101, PT018 - it tracks statistics
        factor = norm.weight.detach() * torch.rsqrt(variance + norm.eps)
        self.register_buffer("factor", factor.view(-1, 1, 1))
        self.register_buffer("summand", (norm.bias.detach() - mean * factor).view(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor + self.summand


def _merge_batch_norms(graph: DeployedSegmentation) -> DeployedSegmentation:
    """Return a copy whose batch norms are two plain operators.

    The exporter would merge batch norms into the convolutions, whose weights then no longer fit float16;
    the runtimes do the merging anyway when they load the file.
    """
    graph = copy.deepcopy(graph)
    for module in list(graph.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _Affine(child))
    return graph


def _trace(graph: DeployedSegmentation) -> onnx.ModelProto:
    """Export through torch.export, then add the DCNv3 function.

    The function comes last: the exporter's optimiser would inline it, and the node be lost.
    """
    register_schema()
    # Sizes that no dimension of the network has, so that the tracer sees them as free.
    example = torch.zeros((2, graph.size[0] + 7, graph.size[1] + 9, 3), dtype=torch.uint8)
    dimensions = {0: torch.export.Dim("batch"), 1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=(dimensions,),
            custom_translation_table={
                torch.ops.internimage.dcnv3.default: _dcnv3_node,
                torch.ops.aten.gelu.default: _gelu,
            },
            external_data=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - with dynamo=True it is always returned
    model: onnx.ModelProto = program.model_proto
    del model.functions[:]
    model.functions.append(dcnv3_function())
    domains = {item.domain: item for item in model.opset_import}
    if domains[""].version != OPSET:
        message = f"the exporter wrote operator set {domains[''].version}, not {OPSET}"
        raise RuntimeError(message)
    if DOMAIN not in domains:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    # What the exporter notes for its own debugging is half of a small file, and names paths of this machine.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    return model


_STANDARD = Opset("", OPSET)
_INTERNIMAGE = Opset(DOMAIN, 1)


def _gelu(x: object, approximate: str = "none") -> object:
    """Write x * (1 + erf(x / sqrt 2)) * 0.5 in the order that ONNX Runtime recognises and fuses."""
    assert approximate == "none"  # noqa: S101 - the networks use the exact form
    erf = _STANDARD.Erf(_STANDARD.Div(x, _STANDARD.Constant(value_float=math.sqrt(2))))
    return _STANDARD.Mul(
        _STANDARD.Mul(x, _STANDARD.Add(erf, _STANDARD.Constant(value_float=1.0))),
        _STANDARD.Constant(value_float=0.5),
    )


def _dcnv3_node(  # noqa: PLR0913, PLR0917 - called with the operator's arguments
    value: object,
    offset: object,
    mask: object,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    group: int,
    offset_scale: float,
    remove_center: bool,
) -> object:
    shape = cast("ir.Value", value).shape
    assert shape is not None  # noqa: S101 - the tracer knows every shape
    attributes = dcnv3_attributes(
        kernel_size=(kernel_size[0], kernel_size[1]),
        stride=(stride[0], stride[1]),
        padding=(padding[0], padding[1]),
        dilation=(dilation[0], dilation[1]),
        group=group,
        group_channels=cast("int", shape[3]) // group,
        offset_scale=offset_scale,
        remove_center=remove_center,
    )
    return getattr(_INTERNIMAGE, NAME)(value, offset, mask, **attributes)


def _halve_initializers(model: onnx.ModelProto) -> None:
    """Store every large float32 initialiser that float16 holds exactly as float16, cast where it is used."""
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _HALF_FROM:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _weights_digest(graph: DeployedSegmentation) -> str:
    """Return the SHA-256 of names and values of all weights, so that a file tells what it was made from."""
    digest = hashlib.sha256()
    for name, tensor in graph.model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
