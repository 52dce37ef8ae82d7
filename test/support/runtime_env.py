"""A Python environment with exactly what a vehicle computer has, made of links to what is installed here."""

import os
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

RUNTIME = ("numpy", "opencv-python-headless", "PyYAML", "rosbags", "onnxruntime")
FORBIDDEN = ("torch", "pydantic", "typer", "rich", "onnx", "onnxscript", "safetensors", "scipy", "pytest")


def closure(names: list[str]) -> dict[str, Distribution]:
    """Return the named distributions and everything they require, as installed."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for line in found[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def build(folder: Path) -> Path:
    """Make the environment in `folder`; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    target = next((folder / "lib").glob("python3*")) / "site-packages"
    names = [*RUNTIME]
    for item in distributions():
        name = item.metadata["Name"]
        if name and name.lower().startswith("ros-"):
            names.append(name)
    # ROS itself needs these of the index.
    names += ["lark", "lark-parser", "typing_extensions", "packaging", "setuptools"]
    for item in closure(names).values():
        for file in item.files or ():
            top = file.parts[0]
            source = Path(str(item.locate_file(top)))
            link = target / top
            if top not in ("..", "__pycache__") and source.exists() and not link.exists():
                link.symlink_to(source)
    return folder / "bin" / "python"


def environment(project: Path) -> dict[str, str]:
    """Return this process's environment with the source tree importable."""
    result = dict(os.environ)
    parts = [part for part in result.get("PYTHONPATH", "").split(os.pathsep) if part]
    result["PYTHONPATH"] = os.pathsep.join([*parts, str(project)])
    result.pop("COVERAGE_PROCESS_START", None)
    return result
