"""`internimage-perception replay`: bags through the same task as the node."""

import argparse
import sys
from pathlib import Path

from internimage_perception.bags.replay import Replay, ReplayOptions
from internimage_perception.cli.progress import ProgressLine
from internimage_perception.errors import PerceptionError
from internimage_perception.inference.backends import BACKENDS
from internimage_perception.inference.parameters import constraints, parameters_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "bags", nargs="+", type=Path, metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag"
    )
    parser.add_argument(
        "--model", required=True, type=Path, metavar="BUNDLE",
        help="folder of the model bundle, or the name of a shipped one",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for bag, report.json and report.html"
    )
    parser.add_argument(
        "--rig", type=Path, help="rig file; without it the bag's image topics and CameraInfo serve"
    )
    parser.add_argument("--topics", nargs="+", default=[], metavar="[NAME=]TOPIC", help="image topics to use")
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads of the graph; 0: the backend's choice"
    )
    parser.add_argument(
        "--real-time", action="store_true", help="at the recorded pace; late sets give way, as live"
    )
    parser.add_argument("--set-log", type=Path, metavar="FILE", help="form exactly the sets a node logged")
    for name in ("anchor", "rate_hz", "tolerance_ms", "deadline_ms"):
        default, constraint = constraints()[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}", default=default, type=type(default), help=constraint.description
        )
    parser.add_argument("--overlay-width", type=int, default=640, help="columns of overlay pictures; 0: none")
    parser.add_argument("--confidence", action="store_true", help="write confidence images too")
    parser.add_argument("--segment-sets", type=int, default=100, help="sets per segment of the output bag")
    parser.add_argument("--overwrite", action="store_true", help="replace another replay's results in DIR")


def run(options: argparse.Namespace) -> int:
    """Replay; prints what came out."""
    checked = parameters_from(
        {
            "anchor": options.anchor, "rate_hz": options.rate_hz, "tolerance_ms": options.tolerance_ms,
            "deadline_ms": options.deadline_ms, "threads": options.threads,
        }
    )  # fmt: skip
    report = replay_with_progress(
        ReplayOptions(
            bags=options.bags,
            bundle=options.model,
            out=options.out,
            rig=options.rig,
            topics=options.topics,
            backend=options.backend,
            threads=checked.threads,
            real_time=options.real_time,
            collector=checked.collector_config(),
            set_log=options.set_log,
            overlay_width=max(0, options.overlay_width),
            confidence=options.confidence,
            segment_sets=max(1, options.segment_sets),
            overwrite=options.overwrite,
        )
    )
    print(summary(report))
    print(f"report: {options.out / 'report.html'}")
    errors = report.get("errors")
    if isinstance(errors, dict):
        for reason, count in errors.items():
            print(f"{count} image(s) could not be used: {reason}", file=sys.stderr)
    if not report["frames_out"]:
        raise PerceptionError("no image became a mask; see the reasons above and the report")
    return 0


def replay_with_progress(options: ReplayOptions) -> dict[str, object]:
    """Replay with a progress line and warnings on standard error; returns the report."""
    line = ProgressLine()
    try:
        return Replay(options, on_progress=line, say=lambda text: print(text, file=sys.stderr)).run()
    finally:
        line.close()


def summary(report: dict[str, object]) -> str:
    """Return the replay's outcome in one line."""
    stages = report.get("stages_ms")
    total = stages.get("total") if isinstance(stages, dict) else None
    throughput = report.get("throughput")
    speed = throughput.get("images_per_s") if isinstance(throughput, dict) else 0
    text = (
        f"{report['frames_out']} masks from {report['frames_in']} images in {report['sets']} sets "
        f"({report['backend']}), {speed} images/s"
    )
    if isinstance(total, dict):
        text += f"; per set p50 {total['p50']} ms, p95 {total['p95']} ms, p99 {total['p99']} ms"
    return text
