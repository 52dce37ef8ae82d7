"""What measurements share: a model that costs nothing, times and memory, and where results go."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.inference.bundle import Bundle, ClassSpec, InputSpec, OutputSpec

RESULTS = Path(__file__).resolve().parent / "results"


def null_bundle(root: Path, output: str) -> Path:
    """Make a bundle for the null backend: 13 classes, 512x512, masks of size `output`."""
    root.mkdir(parents=True, exist_ok=True)
    classes = tuple(ClassSpec(i, f"class_{i}", (20 * i, 10 * i, 5 * i)) for i in range(13))
    Bundle(
        root, "null", "segmentation", {"kind": "none"}, classes, InputSpec(512, 512), OutputSpec(output)
    ).write_manifest()
    return root


def durations(
    call: Callable[[], object], repeats: int, *clocks: Callable[[], float]
) -> npt.NDArray[np.float64]:
    """Return seconds by each clock of each of several calls (clocks, repeats), after one call to warm up."""
    call()
    rows = []
    for _ in range(repeats):
        starts = [clock() for clock in clocks]
        call()
        rows.append([clock() - start for clock, start in zip(clocks, starts, strict=True)])
    return np.array(rows).T


def peak_memory(*, reset: bool = False) -> int:
    """Return the largest resident memory so far in bytes; with `reset`, forget it, and return that of now.

    Linux only.
    """
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def available_memory() -> int:
    """Return the bytes that programs can still take; Linux only."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the maximum."""
    if not values:
        return {}
    p50, p95, p99 = np.percentile(np.asarray(values), (50, 95, 99))
    return {
        "p50": round(float(p50), 2),
        "p95": round(float(p95), 2),
        "p99": round(float(p99), 2),
        "max": round(max(values), 2),
    }


def command(*words: object) -> None:
    """Run the package's command line; ends the program when it fails."""
    start = [sys.executable, "-m", "internimage_perception.cli.main"]
    done = subprocess.run(
        [*start, *map(str, words)], cwd=RESULTS.parents[1], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr}")


def machine() -> dict[str, object]:
    """Return what the numbers were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def save(name: str, content: Mapping[str, object], note: str | None = None) -> Path:
    """Write `results/NAME.json` with machine, commit, date and the note, and print it."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=RESULTS.parent,
    ).stdout.strip()
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    notes = {"note": note} if note else {}
    full = {"machine": machine(), "commit": commit, "date": date, **notes, **content}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(full, indent=2) + "\n")
    print(json.dumps(content, indent=2))
    return path
