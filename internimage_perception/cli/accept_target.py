"""`internimage-perception accept-target`: does this vehicle computer run the models, rightly and in time?"""

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path

from internimage_perception import __version__
from internimage_perception.cli.backend_options import add_agreement_argument, check_agreement
from internimage_perception.cli.exit_codes import EXIT_GATE
from internimage_perception.cli.plugin_library import NOT_LOOKED_FOR, LibraryState, provide_library
from internimage_perception.cli.subject_frames import subject_frames
from internimage_perception.errors import BackendError, ConfigError
from internimage_perception.evaluation.acceptance import LEAST, Demand, Verdict, judge
from internimage_perception.evaluation.computer import describe_computer
from internimage_perception.evaluation.subject import load_subjects
from internimage_perception.files import write_text
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.engines.cuda import load_cuda
from internimage_perception.inference.engines.tensorrt_module import load_tensorrt

_FORMAT = 2
_DEFAULT = "nano"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "bundles", nargs="*", default=[_DEFAULT], metavar="BUNDLE_OR_EXPORT",
        help="folders, or names of shipped bundles; default: the shipped nano",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the JSON")
    parser.add_argument("--bags", nargs="+", type=Path, default=[], help="compare on frames of these bags")
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="how many of the bags' frames")
    parser.add_argument("--cameras", type=int, default=1, metavar="N", help="frames that come at once")
    parser.add_argument("--rate", type=float, metavar="HZ", help="how often; slower is not accepted")
    limits = ", ".join(f"{share} in {precision}" for precision, share in LEAST.items())
    add_agreement_argument(parser, f"class ids that must agree; default: {limits}")
    parser.add_argument(
        "--plugin-sources", type=Path, metavar="DIR", help="folder dcnv3_plugin, to compile it"
    )


def run(options: argparse.Namespace) -> int:
    """Build, compare, time, and write the verdict; returns 0 when everything is accepted."""
    if options.frames < 1 or options.cameras < 1:
        raise ConfigError("--frames and --cameras must be 1 or more")
    if options.rate is not None and not 0.0 < options.rate <= 1000.0:
        raise ConfigError(f"--rate is {options.rate}; it must be above 0 and at most 1000 Hz")
    check_agreement(options)
    subjects = load_subjects(options.bundles)
    frames = subject_frames(subjects, options.bags, options.frames)
    library = _library(options.plugin_sources)
    about = ", ".join(str(item) for item in (library.path, library.reason) if item)
    print(f"plugin library: {library.state}" + (f": {about}" if about else ""))
    demand = Demand(options.cameras, options.rate, options.least)
    verdicts: list[Verdict] = []
    for subject, own in zip(subjects, frames, strict=True):
        verdicts.append(judge(subject, demand, create_backend, own))
        print(_said(verdicts[-1]), flush=True)
    accepted = all(not verdict.reasons for verdict in verdicts)
    document = {
        "format": _FORMAT,
        "version": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "accepted": accepted,
        "computer": describe_computer(),
        "plugin_library": {
            "state": library.state, "path": str(library.path or ""), "reason": library.reason,
        },
        "demand": {"cameras": demand.cameras, "rate_hz": demand.rate_hz, "least": demand.limits()},
        "bundles": [verdict.to_dict() for verdict in verdicts],
    }  # fmt: skip
    write_text(options.out, json.dumps(document, indent=2) + "\n")
    print(f"{'ACCEPTED' if accepted else 'NOT ACCEPTED'}; details in {options.out}")
    return 0 if accepted else EXIT_GATE


def _library(sources: Path | None) -> LibraryState:
    try:
        _, version = load_tensorrt()
        gpu = load_cuda().device(0)
    except BackendError as error:
        # Which library it would be depends on TensorRT's version.
        return LibraryState(None, NOT_LOOKED_FOR, str(error))
    return provide_library(version, sources, gpu.compute_capability)


def _said(verdict: Verdict) -> str:
    subject = verdict.subject
    result = "not accepted" if verdict.reasons else "accepted"
    lines = [f"{subject.label}, identity {subject.bundle.identity()}: {result}"]
    lines += [f"  {reason}" for reason in verdict.reasons]
    if verdict.agreement is not None:
        row = verdict.agreement
        lines.append(
            f"  same class ids: {row.identical:.4%}, at least {row.least:.4%} of a frame "
            f"(asked for: {verdict.least:.4%}; {verdict.frames})"
        )
        lines.append(f"  one frame: median {row.median_ms:.1f} ms, 95th percentile {row.p95_ms:.1f} ms")
    if verdict.set_ms is not None:
        lines.append(
            f"  all cameras: median {verdict.set_ms[0]:.1f} ms, 95th percentile {verdict.set_ms[1]:.1f} ms"
        )
    return "\n".join(lines)
