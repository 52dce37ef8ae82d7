"""Do several backends give the same answers, and how fast: the same frames through each of them."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError
from internimage_perception.inference.backends import Backend, Outputs
from internimage_perception.inference.check_frames import StoredCheck

Image = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float64]

_WARM_UP = 2
_LEAST_CALLS = 5
_IDS = "class_ids"
_RANKED = "probabilities"
_TIE = 0.01
"""A class that is this little less probable than the best one, relative to it, is as good."""


@dataclass(frozen=True)
class Answers:
    """What a backend made of some frames.

    Attributes:
        label: model and backend, for people.
        outputs: of each frame.
        calls_ms: how long each timed call took, in milliseconds.
        per_call: frames of one call.
    """

    label: str
    outputs: Sequence[Outputs]
    calls_ms: Sequence[float]
    per_call: int = 1


@dataclass(frozen=True)
class Agreement:
    """One backend's answers beside those of the reference.

    Attributes:
        label: model and backend.
        identical: share of the class ids that are the same, over all frames. Of a classifier: share of the
            frames with the reference's best class, or one as probable within one percent.
        least: the same share, of the frame that differs most.
        max_difference: largest difference of a confidence or probability, 0 to 1.
        mean_difference: mean of those differences.
        frames_per_call: how many frames each timed call had.
        median_ms: of a frame: a call's time by its frames.
        p95_ms: what 95 percent of the calls stay below, likewise of a frame.
        faster: the reference's median by this one's; None where the reference was not timed.
    """

    label: str
    identical: float
    least: float
    max_difference: float
    mean_difference: float
    frames_per_call: int
    median_ms: float
    p95_ms: float
    faster: float | None

    def to_dict(self) -> dict[str, object]:
        """Return plain values for a file."""
        return asdict(self)


def ask(
    backend: Backend,
    label: str,
    frames: Sequence[Image],
    *,
    least_calls: int = _LEAST_CALLS,
    per_call: int = 1,
) -> Answers:
    """Run the frames, after calls that warm up, over and over until there are enough times.

    A call holds frames of one size; where there are fewer than it is to hold, they are repeated.

    Args:
        backend: runs them.
        label: model and backend, for people.
        frames: uint8 (H, W, 3) each.
        least_calls: timed calls, at least; all frames are run at least once.
        per_call: frames of one call.

    Raises:
        BackendError: the backend fails, or there are no frames.
    """
    if not frames:
        raise BackendError("there are no frames to compare on")
    calls = _calls(frames, per_call)
    for _ in range(_WARM_UP):
        backend.run(np.stack([frames[index] for index in calls[0]]))
    found: dict[int, Outputs] = {}
    times: list[float] = []
    while len(times) < max(least_calls, len(calls)):
        call = calls[len(times) % len(calls)]
        first_time = len(times) < len(calls)
        answer, spent = timed(backend, np.stack([frames[index] for index in call]))
        times.append(spent)
        for place, index in enumerate(call if first_time else ()):
            found[index] = {name: value[place : place + 1].copy() for name, value in answer.items()}
    return Answers(label, [found[index] for index in range(len(frames))], times, per_call)


def _calls(frames: Sequence[Image], per_call: int) -> list[list[int]]:
    """Return the numbers of the frames of each call: of one size, and as many as asked for."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        by_shape.setdefault(frame.shape, []).append(index)
    return [
        [group[place % len(group)] for place in range(first, first + per_call)]
        for group in by_shape.values()
        for first in range(0, len(group), per_call)
    ]


def stored_answers(stored: StoredCheck) -> Answers:
    """Return PyTorch's answers that travel with an export; they have no times."""
    outputs = [
        {name: value[index : index + 1] for name, value in stored.answers.items()}
        for index in range(len(stored.frames))
    ]
    return Answers("PyTorch, stored", outputs, [])


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
    differences: list[_Floats] = []
    for own, given in zip(reference.outputs, other.outputs, strict=True):
        for name, expected in own.items():
            if name not in given or given[name].shape != expected.shape:
                shape = given[name].shape if name in given else "nothing"
                message = (
                    f"{other.label} answers {shape} as {name}, {reference.label} {expected.shape}: compare "
                    "exports of one model, with one size of output"
                )
                raise BackendError(message)
        if _RANKED in own:
            ranks = _probabilities(own), _probabilities(given)
            same.append(float(_same_best(*ranks)))
            differences.append(_apart(*ranks))
        else:
            same.append(float((given[_IDS] == own[_IDS]).mean()))
            differences += [
                np.abs(_unit(given[name]) - _unit(own[name])).ravel() for name in own if name != _IDS
            ]
    apart = np.concatenate(differences)
    median, p95 = (value / other.per_call for value in median_and_p95(other.calls_ms))
    pace = statistics.median(reference.calls_ms) / reference.per_call if reference.calls_ms else None
    return Agreement(
        label=other.label,
        identical=float(np.mean(same)),
        least=min(same),
        max_difference=float(apart.max()),
        mean_difference=float(apart.mean()),
        frames_per_call=other.per_call,
        median_ms=median,
        p95_ms=p95,
        faster=None if pace is None else pace / median,
    )


def _probabilities(answer: Outputs) -> dict[int, float]:
    """Return the probabilities of a frame's ranked classes, the best one first."""
    ids, values = answer[_IDS].ravel(), answer[_RANKED].ravel()
    return {int(index): float(value) for index, value in zip(ids, values, strict=True)}


def _same_best(own: dict[int, float], given: dict[int, float]) -> bool:
    """Return whether a classifier's best class is the reference's, or as probable to the reference."""
    best = own[next(iter(own))]
    return own.get(next(iter(given)), 0.0) >= (1.0 - _TIE) * best


def _apart(own: dict[int, float], given: dict[int, float]) -> _Floats:
    """Return the differences of the ranked classes' probabilities.

    A class that one of them does not rank is at most as probable there as the last one that it does.
    """
    last = min(own.values()), min(given.values())
    pairs = {index: (own.get(index), given.get(index)) for index in (*own, *given)}
    return np.array(
        [
            abs(first - second)
            if first is not None and second is not None
            else max(0.0, (first or 0.0) - last[1], (second or 0.0) - last[0])
            for first, second in pairs.values()
        ]
    )


def _unit(values: npt.NDArray[np.generic]) -> _Floats:
    """Return confidences from 0 to 1, however they are stored."""
    scale = 255.0 if values.dtype == np.uint8 else 1.0
    return np.asarray(values, np.float64) / scale
