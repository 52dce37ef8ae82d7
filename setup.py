"""Installation with pip: the same Python as in the ROS package, and the files that travel with it.

Everything else about the package is in `pyproject.toml`. `colcon` builds from `CMakeLists.txt` instead.
"""

from pathlib import Path

from setuptools import setup

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


# colcon builds into `build` too: keep out of its way.
setup(data_files=data_files(), options={"build": {"build_base": "build/pip"}})
