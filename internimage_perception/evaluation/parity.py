"""Do several backends give the same answers, and how fast: the same frames through each of them."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError
from internimage_perception.inference.backends import Backend, Outputs

Image = npt.NDArray[np.uint8]

_WARM_UP = 2
_LEAST_CALLS = 5
_IDS = "class_ids"


@dataclass(frozen=True)
class Answers:
    """What a backend made of some frames.

    Attributes:
        label: model and backend, for people.
        outputs: of each frame.
        calls_ms: how long each timed call of one frame took, in milliseconds.
    """

    label: str
    outputs: Sequence[Outputs]
    calls_ms: Sequence[float]


@dataclass(frozen=True)
class Agreement:
    """One backend's answers beside those of the reference.

    Attributes:
        label: model and backend.
        identical: share of the class ids that are the same, over all frames.
        least: the same share, of the frame that differs most.
        max_difference: largest difference of a confidence or probability, 0 to 1.
        mean_difference: mean of those differences.
        median_ms: of a call of one frame.
        p95_ms: what 95 percent of the calls stay below.
        faster: the reference's median by this one's; None where the reference was not timed.
    """

    label: str
    identical: float
    least: float
    max_difference: float
    mean_difference: float
    median_ms: float
    p95_ms: float
    faster: float | None

    def to_dict(self) -> dict[str, object]:
        """Return plain values for a file."""
        return asdict(self)


@dataclass
class Comparison:
    """The outcome: a row for each that ran, and why others did not.

    Attributes:
        rows: the reference first.
        missing: label to reason.
    """

    rows: list[Agreement] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def ask(backend: Backend, label: str, frames: Sequence[Image], *, least_calls: int = _LEAST_CALLS) -> Answers:
    """Run each frame alone, after calls that warm up, over and over until there are enough times.

    Raises BackendError when the backend fails, or there are no frames.
    """
    if not frames:
        raise BackendError("there are no frames to compare on")
    for _ in range(_WARM_UP):
        backend.run(frames[0][None])
    outputs: list[Outputs] = []
    times: list[float] = []
    while len(times) < max(least_calls, len(frames)):
        answer, spent = timed(backend, frames[len(times) % len(frames)][None])
        times.append(spent)
        if len(outputs) < len(frames):
            outputs.append({name: value.copy() for name, value in answer.items()})
    return Answers(label, outputs, times)


def timed(backend: Backend, images: Image) -> tuple[Outputs, float]:
    """Return the answer to uint8 images (N, H, W, 3), and how many milliseconds it took."""
    begin = time.perf_counter()
    answer = backend.run(images)
    return answer, (time.perf_counter() - begin) * 1e3


def median_and_p95(times: Sequence[float]) -> tuple[float, float]:
    """Return the median, and what 95 percent of the times stay below."""
    return statistics.median(times), float(np.percentile(times, 95))


def agreement(reference: Answers, other: Answers) -> Agreement:
    """Return how far a backend's answers are from the reference's.

    Raises BackendError when their shapes differ: they are not the same model.
    """
    same: list[float] = []
    differences: list[npt.NDArray[np.float64]] = []
    for own, given in zip(reference.outputs, other.outputs, strict=True):
        for name, expected in own.items():
            if name not in given or given[name].shape != expected.shape:
                shape = given[name].shape if name in given else "nothing"
                message = (
                    f"{other.label} answers {shape} as {name}, {reference.label} {expected.shape}: compare "
                    "exports of one model, with one size of output"
                )
                raise BackendError(message)
            if name == _IDS:
                same.append(float((given[name] == expected).mean()))
            else:
                differences.append(np.abs(_unit(given[name]) - _unit(expected)).ravel())
    apart = np.concatenate(differences)
    median, p95 = median_and_p95(other.calls_ms)
    return Agreement(
        label=other.label,
        identical=float(np.mean(same)),
        least=min(same),
        max_difference=float(apart.max()),
        mean_difference=float(apart.mean()),
        median_ms=median,
        p95_ms=p95,
        faster=statistics.median(reference.calls_ms) / median if reference.calls_ms else None,
    )


def table(comparison: Comparison) -> str:
    """Return the comparison as text, one line each."""
    heads = ("", "same ids", "least", "max diff.", "mean diff.", "median ms", "p95 ms", "faster")
    lines = [
        (
            row.label, f"{row.identical:.4%}", f"{row.least:.4%}", f"{row.max_difference:.4f}",
            f"{row.mean_difference:.6f}", f"{row.median_ms:.1f}", f"{row.p95_ms:.1f}",
            "" if row.faster is None else f"{row.faster:.2f}x",
        )
        for row in comparison.rows
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in (heads, *lines)
    ]
    text += [f"{label}: {reason}" for label, reason in comparison.missing.items()]
    return "\n".join(line.rstrip() for line in text)


def as_document(comparison: Comparison) -> Mapping[str, object]:
    """Return the comparison as plain values for a file."""
    return {"backends": [row.to_dict() for row in comparison.rows], "not_run": dict(comparison.missing)}


def _unit(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return confidences from 0 to 1, however they are stored."""
    scale = 255.0 if values.dtype == np.uint8 else 1.0
    return np.asarray(values, np.float64) / scale
