"""What `internimage-perception inspect ops` shows: which implementations there are here, and how fast."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

from internimage_perception.ops.choice import IMPLEMENTATIONS, choose, missing
from internimage_perception.ops.dcnv3 import NATIVE_DEVICES, dcnv3
from internimage_perception.ops.native_cuda import CUDA_LIBRARY
from internimage_perception.ops.native_library import NativeError, cpu_library, library_path

_SHAPE = (1, 64, 64, 64)
_GROUP = 4
_REPEATS = 5

_Times = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class GpuReport:
    """State of the operators on the GPU that PyTorch sees first.

    Attributes:
        device: its name, None where PyTorch sees none.
        chosen: what "auto" takes for float32 tensors there; "none" without a GPU, or where it would fail.
        why: one sentence.
        library: path of the native CUDA library, None without one.
        milliseconds: as in `OpsReport`; empty without a GPU.
    """

    device: str | None
    chosen: str
    why: str
    library: str | None
    milliseconds: _Times


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
        gpu: the same on the GPU.
        shape: of the input map that was timed, (N, H, W, C).
    """

    chosen: str
    why: str
    library: str | None
    instructions: str | None
    threads: int
    milliseconds: _Times
    gpu: GpuReport
    shape: tuple[int, ...] = field(default=_SHAPE)

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the report as text for people."""
        return "\n".join(
            [
                f"operators run by: {self.chosen} ({self.why})",
                f"library: {self.library or 'none'}"
                + (f", {self.instructions} instructions" if self.instructions else ""),
                f"threads: {self.threads}",
                *self._table(self.milliseconds),
                f"GPU: {self.gpu.device or 'PyTorch sees none'}",
                f"DCNv3 runs there by: {self.gpu.chosen} ({self.gpu.why})",
                f"CUDA library: {self.gpu.library or 'none'}",
                *self._table(self.gpu.milliseconds),
            ]
        )

    def _table(self, milliseconds: _Times) -> list[str]:
        lines = []
        for operator, times in milliseconds.items():
            slowest = max(times.values(), key=lambda item: item["forward"])
            lines.append(f"{operator}, float32 {'x'.join(map(str, self.shape))}, milliseconds:")
            for name, item in times.items():
                ratio = slowest["forward"] / item["forward"]
                lines.append(
                    f"  {name:<10} forward {item['forward']:8.2f}  with backward {item['backward']:8.2f}"
                    f"  ({ratio:.1f} times the slowest)"
                )
        return lines


def report_ops() -> OpsReport:
    """Look at the operators of this machine and time each implementation, a second or two in all."""
    cpu = torch.device("cpu")
    chosen, why = _choice(cpu)
    path = library_path()
    return OpsReport(
        chosen=chosen,
        why=why,
        library=None if path is None else str(path),
        instructions=None if missing() else cpu_library().dcnv3_cpu_instructions().decode(),
        threads=torch.get_num_threads(),
        milliseconds=_milliseconds(cpu),
        gpu=_report_gpu(),
    )


def first_gpu() -> torch.device | None:
    """Return the GPU that is measured: the current one, None where PyTorch sees none."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None


def _report_gpu() -> GpuReport:
    path = library_path(CUDA_LIBRARY)
    library = None if path is None else str(path)
    device = first_gpu()
    if device is None:
        obstacle = missing("cuda")
        why = "there is no GPU here" + (f"; {obstacle}" if obstacle else "; the CUDA kernels would be there")
        return GpuReport(device=None, chosen="none", why=why, library=library, milliseconds={})
    chosen, why = _choice(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    try:
        times = _milliseconds(device)
    except NativeError as error:
        # Built for other GPUs, for example: then "auto" would fail in the same words.
        chosen, why, times = "none", f"the CUDA kernels fail: {error}", {}
    return GpuReport(device=name, chosen=chosen, why=why, library=library, milliseconds=times)


def _choice(device: torch.device) -> tuple[str, str]:
    """Return what "auto" takes for float32 tensors on a device, and why."""
    sample = torch.zeros(1, device=device)
    try:
        chosen = choose("auto", sample, devices=NATIVE_DEVICES)
    except NativeError as error:
        return "none", f"the environment asks for native; {error}"
    obstacle = missing(device.type)
    if chosen == "native" and device.type == "cuda":
        return chosen, "made for float32, float16 and bfloat16 on GPUs; others run in PyTorch"
    if chosen == "native":
        why = "the fastest there is for float32, float64 and bfloat16 on the CPU; others run in PyTorch"
        return chosen, why
    if obstacle is not None:
        return chosen, f"the native kernels are not there: {obstacle}"
    return chosen, "the environment asks for it"


def _milliseconds(device: torch.device) -> _Times:
    """Time the implementations that there are for a device."""
    found = [name for name in IMPLEMENTATIONS if name == "reference" or missing(device.type) is None]
    return {"dcnv3": {name: _time_dcnv3(name, device) for name in found}}


def _time_dcnv3(implementation: str, device: torch.device) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    batch, height, width, channels = _SHAPE
    samples = _GROUP * 9
    tensors = [
        torch.randn(batch, height, width, size, generator=generator).to(device).requires_grad_()
        for size in (channels, 2 * samples, samples)
    ]

    def forward() -> torch.Tensor:
        return dcnv3(*tensors, kernel_size=3, group=_GROUP, softmax=True, implementation=implementation)

    def backward() -> None:
        torch.autograd.grad(forward().sum(), tensors)

    with torch.no_grad():
        alone = _median_ms(forward, device)
    return {"forward": alone, "backward": _median_ms(backward, device)}


def _median_ms(call: Callable[[], object], device: torch.device) -> float:
    def finish() -> None:
        # Work on a GPU goes on after its call has returned.
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    call()
    times = []
    for _ in range(_REPEATS):
        finish()
        start = time.perf_counter()
        call()
        finish()
        times.append(1e3 * (time.perf_counter() - start))
    return round(statistics.median(times), 3)
