"""Does the exported file answer like the network it was made from?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from internimage_perception.inference.check_frames import patterned_frames
from internimage_perception.models.deployed import DeployedClassification, DeployedSegmentation

_Array = npt.NDArray[np.generic]
_Floats = npt.NDArray[np.float64]

_TIE = 0.01
"""Logarithms of probabilities this close count as equal: about one percent."""
_SMALLEST = 1e-30
"""Probabilities below are all the same: float32 has no exact ones there."""


@dataclass(frozen=True, slots=True)
class OutputAgreement:
    """One output of the file against PyTorch, over random frames.

    A classifier's ranks are compared by probability, because classes that are as probable as each other
    may come in any order: "class_ids" compares PyTorch's best probabilities with those that PyTorch gives
    the file's classes, "probabilities" the latter with the file's own, both as natural logarithms.

    Attributes:
        name: the output.
        max_difference: largest difference of a value.
        identical: share of values that are equal; of a classifier's, within one percent.
    """

    name: str
    max_difference: float
    identical: float

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.name}: {self.identical:.4%} identical, largest difference {self.max_difference:.4g}"


def check_export(
    graph: DeployedSegmentation | DeployedClassification, path: Path, *, seed: int = 0
) -> tuple[OutputAgreement, ...]:
    """Run both on random frames: one of the network's size, and two of an odd size."""
    height, width = graph.size
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(seed)
    tolerance = _TIE if isinstance(graph, DeployedClassification) else 0.0
    pairs: dict[str, list[tuple[_Floats, _Floats]]] = {name: [] for name in graph.outputs}
    for shape in ((1, height, width, 3), (2, height * 3 // 4 + 5, width * 5 // 4 + 3, 3)):
        frames = patterned_frames(generator, shape)
        answers = session.run(list(graph.outputs), {session.get_inputs()[0].name: frames})
        with torch.inference_mode():
            compared = _compare(graph.eval(), frames, dict(zip(graph.outputs, answers, strict=True)))
        for name, pair in compared.items():
            pairs[name].append(pair)
    return tuple(_agreement(name, parts, tolerance) for name, parts in pairs.items())


def _compare(
    graph: DeployedSegmentation | DeployedClassification,
    frames: npt.NDArray[np.uint8],
    answers: Mapping[str, _Array],
) -> dict[str, tuple[_Floats, _Floats]]:
    """Return for each output PyTorch's values and the file's."""
    if isinstance(graph, DeployedClassification):
        return _ranks(graph, frames, answers)
    return _values(graph, frames, answers)


def _values(
    graph: DeployedSegmentation, frames: npt.NDArray[np.uint8], answers: Mapping[str, _Array]
) -> dict[str, tuple[_Floats, _Floats]]:
    """Return for each output PyTorch's values and the file's."""
    own = dict(zip(graph.outputs, graph(torch.from_numpy(frames)), strict=True))
    return {name: (_flat(own[name].numpy()), _flat(answer)) for name, answer in answers.items()}


def _ranks(
    graph: DeployedClassification, frames: npt.NDArray[np.uint8], answers: Mapping[str, _Array]
) -> dict[str, tuple[_Floats, _Floats]]:
    """Return the logarithms of probabilities that `OutputAgreement` describes."""
    logarithms = graph.logits(torch.from_numpy(frames)).double().log_softmax(dim=1).numpy()
    logarithms = np.maximum(logarithms, np.log(_SMALLEST))
    ids, probabilities = answers["class_ids"], answers["probabilities"].astype(np.float64)
    best = -np.sort(-logarithms, axis=1)[:, : ids.shape[1]]
    named = np.take_along_axis(logarithms, ids.astype(np.int64), axis=1)
    stated = np.log(np.maximum(probabilities, _SMALLEST))
    return {"class_ids": (_flat(best), _flat(named)), "probabilities": (_flat(named), _flat(stated))}


def _flat(values: _Array) -> _Floats:
    return values.astype(np.float64).ravel()


def _agreement(name: str, parts: list[tuple[_Floats, _Floats]], tolerance: float) -> OutputAgreement:
    own = np.concatenate([part[0] for part in parts])
    answer = np.concatenate([part[1] for part in parts])
    difference = np.abs(own - answer)
    return OutputAgreement(name, float(difference.max()), float((difference <= tolerance).mean()))
