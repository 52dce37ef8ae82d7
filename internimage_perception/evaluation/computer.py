"""What a computer is, for reports of measurements: nothing of it is needed to run."""

import importlib
import os
import platform
import re
import subprocess
from pathlib import Path

from internimage_perception import __version__

_MODULES = ("tensorrt", "cuda.bindings", "onnxruntime", "torch", "numpy", "cv2")
_TEGRA = Path("/etc/nv_tegra_release")
_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
_TIMEOUT_S = 20


def describe_computer() -> dict[str, object]:
    """Return system, processor, memory, GPUs, versions of libraries; what cannot be told is left out."""
    found: dict[str, object] = {
        "internimage_perception": __version__,
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "ros_distro": os.environ.get("ROS_DISTRO"),
        "jetson": _TEGRA.read_text(encoding="utf-8").strip() if _TEGRA.is_file() else None,
        "gpus": _gpus(),
        "libraries": {name: version for name in _MODULES if (version := _version(name))},
    }
    return {name: value for name, value in found.items() if value}


def _processor() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else None


def _gpus() -> list[str]:
    try:
        done = subprocess.run(  # noqa: S603 - a constant
            _QUERY, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _version(name: str) -> str | None:
    try:
        module = importlib.import_module(name)
    except Exception:  # noqa: BLE001 - a broken library is one that is not there; its backend says why
        return None
    version = getattr(module, "__version__", None)
    return str(version) if version else None
