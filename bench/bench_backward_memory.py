"""Memory of a backward pass of DCNv3 on the CPU, in units of the arrays it cannot do without.

These are inputs, output, the output's gradient and the inputs' gradients. What is measured is the peak of
resident memory from before the first of them exists, in a process of its own per case; Linux only.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping

import torch
from results import peak_memory, save

from internimage_perception.ops import dcnv3

GOAL = 1.1
CASES: Mapping[str, dict[str, object]] = {
    "128x128, 4 groups of 16, batch 2, float32": {"size": 128, "group": 4, "batch": 2, "dtype": "float32"},
    "the same with softmax and gate": {
        "size": 128, "group": 4, "batch": 2, "dtype": "float32", "softmax": True, "gate": True,
    },
    "the same with softmax and gate, bfloat16": {
        "size": 128, "group": 4, "batch": 2, "dtype": "bfloat16", "softmax": True, "gate": True,
    },
    "the same with softmax and gate, reference": {
        "size": 128, "group": 4, "batch": 2, "dtype": "float32", "softmax": True, "gate": True,
        "implementation": "reference",
    },
}  # fmt: skip


def measure(
    *,
    size: int,
    group: int,
    batch: int,
    dtype: str,
    softmax: bool = False,
    gate: bool = False,
    implementation: str = "native",
) -> dict[str, float]:
    """Run one forward and backward pass in this process, after a small one to warm up."""

    def call(side: int) -> int:
        shape, kind = (batch, side, side), getattr(torch, dtype)
        sizes = [16 * group, 18 * group, 9 * group, *([group] if gate else [])]
        leaves = [torch.empty(*shape, channels, dtype=kind).normal_().requires_grad_() for channels in sizes]
        gradient = torch.empty(*shape, sizes[0], dtype=kind).normal_()
        output = dcnv3(
            *leaves[:3], kernel_size=3, group=group, softmax=softmax, gate=leaves[3] if gate else None,
            implementation=implementation,
        )  # fmt: skip
        results = torch.autograd.grad(output, leaves, gradient)
        return sum(tensor.nbytes for tensor in (*leaves, gradient, output, *results))

    call(8)
    before = peak_memory(reset=True)
    arrays = call(size)
    found = peak_memory() - before
    mib = 2.0**20
    return {
        "arrays_mib": round(arrays / mib, 2),
        "peak_mib": round(found / mib, 2),
        "ratio": round(found / arrays, 3),
    }


def main() -> int:
    """Measure every case and store the results; returns 1 where native float32 misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", help="measure this one in this process, and print it as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.case:
        print(json.dumps(measure(**CASES[arguments.case])))  # type: ignore[arg-type]
        return 0
    found: dict[str, dict[str, float]] = {}
    for name in CASES:
        words = [sys.executable, __file__, "--threads", str(arguments.threads), "--case", name]
        found[name] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    save("backward_memory", {"threads": arguments.threads, "goal": GOAL, "cases": found})
    missed = [
        name
        for name, case in CASES.items()
        if case["dtype"] == "float32" and "implementation" not in case and found[name]["ratio"] > GOAL
    ]
    print(f"above the goal: {', '.join(missed) or 'none'}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
