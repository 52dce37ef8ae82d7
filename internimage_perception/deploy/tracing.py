"""From a deployed graph to ONNX nodes: torch.export, DCNv3 as one node, and the function it stands for."""

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from internimage_perception.models.deployed import DeployedClassification, DeployedSegmentation

INPUT = "images"

Graph = DeployedSegmentation | DeployedClassification
Sizes = tuple[int | None, int | None, int | None]


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


def merge_batch_norms(graph: Graph) -> Graph:
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


def trace(graph: Graph, sizes: Sizes = (None, None, None)) -> onnx.ModelProto:
    """Export through torch.export, then add the DCNv3 function.

    The function comes last: the exporter's optimiser would inline it, and the node be lost.

    Args:
        graph: in evaluation mode.
        sizes: number, rows and columns of the frames; None: free. Where all are given, every dimension of
            the graph is a number, and no shape is computed in it.
    """
    register_schema()
    # Free sizes are traced with numbers that no dimension of the network has.
    samples = (2, graph.size[0] + 7, graph.size[1] + 9)
    example = torch.zeros(
        (*(n or free for n, free in zip(sizes, samples, strict=True)), 3), dtype=torch.uint8
    )
    names = ("batch", "height", "width")
    dimensions = {axis: torch.export.Dim(names[axis]) for axis, size in enumerate(sizes) if size is None}
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(graph.outputs),
            dynamic_shapes=(dimensions,) if dimensions else None,
            custom_translation_table={
                torch.ops.internimage.dcnv3.default: _dcnv3_node,
                torch.ops.aten.gelu.default: _gelu,
                torch.ops.aten.softmax.int: _softmax,
                torch.ops.aten._softmax.default: _softmax,  # noqa: SLF001 - its name in the tracer's graph
                torch.ops.aten.mean.dim: _mean,
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


_FLOAT, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_STANDARD = Opset("", OPSET)
_INTERNIMAGE = Opset(DOMAIN, 1)


def _gelu(x: object, approximate: str = "none") -> object:
    """Write x * (1 + erf(x / sqrt 2)) * 0.5 in the order that ONNX Runtime recognises and fuses."""
    assert approximate == "none"  # noqa: S101 - the networks use the exact form
    erf = _STANDARD.Erf(_STANDARD.Div(x, _number(math.sqrt(2), x)))
    return _STANDARD.Mul(_STANDARD.Mul(x, _STANDARD.Add(erf, _number(1.0, x))), _number(0.5, x))


def _softmax(x: object, dim: int, *_: object) -> object:
    return _in_float(x, lambda value: _STANDARD.Softmax(value, axis=dim))


def _mean(x: object, dim: Sequence[int], keepdim: bool = False) -> object:
    axes = _STANDARD.Constant(value_ints=list(dim))
    return _in_float(x, lambda value: _STANDARD.ReduceMean(value, axes, keepdims=int(keepdim)))


def _in_float(x: object, operator: Callable[[object], object]) -> object:
    """Apply an operator whose sums float16 is too coarse for, and return the type that came in."""
    if not _is_half(x):
        return operator(x)
    return _STANDARD.Cast(operator(_STANDARD.Cast(x, to=_FLOAT)), to=_HALF)


def _number(value: float, like: object) -> object:
    number = _STANDARD.Constant(value_float=value)
    return _STANDARD.Cast(number, to=_HALF) if _is_half(like) else number


def _is_half(x: object) -> bool:
    return bool(cast("ir.Value", x).dtype == ir.DataType.FLOAT16)


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
