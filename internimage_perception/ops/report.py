"""What `internimage-perception inspect ops` shows: which implementations there are here, and how fast."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

from internimage_perception.ops.choice import IMPLEMENTATIONS, choose, missing
from internimage_perception.ops.dcnv3 import dcnv3
from internimage_perception.ops.native_library import cpu_library, library_path

_SHAPE = (1, 64, 64, 64)
_GROUP = 4
_REPEATS = 5


@dataclass(frozen=True)
class OpsReport:
    """State of the operators on this machine.

    Attributes:
        chosen: what "auto" takes for float32 tensors on the CPU.
        why: one sentence.
        library: path of the native CPU library, None without one.
        instructions: instruction set its kernels run with here.
        threads: threads PyTorch, and so the kernels, use.
        milliseconds: operator name to implementation to pass ("forward", "backward") to the median time of
            one call; backward includes the forward pass.
        shape: of the input map that was timed, (N, H, W, C).
    """

    chosen: str
    why: str
    library: str | None
    instructions: str | None
    threads: int
    milliseconds: dict[str, dict[str, dict[str, float]]]
    shape: tuple[int, ...] = field(default=_SHAPE)

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the report as text for people."""
        lines = [
            f"operators run by: {self.chosen} ({self.why})",
            f"library: {self.library or 'none'}"
            + (f", {self.instructions} instructions" if self.instructions else ""),
            f"threads: {self.threads}",
        ]
        for operator, times in self.milliseconds.items():
            slowest = max(times.values(), key=lambda item: item["forward"])
            lines.append(f"{operator}, float32 {'x'.join(map(str, self.shape))}, milliseconds:")
            for name, item in times.items():
                ratio = slowest["forward"] / item["forward"]
                lines.append(
                    f"  {name:<10} forward {item['forward']:8.2f}  with backward {item['backward']:8.2f}"
                    f"  ({ratio:.1f} times the slowest)"
                )
        return "\n".join(lines)


def report_ops() -> OpsReport:
    """Look at the operators of this machine and time each implementation, a second in all."""
    obstacle = missing()
    sample = torch.zeros(1)
    chosen = choose("auto", sample)
    if obstacle is not None:
        why = f"the native kernels are not there: {obstacle}"
    elif chosen == "native":
        why = "the fastest there is for float32, float64 and bfloat16 on the CPU; others run in PyTorch"
    else:
        why = "the environment asks for it"
    available = [name for name in IMPLEMENTATIONS if name == "reference" or obstacle is None]
    path = library_path()
    return OpsReport(
        chosen=chosen,
        why=why,
        library=None if path is None else str(path),
        instructions=None if obstacle else cpu_library().dcnv3_cpu_instructions().decode(),
        threads=torch.get_num_threads(),
        milliseconds={"dcnv3": {name: _time_dcnv3(name) for name in available}},
    )


def _time_dcnv3(implementation: str) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    batch, height, width, channels = _SHAPE
    samples = _GROUP * 9
    tensors = [
        torch.randn(batch, height, width, size, generator=generator).requires_grad_()
        for size in (channels, 2 * samples, samples)
    ]

    def forward() -> torch.Tensor:
        return dcnv3(*tensors, kernel_size=3, group=_GROUP, softmax=True, implementation=implementation)

    def backward() -> None:
        torch.autograd.grad(forward().sum(), tensors)

    with torch.no_grad():
        alone = _median_ms(forward)
    return {"forward": alone, "backward": _median_ms(backward)}


def _median_ms(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return round(statistics.median(times), 3)
