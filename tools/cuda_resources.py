"""Compile the CUDA kernels for every GPU architecture and write down what they take; no GPU is needed.

Fails on any warning, and where a specialised kernel of DCNv3, or one of attention or RoIAlign, spills
registers or uses a stack on the two architectures that matter most. Times are predictions: the slowest of
memory, first-level cache and arithmetic at the data sheet's rates, as if each worked alone, without a pause;
nothing here was run on a GPU. Results go to bench/results/cuda_resources.json and, as a table for
docs/performance.md, to the terminal.

Launches are those of the host build of the same sources (`-DDCNV3_HOST_CUDA=ON`, made by `make setup`).
"""

import argparse
import ctypes
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from cuda_launches import Launches, attention_launches, largest_launch, pooling_launches

from internimage_perception.ops import DCNv3Geometry
from internimage_perception.ops.native_cuda import dcnv3_cuda, dcnv3_cuda_backward, load

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "dcnv3_plugin"
RESULT = ROOT / "bench" / "results" / "cuda_resources.json"
HOST_LIBRARY = ROOT / "build" / "native" / "libdcnv3_cuda_on_host.so"
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
INPUTS = {
    "float32": ("float", "passes_f32"),
    "float16": ("f16", "passes_f16"),
    "bfloat16": ("bf16", "passes_bf16"),
}
SOURCES = ("kernels.cu", "msda_kernels.cu", "roi_align_kernels.cu")
MANGLED = {"f": "float32", "6__half": "float16", "13__nv_bfloat16": "bfloat16"}


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel; `channels` and `points` are 0 where they are known at run time only."""

    direction: str
    input: str
    lanes: int
    channels: int
    points: int
    registers: int
    stack: int
    spilled: int
    operator: str = "dcnv3"

    @property
    def specialised(self) -> bool:
        """Whether width and points are known to the compiler."""
        return self.channels > 0

    @property
    def overflows(self) -> bool:
        """Whether it needs memory where it should do with registers: the general DCNv3 kernels may."""
        return (self.specialised or self.operator != "dcnv3") and bool(self.stack or self.spilled)


@dataclass(frozen=True)
class Device:
    """What a data sheet says: per multiprocessor, and rates of the whole chip."""

    name: str
    multiprocessors: int
    clock_ghz: float
    memory_gb_s: float
    threads: int
    shared_kib: int
    registers: int = 65536
    cache_bytes_per_clock: int = 128
    fused_adds_per_clock: int = 128

    def resident_blocks(self, threads: int, registers: int, shared: int) -> int:
        """Return how many blocks one multiprocessor holds."""
        by_registers = self.registers // (-(-registers // 8) * 8 * threads)
        by_shared = self.shared_kib * 1024 // (shared + 1024)
        return min(self.threads // threads, by_registers, by_shared)

    def microseconds(self, memory_bytes: float, cache_bytes: float, fused_adds: float) -> dict[str, float]:
        """Return the time each of three limits sets."""
        clocks = self.multiprocessors * self.clock_ghz * 1e3
        return {
            "memory": memory_bytes / (self.memory_gb_s * 1e3),
            "cache": cache_bytes / (clocks * self.cache_bytes_per_clock),
            "arithmetic": fused_adds / (clocks * self.fused_adds_per_clock),
        }


DEVICES = {
    87: Device("Jetson AGX Orin 64 GB (sm_87)", 16, 1.30, 204.8, 1536, 164),
    90: Device("H200 (sm_90)", 132, 1.98, 4800.0, 2048, 228),
}


@dataclass(frozen=True)
class Work:
    """One call: stage 1 of a network for images of 512x1024."""

    name: str
    group: int
    channels: int
    kernel: int
    height: int = 128
    width: int = 256

    @property
    def points(self) -> int:
        """Samples per unit."""
        return self.kernel**2

    def bytes_per_output(self, direction: str, size: int) -> dict[str, float]:
        """Return bytes per output number: from and to memory, and through the first-level cache.

        From and to memory, each array counts once. Backward, the input's gradient is cleared, added to and,
        for types of two bytes, converted at the end.
        """
        samples = 3 * self.points / self.channels * size
        gathered = 4 * self.points * size
        if direction == "Forward":
            return {"memory": 2 * size + samples, "cache": gathered}
        sums = 12 if size == 4 else 18
        return {"memory": 2 * size + 2 * samples + sums, "cache": gathered + 4 * self.points * 4}


WORKS = (Work("T", 4, 16, 3), Work("H", 10, 32, 5))


def parse(text: str) -> list[Kernel]:
    """Return the passes' kernels that ptxas (-v) speaks of."""
    found = []
    for part in text.split("Compiling entry function")[1:]:
        name = re.search(
            r"(?:\d(msda|roi_align))?\d(Forward|Backward|Weigh)(?:I(f|6__half|13__nv_bfloat16)((?:Li\d+E)*)E)?E",
            part,
        )
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        registers = re.search(r"Used (\d+) registers", part)
        if name and stack and registers:
            numbers = [int(number) for number in re.findall(r"Li(\d+)E", name[4] or "")]
            lanes, channels, points = (*numbers, 0, 0, 0)[:3]
            found.append(
                Kernel(
                    name[2], MANGLED[name[3]] if name[3] else "float64", lanes, channels, points,
                    int(registers[1]), int(stack[1]), int(stack[2]) + int(stack[3]), name[1] or "dcnv3",
                )
            )  # fmt: skip
    return found


