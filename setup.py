"""Installation with pip: the same Python as in the ROS package, the native kernels, and what travels along.

Everything else about the package is in `pyproject.toml`. `colcon` builds from `CMakeLists.txt` instead.
"""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHARE = "share/internimage_perception"


def data_files() -> list[tuple[str, list[str]]]:
    """List what ROS installs into the share folder too, folder by folder."""
    files: dict[str, list[str]] = {SHARE: ["package.xml"]}
    for top in ("msg", "config", "launch"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(ROOT)
                files.setdefault(f"{SHARE}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return sorted(files.items())


class BuildWithKernels(build_py):
    """Copies the modules, and builds the native kernels into `lib` beside them.

    Where they cannot be built, the package works without, slower; an editable installation finds the ones
    that `cmake -S dcnv3_plugin -B build/native` makes.
    """

    def run(self) -> None:
        """Run the command."""
        super().run()
        if not self.editable_mode:
            try:
                self._build(Path(self.build_lib).resolve() / "internimage_perception")
            except (OSError, subprocess.CalledProcessError) as error:
                self.warn(f"native kernels are left out, DCNv3 will run in PyTorch, slower: {error}")

    def _build(self, package: Path) -> None:
        build = ROOT / "build" / "pip" / "native"
        cmake = shutil.which("cmake") or "cmake"
        kinds = ["-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_INSTALL_PREFIX={package}"]
        for words in (
            [cmake, "-S", ROOT / "dcnv3_plugin", "-B", build, *kinds],
            [cmake, "--build", build, "--parallel", str(os.cpu_count() or 1)],
            [cmake, "--install", build],
        ):
            subprocess.run(words, check=True)  # noqa: S603 - our own CMake files


class PlatformDistribution(Distribution):
    """Marks the wheel as one for this platform, because of the kernels in it."""

    def has_ext_modules(self) -> bool:
        """Return that there is native code."""
        return True


# colcon builds into `build` too: keep out of its way.
setup(
    data_files=data_files(),
    options={"build": {"build_base": "build/pip"}},
    cmdclass={"build_py": BuildWithKernels},
    distclass=PlatformDistribution,
)
