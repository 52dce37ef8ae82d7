"""Writing the deployed graph as portable ONNX, complete or with its weights in a file beside it."""

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

import onnx
import torch
from onnx import helper
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
from internimage_perception.deploy.initializers import WeightsFile, store_initializers
from internimage_perception.deploy.selfcheck import OutputAgreement, check_export
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.files import atomic_path
from internimage_perception.models.deployed import DeployedClassification, DeployedSegmentation

INPUT = "images"
_PROTOBUF_LIMIT = 2**31 - 2**24
"""Most bytes of values in one ONNX file: the format's 2 GB, less what nodes and names may take."""
_ACCEPTED = 0.999
"""Least share of values that agree: near-ties between classes fall either way, anything more is an error."""

Graph = DeployedSegmentation | DeployedClassification


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how well it answers.

    Attributes:
        path: the file.
        sha256: its checksum.
        size: its length in bytes.
        external: the bytes it reads from the weights file beside it; 0 when it is complete.
        agreements: each output against PyTorch, on random frames in ONNX Runtime.
    """

    path: Path
    sha256: str
    size: int
    external: int
    agreements: tuple[OutputAgreement, ...]


def export_portable(
    graph: Graph,
    path: Path,
    *,
    weights: Path | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write `graph` to `path` as ONNX, after it has answered like PyTorch.

    The file takes "images", uint8 (N, H, W, 3) with N, H and W free, and answers under the names of
    `graph.outputs` what the graph returns. DCNv3 stays one node per layer, with a function of standard
    operators (set 18) beside it, so that ONNX Runtime and TensorRT run the file without a plugin. Weights
    that float16 holds exactly are stored as float16 with a cast behind. The file appears under its name
    only when it is whole.

    Args:
        graph: the graph; brought into evaluation mode.
        path: where to write.
        weights: the network's weights as safetensors in the same folder. The graph then refers to the
            values there (ONNX external data) instead of holding them, and the two files belong together
            from then on. None: the file is complete by itself.
        metadata: texts to put into the file, such as name and version; `weights_sha256` is added.

    Raises:
        ConfigError: the values are too many for one ONNX file (2 GB), or `weights` lies elsewhere or holds
            another network.
        BundleError: the file answers differently from PyTorch or is no valid ONNX, and nothing is left
            behind; or `weights` cannot be read.
    """
    if weights and weights.parent.resolve() != path.parent.resolve():
        message = f"{weights} must lie beside {path}: a graph names its weights relative to its own folder"
        raise ConfigError(message)
    stored = WeightsFile(weights) if weights else None
    # The model itself is gone before the check, which needs memory for the network twice more.
    data, external = _serialize(graph.eval(), stored, metadata or {})
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        try:
            onnx.checker.check_model(temporary)  # by its path, so that the weights file is found
        except onnx.checker.ValidationError as error:
            message = f"{path} was not written: the onnx package refuses it: {error}"
            raise BundleError(message) from error
        agreements = check_export(graph, temporary)
        # A confidence is rounded, and may be rounded either way; it is that of the class beside it.
        if any(item.identical < _ACCEPTED for item in agreements if item.name != "confidence"):
            message = f"{path} was not written: the exported graph answers differently from PyTorch ("
            raise BundleError(message + "; ".join(map(str, agreements)) + ")")
    return ExportReport(path, hashlib.sha256(data).hexdigest(), len(data), external, agreements)


def _serialize(graph: Graph, stored: WeightsFile | None, metadata: Mapping[str, str]) -> tuple[bytes, int]:
    """Return the ONNX file's content, and the bytes it refers to outside."""
    model = _trace(_merge_batch_norms(graph))
    external = store_initializers(model, stored)
    helper.set_model_props(model, {**metadata, "weights_sha256": _weights_digest(graph)})
    model.producer_name = "internimage_perception"
    model.producer_version = ""
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size > _PROTOBUF_LIMIT:
        message = (
            f"the graph has {size / 1e9:.1f} GB of values; one ONNX file holds at most 2 GB: "
            "let it refer to a weights file beside it, as a bundle's graph does"
        )
        raise ConfigError(message)
    return model.SerializeToString(deterministic=True), external


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


def _merge_batch_norms(graph: Graph) -> Graph:
    """Return a copy whose batch norms are two plain operators.

    The exporter would merge batch norms into the convolutions, whose weights then no longer fit float16;
    the runtimes do the merging anyway when they load the file.
    """
    # Tensors are shared with the original: nothing changes them, and a large network's are gigabytes.
    shared = {id(tensor): tensor for tensor in (*graph.parameters(), *graph.buffers())}
    graph = copy.deepcopy(graph, shared)
    for module in list(graph.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _Affine(child))
    return graph


def _trace(graph: Graph) -> onnx.ModelProto:
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
            output_names=list(graph.outputs),
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
    # What the exporter notes for its own debugging is half of a small file, and names paths of this machine;
    # the inner values' shapes every reader infers again.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
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


def _weights_digest(graph: Graph) -> str:
    """Return the SHA-256 of names and values of all weights, so that a file tells what it was made from."""
    digest = hashlib.sha256()
    for name, tensor in graph.model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