def compile_kernels(nvcc: str, architecture: int, input_type: str, folder: Path) -> str:
    """Compile for one architecture and type of input; return what the compiler said. Exits if that fails."""
    macro, passes = INPUTS[input_type]
    everything = ""
    for source in SOURCES:
        command: list[str | Path] = [
            nvcc, "-std=c++17", "-c", f"-arch=sm_{architecture}", "-Xptxas", "-v", "-Werror", "all-warnings",
            "-Xcompiler", "-Wall,-Wextra", f"-I{PLUGIN / 'include'}", f"-I{PLUGIN / 'src'}",
            f"-DDCNV3_INPUT={macro}", f"-DDCNV3_PASSES={passes}",
            "-o", folder / "kernels.o", PLUGIN / "src" / "cuda" / source,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode or "warning" in said.lower():
            sys.exit(f"sm_{architecture}, {input_type}, {source}: warnings or errors\n{said}")
        everything += said
    return everything


def launches_of(library: ctypes.CDLL, work: Work) -> Launches:
    """Return what the host build chose for both directions in float16: blocks, threads, shared memory."""
    geometry = DCNv3Geometry.make(
        kernel_size=work.kernel, stride=1, padding=work.kernel // 2, dilation=1, group=work.group,
        offset_scale=1.0, remove_center=False,
    )  # fmt: skip
    samples = work.group * work.points

    def zeros(channels: int) -> torch.Tensor:
        return torch.zeros(1, work.height, work.width, channels, dtype=torch.float16)

    value, offset, mask = zeros(work.group * work.channels), zeros(2 * samples), zeros(samples)
    found = {}
    for direction in ("Forward", "Backward"):
        if direction == "Forward":
            dcnv3_cuda(value, offset, mask, geometry, library=library)
        else:
            dcnv3_cuda_backward(value, offset, mask, value, geometry, [True] * 3 + [False], library=library)
        found[direction] = largest_launch(library)
    return found


@dataclass(frozen=True)
class Residence:
    """What blocks of one call in float16 take, and how many threads one multiprocessor holds of them."""

    operator: str
    call: str
    direction: str
    device: str
    registers: int
    launch: dict[str, int]
    resident_threads: int


def residences(library: ctypes.CDLL, kernels: dict[int, list[Kernel]]) -> list[Residence]:
    """Return those of attention and RoIAlign."""
    calls = (
        ("msda", 32, "2500 queries, 4 levels x 8 points", attention_launches(library, 2500, 4, 8)),
        ("msda", 32, "2500 queries, 1 level x 4 points", attention_launches(library, 2500, 1, 4)),
        ("roi_align", 0, "100 boxes, 7x7 bins, 256 channels", pooling_launches(library)),
    )
    found = []
    for (operator, channels, call, launches), (number, device) in itertools.product(calls, DEVICES.items()):
        for direction, launch in launches.items():
            wanted = (operator, direction, "float16", channels)
            registers = next(
                k.registers
                for k in kernels[number]
                if (k.operator, k.direction, k.input, k.channels) == wanted
            )
            blocks = device.resident_blocks(launch["threads"], registers, launch["shared"])
            residence = launch["threads"] * blocks
            found.append(Residence(operator, call, direction, device.name, registers, launch, residence))
    return found


@dataclass(frozen=True)
class Prediction:
    """What one call in float16 takes on one device."""

    work: Work
    direction: str
    device: str
    registers: int
    launch: dict[str, int]
    resident_threads: int
    bytes_per_output: dict[str, float]
    predicted_us: dict[str, float]

    def row(self) -> str:
        """Return a line of the table in Markdown, the slowest limit in bold."""
        work, most = self.work, max(self.predicted_us.values())
        times = (f"**{t:.1f}**" if t == most else f"{t:.1f}" for t in self.predicted_us.values())
        cells = (
            f"{work.name}, {work.group} groups of {work.channels}, {work.kernel}x{work.kernel}",
            f"{self.direction.lower()}, {self.device}",
            str(self.registers),
            f"{self.launch['shared']} B / {self.launch['threads']}",
            str(self.resident_threads),
            f"{self.bytes_per_output['memory']:.1f} / {self.bytes_per_output['cache']:.0f}",
            " / ".join(times),
        )
        return f"| {' | '.join(cells)} |"


def predict(
    work: Work, direction: str, launch: dict[str, int], device: Device, kernels: list[Kernel]
) -> Prediction:
    """Return the prediction for one call in float16."""
    wanted = ("dcnv3", direction, "float16", work.channels, work.points)
    kernel = next(k for k in kernels if (k.operator, k.direction, k.input, k.channels, k.points) == wanted)
    outputs = work.height * work.width * work.group * work.channels
    moved = work.bytes_per_output(direction, 2)
    # Forward: a multiplication and addition per corner. Backward: one for the dots, one for the sums.
    adds = outputs * 4 * work.points * (1 if direction == "Forward" else 2)
    times = device.microseconds(outputs * moved["memory"], outputs * moved["cache"], adds)
    threads = launch["threads"]
    return Prediction(
        work, direction, device.name, kernel.registers, launch,
        threads * device.resident_blocks(threads, kernel.registers, launch["shared"]),
        {name: round(number, 2) for name, number in moved.items()},
        {name: round(time, 2) for name, time in times.items()},
    )  # fmt: skip


def table(predictions: list[Prediction]) -> str:
    """Return the predictions as a table in Markdown."""
    titles = (
        "stage 1 of", "pass, device", "registers", "shared memory per block / its threads",
        "threads per multiprocessor", "bytes per output: memory / cache",
        "predicted us: memory / cache / arithmetic",
    )  # fmt: skip
    head = f"| {' | '.join(titles)} |"
    return "\n".join([head, "|---" * len(titles) + "|", *(row.row() for row in predictions)])


def main() -> int:
    """Run as a program; return 1 where a specialised kernel spills on an architecture that matters most."""
    parser = argparse.ArgumentParser(description="Compile the CUDA kernels and write down what they take.")
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "nvcc")
    parser.add_argument("--architectures", type=int, nargs="+", default=ARCHITECTURES)
    parser.add_argument("--host-library", type=Path, default=HOST_LIBRARY)
    arguments = parser.parse_args()
    version = subprocess.run([arguments.nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    kernels: dict[int, list[Kernel]] = {}
    spilling: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in sorted({*arguments.architectures, *DEVICES}):
            said = "".join(compile_kernels(arguments.nvcc, architecture, i, Path(folder)) for i in INPUTS)
            kernels[architecture] = parse(said)
            spilling += [
                f"sm_{architecture}: {kernel}"
                for kernel in kernels[architecture]
                if architecture in DEVICES and kernel.overflows
            ]
            registers = [kernel.registers for kernel in kernels[architecture]]
            print(f"sm_{architecture}: {len(registers)} kernels, {max(registers)} registers", flush=True)
    library = load(arguments.host_library)
    rows = [
        predict(work, direction, launch, device, kernels[architecture])
        for work in WORKS
        for direction, launch in launches_of(library, work).items()
        for architecture, device in DEVICES.items()
    ]
    resident = residences(library, kernels)
    content = {
        "measured_on_a_gpu": False,
        "nvcc": version.strip().splitlines()[-1],
        "kernels": {f"sm_{a}": [asdict(kernel) for kernel in found] for a, found in kernels.items()},
        "predictions": [asdict(row) for row in rows],
        "residences": [asdict(row) for row in resident],
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    print("\n".join(map(str, resident)))
    print("\n".join(spilling) or "no kernel spills that should not")
    return int(bool(spilling))


if __name__ == "__main__":
    sys.exit(main())
