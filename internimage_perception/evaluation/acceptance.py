"""Is a vehicle computer ready? A bundle's engine there: built, compared with ONNX Runtime, timed, judged."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError, PerceptionError
from internimage_perception.evaluation.parity import (
    Agreement,
    Answers,
    agreement,
    ask,
    median_and_p95,
    stored_answers,
    timed,
)
from internimage_perception.evaluation.subject import Subject
from internimage_perception.inference.backends import Backend
from internimage_perception.inference.bundle import CLASSIFICATION, Bundle
from internimage_perception.inference.check_frames import StoredCheck, patterned_frames, stored_check
from internimage_perception.inference.engines.profile import profile_of

Image = npt.NDArray[np.uint8]
CreateBackend = Callable[[str, Bundle], Backend]

TARGET = "tensorrt"
REFERENCE = "onnxruntime-cpu"
LEAST = {"fp32": 0.999, "fp16": 0.99, "int8": 0.95}
"""Least share of a frame's class ids that must agree, by precision (TensorRT's fp32 may be TF32)."""

_PATTERNS = 4
_CALLS = 30


@dataclass(frozen=True)
class Demand:
    """What is asked of the computer.

    Attributes:
        cameras: frames that come at once.
        rate_hz: how often; None: only measured.
        least: share of class ids that must agree; None: by precision, see `LEAST`.
    """

    cameras: int = 1
    rate_hz: float | None = None
    least: float | None = None

    def limits(self) -> dict[str, float]:
        """Return by precision the least share of class ids that is asked for."""
        return {name: share if self.least is None else self.least for name, share in LEAST.items()}

    @property
    def period_ms(self) -> float | None:
        """How long the frames of all cameras may take, in milliseconds; None: as long as they do."""
        return None if self.rate_hz is None else 1e3 / self.rate_hz


@dataclass
class Verdict:
    """What became of one bundle.

    Attributes:
        subject: the bundle.
        least: share of class ids that was asked of it.
        period_ms: how long the frames of all cameras may take; None: only measured.
        frames: where the frames are from.
        ready_s: seconds until the backend was there; minutes where the engine had to be built.
        agreement: the engine beside the reference; None where one of them did not run.
        set_ms: median and 95th percentile of a call with the frames of all cameras, in milliseconds.
        reasons: why it is not accepted; empty: it is.
    """

    subject: Subject
    least: float
    period_ms: float | None = None
    frames: str = ""
    ready_s: float | None = None
    agreement: Agreement | None = None
    set_ms: tuple[float, float] | None = None
    reasons: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """Return plain values for a file."""
        return {
            **self.subject.to_dict(),
            "limits": {"least": self.least, "set_p95_ms": self.period_ms},
            "accepted": not self.reasons,
            "reasons": list(self.reasons),
            "frames": self.frames,
            "ready_s": self.ready_s,
            "agreement": None if self.agreement is None else self.agreement.to_dict(),
            "set_ms": None if self.set_ms is None else dict(zip(("median", "p95"), self.set_ms, strict=True)),
        }


def judge(subject: Subject, demand: Demand, create: CreateBackend, frames: Sequence[Image] = ()) -> Verdict:
    """Run a bundle on the target and on the reference, and say whether it may drive.

    The reference is the same graph in ONNX Runtime on the CPU; an export brings PyTorch's answers along,
    which serve where ONNX Runtime is not installed. What fails is a reason in the verdict, never an error.

    Args:
        subject: a bundle or export.
        demand: what is asked.
        create: makes backends.
        frames: uint8 (H, W, 3) to compare on, as the task prepares them; none: those of the export, or
            patterns.
    """
    bundle = subject.bundle
    found = Verdict(subject, demand.limits()[subject.precision], demand.period_ms)
    try:
        images, stored = _frames(bundle, frames, found)
        begin = time.monotonic()
        backend = create(TARGET, bundle)
        found.ready_s = round(time.monotonic() - begin, 1)
    except PerceptionError as error:
        found.reasons.append(f"no engine: {error}")
        return found
    try:
        answers = ask(backend, backend.name, images, least_calls=_CALLS)
        found.set_ms = _timed_sets(backend, images, demand.cameras)
        reference = _reference(bundle, images, stored, create)
        found.agreement = agreement(reference, answers)
    except BackendError as error:
        found.reasons.append(str(error))
        return found
    finally:
        getattr(backend, "close", lambda: None)()
    if found.agreement.least < found.least:
        found.reasons.append(
            f"only {found.agreement.least:.3%} of a frame's class ids are those of {reference.label}, "
            f"{found.least:.3%} are asked for"
        )
    if found.period_ms is not None and found.set_ms[1] > found.period_ms:
        found.reasons.append(
            f"{demand.cameras} frames take {found.set_ms[1]:.1f} ms (95th percentile), more than the "
            f"{found.period_ms:.1f} ms of {demand.rate_hz:g} Hz"
        )
    return found


def _frames(bundle: Bundle, given: Sequence[Image], found: Verdict) -> tuple[list[Image], StoredCheck | None]:
    """Return frames, and PyTorch's answers where they are known."""
    if given:
        found.frames = f"{len(given)} of the given bags"
        return list(given), None
    stored = stored_check(bundle)
    if stored is not None:
        found.frames = f"{len(stored.frames)} stored with the export"
        return list(stored.frames), stored
    profile, size = profile_of(bundle), bundle.input
    # A classifier is handed frames of its input's size, whatever cameras there are.
    classifier = bundle.task == CLASSIFICATION
    height, width = (size.height, size.width) if classifier else (profile.height[1], profile.width[1])
    shape = (_PATTERNS, height, width, 3)
    found.frames = f"{_PATTERNS} patterns of {shape[2]}x{shape[1]}: agreement on real frames may differ"
    return list(patterned_frames(np.random.default_rng(0), shape)), None


def _reference(
    bundle: Bundle,
    images: Sequence[Image],
    stored: StoredCheck | None,
    create: CreateBackend,
) -> Answers:
    try:
        backend = create(REFERENCE, bundle)
        return ask(backend, backend.name, images)
    except BackendError as error:
        if stored is None:
            raise BackendError(f"nothing to compare with: {error}") from error
    return stored_answers(stored)


def _timed_sets(backend: Backend, images: Sequence[Image], cameras: int) -> tuple[float, float]:
    """Return median and 95th percentile of a call with one frame of each camera, in milliseconds."""
    same = [image for image in images if image.shape == images[0].shape]
    batch = np.stack([same[index % len(same)] for index in range(cameras)])
    backend.run(batch)
    return median_and_p95([timed(backend, batch)[1] for _ in range(_CALLS)])
