"""Memory that the largest networks take while they are loaded, in units of their weights.

For each case a file of the real size is written: the network's names and shapes, random values made and
written piece by piece, so that this takes little memory itself. A process of its own then loads it through
`load_large_model` as bfloat16, or for comparison in the ordinary way, and one image of 64x64 passes through
the network. What counts is the highest resident memory until the network is there, less what the process held
after its imports; Linux only. Cases that memory or the folder's disk have no room for are listed as left out.
Other work on the computer changes the times, not the memory.

    python bench/bench_large_models.py [--folder /var/tmp] [--case internimage_h_1k] [--note TEXT] ...
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from results import available_memory, peak_memory, save
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from internimage_perception.models import create_model, load_checkpoint, load_weights
from internimage_perception.models.streaming import load_large_model

GOAL = 1.15
SIDE = 64
_PIECE = 1 << 20
_GB = 1e9
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}


class Case(NamedTuple):
    """A registered network and the file it is loaded from."""

    network: str
    suffix: str
    stored: torch.dtype
    ordinary: bool = False

    def __str__(self) -> str:
        way = ", the ordinary way" if self.ordinary else ""
        return f"{self.network}, {self.suffix} of {str(self.stored).removeprefix('torch.')}{way}"


CASES = (
    Case("internimage_h_1k", ".safetensors", torch.bfloat16),
    # The published files are of this kind.
    Case("internimage_h_1k", ".pth", torch.float32),
    Case("upernet_internimage_h", ".pth", torch.float32),
    Case("internimage_g_1k", ".safetensors", torch.bfloat16),
    Case("upernet_internimage_g", ".safetensors", torch.bfloat16),
    Case("internimage_h_1k", ".safetensors", torch.float32, ordinary=True),
    Case("internimage_h_1k", ".pth", torch.float32, ordinary=True),
)


def state_of(network: str, floats: torch.dtype) -> dict[str, torch.Tensor]:
    """Return names, types and shapes of a network's weights, without values."""
    with torch.device("meta"):
        state = create_model(network).state_dict()
    return {name: t.to(floats) if t.is_floating_point() else t for name, t in state.items()}


def size_of(state: Mapping[str, torch.Tensor]) -> int:
    """Return the bytes that the values take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def reserve_safetensors(path: Path, state: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Write the header and room for the values; return where each tensor's begin."""
    header, offsets, end = {}, {}, 0
    for name, tensor in state.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        offsets[name] = start
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return {name: 8 + len(text) + offset for name, offset in offsets.items()}


