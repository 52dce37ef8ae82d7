"""Memory and time that making a bundle of one of the largest networks takes: export, check, weights.

    bench/large_bundle.py [--architecture internimage_h_1k] [--memory-gb 16] [--folder /var/tmp]

Runs `internimage-perception bundle` with random weights in a process of its own. Writes
`results/large_bundle.json`. Memory is the highest resident one of that process, its imports included.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import available_memory, save

_GB = 1e9


def main() -> int:
    """Measure and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", default="internimage_h_1k")
    parser.add_argument("--memory-gb", type=float, default=16.0, help="refuse to start with less available")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the bundle")
    parser.add_argument("--note", help="stored with the results: what else the computer did, for example")
    options = parser.parse_args()
    if (available := available_memory() / _GB) < options.memory_gb:
        sys.exit(f"{available:.1f} GB of memory are available, {options.memory_gb} are asked for")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        out = Path(folder) / "bundle"
        start = time.perf_counter()
        subprocess.run(
            [
                sys.executable, "-m", "internimage_perception.cli.main", "bundle", "--random-weights",
                "--architecture", options.architecture, "--out", str(out),
            ],
            check=True,
        )  # fmt: skip
        wall_s = time.perf_counter() - start
        size = sum(path.stat().st_size for path in out.iterdir())
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    save(
        "large_bundle",
        {
            "architecture": options.architecture,
            "bundle_gb": round(size / _GB, 2),
            "peak_gb": round(peak / _GB, 1),
            "wall_s": round(wall_s),
        },
        options.note,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
