"""`internimage-perception parity`: every backend of this computer on the same frames, in one table."""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception import __version__
from internimage_perception.cli.backend_options import (
    add_agreement_argument,
    check_agreement,
    check_threads,
)
from internimage_perception.cli.exit_codes import EXIT_GATE
from internimage_perception.cli.subject_frames import subject_frames
from internimage_perception.errors import BackendError, ConfigError, PerceptionError
from internimage_perception.evaluation.parity import Answers, agreement, ask, stored_answers
from internimage_perception.evaluation.parity_table import (
    Comparison,
    Missing,
    Row,
    as_document,
    failures,
    table,
)
from internimage_perception.evaluation.subject import Subject, load_subjects
from internimage_perception.files import write_text
from internimage_perception.inference.backends import Backend, create_backend
from internimage_perception.inference.check_frames import stored_check

_FORMAT = 1

COMPARED = (
    "torch-cpu", "torch-cuda", "onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt",
)  # fmt: skip
"""Those that compute something, the most exact one first: it is the reference where it runs."""

Image = npt.NDArray[np.uint8]
CreateBackend = Callable[..., Backend]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "model", metavar="BUNDLE", help="folder of a bundle or export, or a shipped bundle's name"
    )
    parser.add_argument(
        "bags", nargs="+", type=Path, metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag"
    )
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="BUNDLE", help="exports of the same model, in the same table"
    )
    parser.add_argument(
        "--backends",
        nargs="+",
        choices=COMPARED,
        help="which; one that runs for no bundle is a failure (default: all that run)",
    )
    parser.add_argument(
        "--frames", type=int, default=8, metavar="N", help="frames, spread over bags and cameras"
    )
    parser.add_argument(
        "--topics", nargs="+", default=[], metavar="TOPIC", help="image topics; all by default"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: the backend's choice")
    add_agreement_argument(
        parser, "fail when a backend's share of same ids in a frame is below, such as 0.999"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as JSON, too")


def run(options: argparse.Namespace) -> int:
    """Compare; prints the table, and why it does not prove what was asked for (EXIT_GATE)."""
    if options.frames < 1:
        raise ConfigError("--frames must be 1 or more")
    check_threads(options)
    check_agreement(options)
    subjects = load_subjects([options.model, *options.also])
    if len({subject.bundle.task for subject in subjects}) > 1:
        tasks = ", ".join(f"{subject.folder} is for {subject.bundle.task}" for subject in subjects)
        raise ConfigError(f"{tasks}: compare exports of one model")
    frames = subject_frames(subjects, options.bags, options.frames, options.topics)
    comparison = compare(subjects, options.backends or COMPARED, frames, threads=options.threads or None)
    problems = list(failures(comparison, subjects, options.backends or (), options.least))
    print(f"frames: {len(frames[0])}; the first line is what the others are compared with")
    print(table(comparison))
    if options.out is not None:
        document = {
            "format": _FORMAT,
            "version": __version__,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "passed": not problems,
            "failures": problems,
            "least": options.least,
            "bags": [str(path) for path in options.bags],
            "frames": len(frames[0]),
            "bundles": [subject.to_dict() for subject in subjects],
            **as_document(comparison),
        }
        write_text(options.out, json.dumps(document, indent=2) + "\n")
    for problem in problems:
        print(f"FAILED: {problem}")
    return EXIT_GATE if problems else 0


def compare(
    subjects: Sequence[Subject],
    backends: Sequence[str],
    frames: Sequence[Sequence[Image]],
    *,
    threads: int | None = None,
    create: CreateBackend = create_backend,
) -> Comparison:
    """Run the frames through each backend that runs each bundle, one after another.

    Where one backend alone runs, its exports are compared with PyTorch's answers that travel with them, too.

    Args:
        subjects: the bundles.
        backends: names, the one to trust most first.
        frames: of each bundle, the same ones.
        threads: CPU threads; None: the backend's choice.
        create: makes backends.

    Raises:
        BackendError: none runs, or they are different models.
    """
    found = Comparison()
    reference: Answers | None = None
    for subject, own in zip(subjects, frames, strict=True):
        for name in backends:
            try:
                backend = create(name, subject.bundle, threads=threads)
                answers = _asked(backend, subject, f"{subject.label} {name}", own)
            except BackendError as error:
                found.missing.append(Missing(subject, name, str(error)))
                continue
            reference = reference or answers
            found.rows.append(Row(subject, name, agreement(reference, answers)))
    if not found.rows:
        reasons = "; ".join(f"{item.subject.folder} {item.backend}: {item.reason}" for item in found.missing)
        raise BackendError(f"no backend runs here: {reasons}")
    if not found.independent:
        for row in found.rows:
            _beside_stored(found, row, create, threads)
    return found


def _asked(
    backend: Backend, subject: Subject, label: str, frames: Sequence[Image], **options: int
) -> Answers:
    """Ask a backend, and close it: memory of a GPU is scarce, the next one needs it."""
    try:
        return ask(backend, label, frames, per_call=subject.per_call, **options)
    finally:
        getattr(backend, "close", lambda: None)()


def _beside_stored(found: Comparison, row: Row, create: CreateBackend, threads: int | None) -> None:
    """Compare an export with PyTorch's answers to the frames that it brings along, where it does."""
    subject, name = row.subject, row.backend
    try:
        stored = stored_check(subject.bundle)
        if stored is None:
            return
        backend = create(name, subject.bundle, threads=threads)
        label = f"{subject.label} {name}, on the frames it brings along,"
        answers = _asked(backend, subject, label, list(stored.frames), least_calls=1)
        found.stored.append(Row(subject, name, agreement(stored_answers(stored), answers)))
    except PerceptionError as error:
        found.stored_missing.append(Missing(subject, name, str(error)))
