"""How far an exported file's answers are from those of the network it was made from."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper
from torch import nn
from torch.utils.hooks import RemovableHandle

from internimage_perception.deploy.tracing import Graph
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.deployed import DeployedClassification

Frames = npt.NDArray[np.uint8]
Figures = dict[str, dict[str, float]]
_Array = npt.NDArray[Any]

_TIE = 0.01
"""A class whose logit is this little below the best one's is as good: one percent of probability."""
LOGITS = "logits"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a graph answers to some frames: its two outputs, and the logits they were made of.

    The logits are a segmentor's before they are enlarged, (N, classes, h, w), or a classifier's (N, classes).
    """

    class_ids: _Array
    certainty: _Array
    logits: npt.NDArray[np.float32]


class ExportedFile:
    """An exported file in ONNX Runtime on the CPU, with its logits as one more output.

    Args:
        path: the file; a copy with that output lies beside it for a moment.
        outputs: names of the file's outputs.
    """

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        model = onnx.load(path, load_external_data=False)
        self._outputs = [*outputs, logits_of(model.graph)]
        logits = helper.make_tensor_value_info(self._outputs[-1], onnx.TensorProto.FLOAT, None)
        model.graph.output.append(logits)
        copy = path.with_name(f".{path.stem}.logits.onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            copy.write_bytes(model.SerializeToString())
            self._session = onnxruntime.InferenceSession(
                str(copy), options, providers=["CPUExecutionProvider"]
            )
        finally:
            copy.unlink(missing_ok=True)
        self._input = self._session.get_inputs()[0].name

    def run(self, frames: Frames) -> Answers:
        """Answer frames, uint8 (N, H, W, 3)."""
        return Answers(*self._session.run(self._outputs, {self._input: frames}))


def logits_of(graph: onnx.GraphProto) -> str:
    """Return the name of the value from which the graph makes its answers."""
    chooser = next(node for node in graph.node if node.op_type in {"ArgMax", "TopK"})
    writer = next((node for node in graph.node if chooser.input[0] in node.output), None)
    # The network's own logits, a sixteenth of what they are enlarged to.
    enlarged = writer is not None and writer.op_type == "Resize"
    return str(writer.input[0] if writer is not None and enlarged else chooser.input[0])


def torch_answers(graph: Graph, frames: Frames) -> Answers:
    """Return what PyTorch answers to frames, uint8 (N, H, W, 3)."""
    seen: list[torch.Tensor] = []
    network = getattr(graph.model, "network", graph.model)
    last: nn.Module = network if isinstance(network, Classifier) else network.decode_head
    hook = last.register_forward_hook(lambda _, __, output: seen.append(output.float()))
    try:
        with torch.inference_mode():
            first, second = graph(torch.from_numpy(np.ascontiguousarray(frames)))
    finally:
        hook.remove()
    return Answers(first.numpy(), second.numpy(), seen[0].numpy())


def compare(graph: Graph, pairs: Sequence[tuple[Answers, Answers]]) -> Figures:
    """Return figures for each output, of pairs of PyTorch's and other answers to the same frames.

    `logits`: "relative_difference", the largest difference over the largest magnitude, and "relative_rms".
    Of a segmentor `class_ids`: "identical", share of pixels, and "miou", mean over the classes that occur of
    intersection over union with PyTorch's masks; `confidence`: "largest_difference", of 255. Of a classifier
    `class_ids`: "identical", share of frames with PyTorch's best class, or one as probable within one
    percent; `probabilities`: "largest_difference" over the best classes of either.
    """
    figures: Figures = {
        LOGITS: _relative(*(_flat(side[k].logits for side in pairs) for k in (0, 1))),
    }
    own, other = (_flat(side[k].class_ids for side in pairs) for k in (0, 1))
    if isinstance(graph, DeployedClassification):
        figures["class_ids"] = {"identical": float(np.mean([_same_best(*pair) for pair in pairs]))}
        difference = max(_probability_difference(*pair) for pair in pairs)
        figures["probabilities"] = {"largest_difference": difference}
    else:
        figures["class_ids"] = {"identical": float((own == other).mean()), "miou": miou(own, other)}
        difference = max(np.abs(a.certainty.astype(int) - b.certainty.astype(int)).max() for a, b in pairs)
        figures["confidence"] = {"largest_difference": float(difference)}
    return figures


def miou(own: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> float:
    """Return the mean intersection over union of two masks, over the classes that occur in either."""
    size = int(max(own.max(), other.max())) + 1
    pairs = own.ravel().astype(np.int64) * size + other.ravel().astype(np.int64)
    table = np.bincount(pairs, minlength=size * size)
    table = table.reshape(size, size)
    both = np.diagonal(table)
    union = table.sum(axis=0) + table.sum(axis=1) - both
    return float((both[union > 0] / union[union > 0]).mean())


class Peak:
    """The largest magnitude that any layer of a network answers with, and which layer that is.

    Attributes:
        value: infinite where a value is none or beyond the type's range.
        layer: its name in the network.
    """

    def __init__(self) -> None:
        self.value, self.layer = 0.0, ""

    def watch(self, network: nn.Module) -> list[RemovableHandle]:
        """Follow all layers of `network` from now on."""
        return [
            module.register_forward_hook(partial(self._see, name)) for name, module in network.named_modules()
        ]

    def _see(self, name: str, _: nn.Module, __: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point() and output.numel():
            largest = float(output.abs().max())
            # What is no number comes of what was infinite before.
            largest = largest if math.isfinite(largest) else math.inf
            if largest > self.value:
                self.value, self.layer = largest, name


def rounded_answers(half: Graph, frames: Frames) -> tuple[Answers, Peak]:
    """Return what PyTorch answers when it rounds every value to float16, and the largest value of any layer.

    ONNX Runtime computes in float32 between the operators on a CPU, so that the file alone does not show
    what the rounding does on a GPU.
    """
    peak = Peak()
    hooks = peak.watch(half.model.get_submodule("network"))
    try:
        return torch_answers(half, frames), peak
    finally:
        for hook in hooks:
            hook.remove()


def _relative(own: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> dict[str, float]:
    difference = np.abs(own - other)
    # Not a number is as far away as can be.
    difference[~np.isfinite(difference)] = math.inf
    smallest = np.finfo(np.float64).tiny
    return {
        "relative_difference": float(difference.max() / max(np.abs(own).max(), smallest)),
        "relative_rms": float(np.sqrt((difference**2).mean() / max((own**2).mean(), smallest))),
    }


def _same_best(own: Answers, other: Answers) -> float:
    """Return the share of frames whose best class is PyTorch's, or as good."""
    best = own.logits.max(axis=1)
    chosen = np.take_along_axis(own.logits, other.class_ids[:, :1].astype(np.int64), axis=1)[:, 0]
    return float((best - chosen <= _TIE).mean())


def _probability_difference(own: Answers, other: Answers) -> float:
    """Compare the probabilities a file states with those PyTorch has for the same classes."""
    logits = own.logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    named = np.take_along_axis(probabilities, other.class_ids.astype(np.int64), axis=1)
    return float(np.abs(named - other.certainty.astype(np.float64)).max())


def _flat(arrays: Iterable[npt.NDArray[np.generic]]) -> npt.NDArray[np.float64]:
    return np.concatenate([np.asarray(item, np.float64).ravel() for item in arrays])
