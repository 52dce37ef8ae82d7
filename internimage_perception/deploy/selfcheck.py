"""Does the exported file answer like the network it was made from?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from internimage_perception.models.deployed import DeployedSegmentation


@dataclass(frozen=True, slots=True)
class OutputAgreement:
    """One output of the file against PyTorch, over random frames.

    Attributes:
        name: the output.
        max_difference: largest difference of a value.
        identical: share of values that are equal.
    """

    name: str
    max_difference: int
    identical: float

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.name}: {self.identical:.4%} identical, largest difference {self.max_difference}"


def check_export(graph: DeployedSegmentation, path: Path, *, seed: int = 0) -> tuple[OutputAgreement, ...]:
    """Run both on random frames: one of the network's size, and two of an odd size."""
    height, width = graph.size
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(seed)
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for shape in ((1, height, width, 3), (2, height * 3 // 4 + 5, width * 5 // 4 + 3, 3)):
        frames = _frames(generator, shape)
        with torch.inference_mode():
            expected = graph.eval()(torch.from_numpy(frames))
        names = [output.name for output in session.get_outputs()]
        answers = session.run(names, {session.get_inputs()[0].name: frames})
        for name, own, answer in zip(names, expected, answers, strict=True):
            pairs.setdefault(name, []).append((own.numpy().ravel(), answer.ravel()))
    return tuple(_agreement(name, parts) for name, parts in pairs.items())


def _frames(generator: np.random.Generator, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return noise with structure at several scales, so that the network has something to decide."""
    count, height, width, channels = shape
    total = np.zeros(shape)
    for cell in (64, 16, 4):
        coarse = generator.uniform(0, 255, (count, height // cell + 1, width // cell + 1, channels))
        total += coarse.repeat(cell, axis=1).repeat(cell, axis=2)[:, :height, :width]
    return (total / 3).astype(np.uint8)


def _agreement(name: str, parts: list[tuple[np.ndarray, np.ndarray]]) -> OutputAgreement:
    own = np.concatenate([part[0] for part in parts]).astype(np.int64)
    answer = np.concatenate([part[1] for part in parts]).astype(np.int64)
    difference = np.abs(own - answer)
    return OutputAgreement(name, int(difference.max()), float((difference == 0).mean()))
