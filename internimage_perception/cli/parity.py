"""`internimage-perception parity`: every backend of this computer on the same frames, in one table."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.bags.sampling import sample_frames
from internimage_perception.cli.backend_options import (
    add_agreement_argument,
    check_agreement,
    check_threads,
)
from internimage_perception.errors import BackendError, ConfigError
from internimage_perception.evaluation.parity import (
    Answers,
    Comparison,
    agreement,
    as_document,
    ask,
    table,
)
from internimage_perception.files import write_text
from internimage_perception.inference.backends import Backend, create_backend
from internimage_perception.inference.bundle import Bundle

COMPARED = (
    "torch-cpu", "torch-cuda", "onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt",
)  # fmt: skip
"""Those that compute something, the most exact one first: it is the reference where it runs."""

Image = npt.NDArray[np.uint8]


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
        default=list(COMPARED),
        help="which; all that run by default",
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
    """Compare; prints the table. Returns 1 when a backend falls below `--least`."""
    if options.frames < 1:
        raise ConfigError("--frames must be 1 or more")
    check_threads(options)
    check_agreement(options)
    bundles = [Bundle.load(path) for path in (options.model, *options.also)]
    frames = [
        item.image
        for item in sample_frames(
            options.bags, options.frames, topics=options.topics,
            channel_order=bundles[0].input.channel_order,
        )
    ]  # fmt: skip
    comparison = compare(bundles, options.backends, frames, threads=options.threads or None)
    print(f"frames: {len(frames)}; the first line is what the others are compared with")
    print(table(comparison))
    if options.out is not None:
        write_text(options.out, json.dumps(as_document(comparison), indent=2) + "\n")
    if options.least is None:
        return 0
    below = [row.label for row in comparison.rows if row.least < options.least]
    for label in below:
        print(f"{label} falls below {options.least:.4%}")
    return int(bool(below))


def compare(
    bundles: Sequence[Bundle],
    backends: Sequence[str],
    frames: Sequence[Image],
    *,
    threads: int | None = None,
    create: Callable[..., Backend] = create_backend,
) -> Comparison:
    """Run the frames through each backend that runs each bundle, one after another.

    Raises BackendError when none runs, or they are different models.
    """
    found = Comparison()
    reference: Answers | None = None
    for bundle in bundles:
        for name in backends:
            label = f"{bundle.name} {name}" if len(bundles) > 1 else name
            try:
                backend = create(name, bundle, threads=threads)
                answers = ask(backend, label, frames)
            except BackendError as error:
                found.missing[label] = str(error)
                continue
            reference = reference or answers
            found.rows.append(agreement(reference, answers))
            # Memory of a GPU is scarce: the next one needs it.
            getattr(backend, "close", lambda: None)()
            del backend
    if not found.rows:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in found.missing.items())
        raise BackendError(f"no backend runs here: {reasons}")
    return found