def reserve_pickle(path: Path, state: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Write a PyTorch checkpoint with room for the values; return where each tensor's begin."""
    with FakeTensorMode(), torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save({"model": {n: torch.empty(t.shape, dtype=t.dtype) for n, t in state.items()}}, path)
    with FakeTensorMode():
        stored = torch.load(path, weights_only=True)["model"]
    return {name: getattr(tensor.untyped_storage(), "_checkpoint_offset") for name, tensor in stored.items()}  # noqa: B009 - PyTorch documents it, its types do not know it


def pieces(name: str, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield values that keep a network's numbers in range: small weights, statistics and scales near 1."""
    spread = 1.0 / math.sqrt(max(tensor[0].numel(), 1)) if tensor.dim() > 1 else 0.02
    middle = 1.0 if tensor.dim() == 1 and not name.endswith(".bias") else 0.0
    for start in range(0, tensor.numel(), _PIECE):
        count = min(_PIECE, tensor.numel() - start)
        yield (torch.randn(count) * spread + middle).to(tensor.dtype)


def write(case: Case, path: Path) -> dict[str, object]:
    """Write the case's file."""
    state = state_of(case.network, case.stored)
    reserve = reserve_pickle if case.suffix == ".pth" else reserve_safetensors
    offsets = reserve(path, state)
    torch.manual_seed(0)
    with path.open("r+b") as file:
        for name, tensor in state.items():
            file.seek(offsets[name])
            for values in pieces(name, tensor):
                file.write(values.view(torch.uint8).numpy().data)
    return {"file_gb": path.stat().st_size / _GB}


def ordinarily(network: str, path: Path) -> nn.Module:
    """Build the network with weights of its own, copy those of the file into it, and round them."""
    model = create_model(network).eval()
    load_weights(model, load_checkpoint(path))
    return model.to(torch.bfloat16)


def load(case: Case, path: Path) -> dict[str, object]:
    """Load the file in this process, run the network once, and return what both took."""
    before = peak_memory(reset=True)
    start = time.perf_counter()
    model = (ordinarily if case.ordinary else load_large_model)(case.network, path)
    load_s, highest = time.perf_counter() - start, peak_memory() - before
    weights = size_of(model.state_dict())
    start = time.perf_counter()
    with torch.inference_mode():
        answer = model(torch.randn(1, 3, SIDE, SIDE, dtype=torch.bfloat16))
    answers = [answer] if isinstance(answer, torch.Tensor) else list(answer)
    if not all(bool(item.isfinite().all()) for item in answers):
        raise SystemExit(f"{case}: the answer holds numbers that are not finite")
    return {
        "parameters_millions": round(sum(item.numel() for item in model.parameters()) / 1e6, 1),
        "weights_gb": round(weights / _GB, 3),
        "file_gb": round(path.stat().st_size / _GB, 3),
        "peak_gb": round(highest / _GB, 3),
        "peak_per_weights": round(highest / weights, 3),
        "peak_with_forward_per_weights": round((peak_memory() - before) / weights, 3),
        "load_s": round(load_s, 1),
        f"forward_{SIDE}x{SIDE}_s": round(time.perf_counter() - start, 1),
        "answer": [list(item.shape) for item in answers],
    }


def lacking(case: Case, folder: Path) -> str | None:
    """Return why this computer cannot take the case, or None."""
    needed = (4.5 if case.ordinary else 1.3) * size_of(state_of(case.network, torch.bfloat16)) + 0.6 * _GB
    file = size_of(state_of(case.network, case.stored))
    free = available_memory()
    room = shutil.disk_usage(folder).free
    if free < needed:
        return f"needs {needed / _GB:.1f} GB of memory; {free / _GB:.1f} GB are available"
    if room < 1.1 * file:
        return f"needs {file / _GB:.1f} GB in {folder}; {room / _GB:.1f} GB are free"
    return None


def in_a_process_of_its_own(step: str, case: Case, path: Path) -> dict[str, object]:
    """Run one step of a case elsewhere and return what it found."""
    command = [sys.executable, str(Path(__file__)), "--step", step, str(CASES.index(case)), str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def measure(case: Case, folder: Path) -> dict[str, object]:
    """Write, load, delete."""
    if reason := lacking(case, folder):
        return {"left_out": reason}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / f"weights{case.suffix}"
        in_a_process_of_its_own("write", case, path)
        return in_a_process_of_its_own("load", case, path)


def main() -> int:
    """Measure the cases and store the results; returns 1 where one exceeds the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the files")
    parser.add_argument("--case", action="append", help="network to measure; repeatable (default: all)")
    parser.add_argument("--note", help="stored with the results: what else the computer did, for example")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        step, number, path = options.step
        print(json.dumps({"write": write, "load": load}[step](CASES[int(number)], Path(path))))
        return 0
    chosen = [case for case in CASES if not options.case or case.network in options.case]
    rows = {str(case): measure(case, options.folder) for case in chosen}
    content = {"goal_peak_per_weights": GOAL, "torch": torch.__version__, "cases": rows}
    save("large_models", content, options.note)
    goals = [rows[str(case)].get("peak_per_weights", 0) for case in chosen if not case.ordinary]
    return 1 if any(float(str(peak)) > GOAL for peak in goals) else 0


if __name__ == "__main__":
    sys.exit(main())
