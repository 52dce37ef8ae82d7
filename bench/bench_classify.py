"""Time of `internimage-perception classify` on one photograph, from the start of Python to the answer.

InternImage-T with random weights at 224 pixels, 1000 classes, ONNX Runtime. `command` runs the command line
in processes of its own; `phases` is processor time inside one process, so that it can be seen where the
command's time goes; `load` reads bundles of many classes, without weights. `process` is processor time of
all threads, which other programs on the computer do not lengthen much.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from results import durations, save

from internimage_perception.inference.bundle import (
    CLASS_NAMES,
    CLASSIFICATION,
    Bundle,
    ClassSpec,
    InputSpec,
    OutputSpec,
    sha256_of,
)
from internimage_perception.inference.class_names import write_names

ARCHITECTURE = "internimage_t_1k"
IMAGE = (1200, 1600)
_PHASES = """
import sys, time
from pathlib import Path
marks = [("start of Python", time.process_time())]
def mark(name): marks.append((name, time.process_time()))
from internimage_perception.cli import classify, main
mark("imports")
from internimage_perception.inference.bundle import Bundle
bundle = Bundle.load(sys.argv[1])
mark("bundle with checksums")
import onnxruntime
mark("import of ONNX Runtime")
backend = classify.create_backend("onnxruntime", bundle)
mark("session")
image = classify.read_photograph(Path(sys.argv[2]))
mark("decoding")
from internimage_perception.inference.resampling import resize_and_crop
frame = resize_and_crop(image, bundle.input.height, bundle.input.width)
mark("resize and crop")
backend.run(frame[None])
mark("network")
before = 0.0
for name, at in marks:
    print(f"{name}\\t{1000 * (at - before):.1f}")
    before = at
"""


def timed(call: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the least wall-clock and processor time in seconds, after one call to warm up."""
    wall, process = durations(call, repeats, time.perf_counter, processor_time).min(axis=1).tolist()
    return {"wall_s": round(wall, 4), "process_s": round(process, 4)}


def processor_time() -> float:
    """Return the time that this process and the finished ones it started have computed, in seconds."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def run(*words: str) -> str:
    """Run a command of Python; returns what it prints."""
    return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout


def names_only(folder: Path, count: int) -> Path:
    """Make a classifier's bundle without weights."""
    folder.mkdir()
    names = [f"class number {index}" for index in range(count)]
    write_names(folder / CLASS_NAMES, names)
    Bundle(
        folder,
        "names",
        CLASSIFICATION,
        {"kind": "none"},
        tuple(ClassSpec(index, name) for index, name in enumerate(names)),
        InputSpec(224, 224),
        OutputSpec(),
        files={CLASS_NAMES: sha256_of(folder / CLASS_NAMES)},
    ).write_manifest()
    return folder


def main() -> int:
    """Measure, and save the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model, picture = str(folder / "model"), str(folder / "picture.jpg")
        noise = np.random.default_rng(0).integers(0, 256, (IMAGE[0] // 8, IMAGE[1] // 8, 3), dtype=np.uint8)
        cv2.imwrite(picture, cv2.resize(noise, IMAGE[::-1], interpolation=cv2.INTER_CUBIC))
        tool = ("-m", "internimage_perception.cli.main")
        run(*tool, "bundle", "--architecture", ARCHITECTURE, "--random-weights", "--out", model)
        words = (*tool, "classify", picture, "--model", model, "--backend", "onnxruntime")
        command = timed(lambda: run(*words), repeats)
        lines = run("-c", _PHASES, model, picture).splitlines()
        load = {}
        for count in (1000, 21841):
            bundle = names_only(folder / str(count), count)
            load[f"{count} classes"] = timed(lambda path=bundle: Bundle.load(path), repeats)
    save(
        "classify",
        {
            "model": f"{ARCHITECTURE}, 224x224, random weights",
            "image": f"JPEG, {IMAGE[1]}x{IMAGE[0]}",
            "command": command,
            "phases_process_ms": {name: float(value) for name, value in (x.split("\t") for x in lines)},
            "load": load,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
