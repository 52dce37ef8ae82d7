"""`internimage-perception evaluate`: replay bags whose truth is known, and compare."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from internimage_perception import __version__
from internimage_perception.bags.replay import ReplayOptions
from internimage_perception.cli.backend_options import add_backend_arguments, check_threads
from internimage_perception.cli.comparison import Comparison
from internimage_perception.cli.exit_codes import EXIT_GATE
from internimage_perception.cli.outputs import claim_folder
from internimage_perception.cli.replay import replay_with_progress
from internimage_perception.cli.replayed import Replayed
from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.evaluation.figures import percent
from internimage_perception.evaluation.gate import Check, Gate
from internimage_perception.evaluation.report_html import render
from internimage_perception.evaluation.truth import TruthFolder
from internimage_perception.files import write_text
from internimage_perception.inference.bundle import SEGMENTATION, Bundle

FORMAT = 1

HTML = "evaluation.html"
_JSON, _REPLAY = "evaluation.json", "replay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="bags, as for replay")
    parser.add_argument(
        "--model", required=True, type=Path, metavar="BUNDLE",
        help="folder of the model bundle, or the name of a shipped one",
    )  # fmt: skip
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for evaluation.json and evaluation.html",
    )
    parser.add_argument(
        "--truth", type=Path, metavar="DIR",
        help="folder with classes/CAMERA/STAMP_NS.png (default: `truth` inside or beside each bag)",
    )  # fmt: skip
    parser.add_argument("--rig", type=Path, help="rig file, as for replay")
    parser.add_argument("--topics", nargs="+", default=[], metavar="[NAME=]TOPIC", help="image topics to use")
    add_backend_arguments(parser)
    parser.add_argument(
        "--gate",
        type=Path,
        metavar="FILE",
        help=f"YAML of thresholds; exit code {EXIT_GATE} if one is missed",
    )
    parser.add_argument(
        "--replayed", type=Path, metavar="DIR", help="score this replay instead of making one in DIR/replay"
    )
    parser.add_argument("--worst", type=int, default=8, metavar="N", help="worst images to show (default 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace another replay in DIR/replay")


def run(options: argparse.Namespace) -> int:
    """Replay, compare with the truth, write the report; prints the scores and what the gate says."""
    if options.worst < 0:
        raise ConfigError(f"--worst is {options.worst}; it must be 0 or more")
    check_threads(options)
    # Everything that can be refused is looked at before the work starts.
    bundle = Bundle.load(options.model)
    bundle.require_task(SEGMENTATION)
    gate = Gate.load(options.gate, [spec.name for spec in bundle.classes]) if options.gate else None
    truth = TruthFolder.find(options.bags, options.truth)
    out: Path = options.out
    claim_folder(out, "evaluate", (_JSON, HTML))
    folder = options.replayed or _replay(options)
    replayed = Replayed(folder, options.bags, bundle, options.rig)
    report, checks = evaluate_replay(replayed, truth, bundle, out, gate=gate, worst=options.worst)
    print(_per_class(report))
    print(means(report))
    print(f"report: {out / HTML}")
    if gate is not None:
        print(_verdict(gate, checks))
    return 0 if all(check.passed for check in checks) else EXIT_GATE


def evaluate_replay(
    replayed: Replayed,
    truth: TruthFolder,
    bundle: Bundle,
    out: Path,
    *,
    gate: Gate | None = None,
    worst: int = 8,
) -> tuple[dict[str, object], list[Check]]:
    """Score a replay, and write `evaluation.json` and `evaluation.html`; warnings go to standard error.

    Args:
        replayed: the replay.
        truth: the labelled images.
        bundle: the model it was replayed with.
        out: folder of the two files.
        gate: thresholds.
        worst: how many of the worst images to show.

    Returns:
        The report as docs/evaluation.md describes it, and what the gate says.

    Raises:
        PerceptionError: nothing can be scored, a truth file does not fit, or `out` cannot be written.
    """
    comparison = Comparison(replayed, truth, bundle)
    frames = comparison.worst(worst)
    report: dict[str, object] = {
        "format": FORMAT,
        "version": __version__,
        "bags": [str(path) for path in replayed.bags],
        "truth": [str(path) for path in truth.roots],
        "rig": str(replayed.rig) if replayed.rig else None,
        "replay": str(replayed.folder),
        "complete": replayed.complete,
        "model": bundle.name,
        "bundle": bundle.identity(),
        "backend": replayed.report.get("backend"),
        **comparison.summary,
        "frames": comparison.frames(frames),
        "latency_ms": _total(replayed.report),
        "warnings": comparison.warnings(),
    }
    checks = gate.check(report) if gate else []
    report["gate"] = None
    if gate is not None:
        passed, made = all(check.passed for check in checks), [check.to_dict() for check in checks]
        report["gate"] = {"file": str(gate.path), "passed": passed, "checks": made}
    pictures = list(comparison.pictures(frames))
    write_text(out / HTML, render(report, bundle.classes, pictures))
    write_text(out / _JSON, json.dumps(report, indent=2, allow_nan=False) + "\n")
    for line in comparison.warnings():
        print(f"warning: {line}", file=sys.stderr)
    return report, checks


def _replay(options: argparse.Namespace) -> Path:
    """Replay into DIR/replay, or go on where an earlier run stopped."""
    folder: Path = options.out / _REPLAY
    report = replay_with_progress(
        ReplayOptions(
            bags=options.bags, bundle=options.model, out=folder, rig=options.rig, topics=options.topics,
            backend=options.backend, threads=options.threads, overlay_width=0, overwrite=options.overwrite,
        )
    )  # fmt: skip
    if not report["frames_out"]:
        raise PerceptionError(f"no image became a mask; see the reasons in {folder / 'report.html'}")
    return folder


def _total(report: Mapping[str, object]) -> object:
    stages = report.get("stages_ms")
    return stages.get("total") if isinstance(stages, dict) else None


def _per_class(report: Mapping[str, object]) -> str:
    per_class = report["per_class"]
    assert isinstance(per_class, dict)  # noqa: S101 - as `evaluate_replay` makes them
    width = max(map(len, per_class))
    return "\n".join(f"{name:{width}}  {percent(iou):>5}" for name, iou in per_class.items())


def means(report: Mapping[str, object]) -> str:
    """Return the means of a report, and how many masks they are over, in one line."""
    frames = report["frames"]
    assert isinstance(frames, dict)  # noqa: S101 - as `evaluate_replay` makes them
    keys = [key for key in ("miou13", "miou12") if report[key] is not None] or ["miou"]
    values = ", ".join(f"{key} {report[key]:.4f}" for key in keys)
    return f"{values} over {frames['scored']} of {frames['masks']} masks"


def _verdict(gate: Gate, checks: Sequence[Check]) -> str:
    failed = [check for check in checks if not check.passed]
    if not failed:
        return f"gate {gate.path}: all {len(checks)} thresholds met"
    width = max(len(check.limit.name) for check in failed)
    lines = [f"gate {gate.path}: {len(failed)} of {len(checks)} thresholds missed"]
    for check in failed:
        found = "not measured" if check.value is None else f"{check.value:.4f}"
        kind = "at most" if check.limit.at_most else "at least"
        lines.append(f"  {check.limit.name:{width}}  {found:>12}  {kind} {check.limit.limit:g}")
    return "\n".join(lines)
