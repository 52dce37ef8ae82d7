"""The TensorRT plugin library of a vehicle computer: found, or compiled from the sources."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.plugins import find_library
from internimage_perception.inference.engines.tensorrt_module import Version
from internimage_perception.native_files import ENVIRONMENT

_SOURCES = "dcnv3_plugin"
_SHOWN_LINES = 15
NOT_LOOKED_FOR = "not looked for"
"""Without TensorRT and a GPU there is nothing that the library could belong to."""


@dataclass(frozen=True)
class LibraryState:
    """Where the library is.

    Attributes:
        path: of the library; None where there is none.
        state: "found", "compiled", "missing" or `NOT_LOOKED_FOR`.
        reason: why there is none, else what was done.
    """

    path: Path | None
    state: str
    reason: str = ""


def provide_library(version: Version, sources: Path | None, architecture: str | None) -> LibraryState:
    """Find the plugin library for a TensorRT, or compile it.

    Args:
        version: of TensorRT.
        sources: folder `dcnv3_plugin`; None: beside the package, as in its source tree.
        architecture: compute capability to compile for, such as "8.7"; None: what nvidia-smi tells.
    """
    if (found := find_library(version)) is not None:
        return LibraryState(found, "found")
    folder = sources or Path(__file__).resolve().parents[2] / _SOURCES
    if not (folder / "CMakeLists.txt").is_file():
        reason = (
            f"{version.library} is not installed and {folder} holds no sources; name their folder by "
            "--plugin-sources, or build the ROS package here (docs/plugin.md)"
        )
        return LibraryState(None, "missing", reason)
    # In a source tree this is where libraries are looked for.
    build = folder.parent / "build" / "native"
    chosen = [f"-DDCNV3_CUDA_ARCHITECTURES={architecture.replace('.', '')}"] if architecture else []
    options = ["-DDCNV3_CUDA=ON", "-DDCNV3_TENSORRT=ON", *chosen]
    try:
        _run(["cmake", "-S", str(folder), "-B", str(build), *options])
        _run(["cmake", "--build", str(build), "--parallel", str(os.cpu_count() or 1)])
    except BackendError as error:
        return LibraryState(None, "missing", f"{folder} does not compile here: {error}")
    path = build / version.library
    if not path.is_file():
        reason = f"{build} holds no {version.library}: the headers found belong to another TensorRT"
        return LibraryState(None, "missing", reason)
    if find_library(version) is None:
        before = os.environ.get(ENVIRONMENT)
        os.environ[ENVIRONMENT] = str(build) if not before else f"{build}{os.pathsep}{before}"
        return LibraryState(path, "compiled", f"set {ENVIRONMENT}={build} wherever the model runs")
    return LibraryState(path, "compiled")


def _run(command: Sequence[str]) -> None:
    try:
        # CMake, on the folder that the user named or that lies beside this package.
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        message = f"{command[0]} cannot be started: {error.strerror}; install it"
        raise BackendError(message) from error
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        message = " ".join(command[:2]) + " failed:\n" + "\n".join(said[-_SHOWN_LINES:])
        raise BackendError(message)
