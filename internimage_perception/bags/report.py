"""The numbers of a replay, computed from the bag it wrote: a resumed run reports like any other."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from internimage_perception import __version__
from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.report_html import render
from internimage_perception.bags.sink import TIMINGS
from internimage_perception.errors import BagError
from internimage_perception.files import write_text
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.ring import CameraStats
from internimage_perception.inference.sources import CameraSource

FORMAT = 1

_MOST_REASONS = 20
_OTHER_REASONS = "for further reasons"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come: frames read of all, sets written."""

    frames: int
    total_frames: int
    sets: int


def build_report(
    folder: Path,
    *,
    sources: Sequence[CameraSource],
    stats: Mapping[str, CameraStats],
    unreadable: Mapping[str, int],
    overrun: Mapping[str, int],
    facts: Mapping[str, object],
) -> dict[str, object]:
    """Return the report of the results in bag `folder`.

    Args:
        folder: the bag the replay wrote.
        sources: cameras and topics.
        stats: the collector's counts.
        unreadable: messages per camera that could not be parsed.
        overrun: frames per camera that gave way in real time.
        facts: what else to state, ahead of the numbers.
    """
    names = [source.name for source in sources]
    frames_out = dict.fromkeys(names, 0)
    undecodable = dict.fromkeys(names, 0)
    missing = dict.fromkeys(names, 0)
    reasons: dict[str, int] = {}
    stages: dict[str, list[int]] = {}
    sets = 0
    for timing in timings(folder):
        sets += 1
        for name in timing.cameras:
            frames_out[name] += 1
        for name in timing.missing:
            missing[name] += 1
        for line in timing.errors:
            undecodable[line.split(":", 1)[0]] += 1
            # Reasons may name sizes in bytes: a camera of torn files has a new one for every image.
            reason = line if line in reasons or len(reasons) < _MOST_REASONS else _OTHER_REASONS
            reasons[reason] = reasons.get(reason, 0) + 1
        for stage, duration in zip(timing.stages, timing.durations_ns, strict=True):
            stages.setdefault(stage, []).append(int(duration))
        stages.setdefault("total", []).append(int(timing.latency_ns))
    cameras = {}
    for source in sources:
        counts = stats[source.name]
        lost = {
            "duplicate": counts.duplicates,
            "skipped": counts.skipped,
            "unreadable": unreadable.get(source.name, 0),
            "undecodable": undecodable[source.name],
            "overrun": overrun.get(source.name, 0),
        }
        cameras[source.name] = {
            "topic": source.image_topic,
            "frames_in": counts.received + lost["unreadable"],
            "frames_out": frames_out[source.name],
            "dropped": lost,
            "missing_in_sets": missing[source.name],
            "zero_stamps": counts.zero_stamps,
            "future_stamps": counts.future_stamps,
            "out_of_order": counts.out_of_order,
            "time_jumps": counts.time_jumps,
        }
    return {
        "format": FORMAT,
        "version": __version__,
        **facts,
        "machine": {
            "system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count() or 0,
            "python": platform.python_version(),
        },
        "sets": sets,
        "frames_in": sum(int(item["frames_in"]) for item in cameras.values()),  # type: ignore[call-overload]
        "frames_out": sum(frames_out.values()),
        "cameras": cameras,
        "errors": reasons,
        "stages_ms": {name: _percentiles(values) for name, values in stages.items()},
    }  # fmt: skip


def write_reports(out: Path, report: Mapping[str, object], bundle: Bundle) -> None:
    """Write `report.json` and `report.html` into folder `out`."""
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    series: dict[str, list[float]] = {"total": [], "decode": [], "infer": [], "finish": []}
    for timing in timings(out / "bag"):
        series["total"].append(timing.latency_ns * 1e-6)
        for stage, duration in zip(timing.stages, timing.durations_ns, strict=True):
            if stage in series:
                series[stage].append(int(duration) * 1e-6)
    write_text(out / "report.html", render(report, series, out / "bag", bundle))


def timings(folder: Path) -> Iterator[Any]:
    """Yield the StageTimings messages of a replay's bag, in order; nothing when it wrote no set."""
    try:
        reader = open_bags(folder)
    except BagError:
        # Interrupted before the first set: there is no bag, or an empty one.
        return
    with reader:
        if TIMINGS in reader.topics:
            for item in reader.messages([TIMINGS]):
                yield item.message


def _percentiles(values_ns: Sequence[int]) -> dict[str, float]:
    values = np.asarray(values_ns, np.float64) * 1e-6
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {
        "p50": round(float(p50), 3),
        "p95": round(float(p95), 3),
        "p99": round(float(p99), 3),
        "mean": round(float(values.mean()), 3),
        "max": round(float(values.max()), 3),
    }
