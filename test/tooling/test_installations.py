"""Every way of installing gives one package: modules, messages (under ROS), files that travel along."""

import ctypes
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from internimage_perception.resources import share_path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ["msg/LabelInfo.msg", "config/fastdds.xml", "config/bundles/nano/model.yaml"]
PROGRAMS = ["perception_node", "segmentation_node", "internimage-perception"]

PROBE = """
import json, sys
import internimage_perception, internimage_perception.errors
from internimage_perception.resources import share_path
found = {
    "package": internimage_perception.__file__,
    "module": internimage_perception.errors.__file__,
    "share": [str(share_path(relative)) for relative in json.loads(sys.argv[1])],
    "messages": None,
}
if sys.argv[2] == "messages":
    from rclpy.serialization import deserialize_message, serialize_message
    from internimage_perception.msg import LabelInfo
    sent = LabelInfo(model="probe")
    assert deserialize_message(serialize_message(sent), LabelInfo) == sent
    found["messages"] = sys.modules["internimage_perception.msg"].__file__
print(json.dumps(found))
"""


def probe(python: Path | str, folder: Path, environ: dict[str, str], *, messages: bool) -> dict:
    """Import the package in a new process, from a folder where no source tree is in the way."""
    command = [str(python), "-c", PROBE, json.dumps(SHIPPED), "messages" if messages else "none"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def environment(prefix: Path | None) -> dict[str, str]:
    """Return the present environment with another install space in place of this checkout's."""
    # Coverage is about the source tree, not about copies of it.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    for variable, part in (
        ("AMENT_PREFIX_PATH", ""),
        ("PYTHONPATH", "lib/python3*/site-packages"),
        ("LD_LIBRARY_PATH", "lib"),
    ):
        kept = [
            entry for entry in environ.get(variable, "").split(os.pathsep) if entry and not is_ours(entry)
        ]
        own = [str(path) for path in ([*prefix.glob(part)] if part else [prefix])] if prefix else []
        environ[variable] = os.pathsep.join(own + kept)
    return environ


def is_ours(entry: str) -> bool:
    return Path(entry) == ROOT or Path(entry).is_relative_to(ROOT / "install")


def check_share(found: dict, folder: Path) -> None:
    assert found["share"] == [str(folder / relative) for relative in SHIPPED]
    assert [Path(path).read_bytes() for path in found["share"]] == [
        (ROOT / path).read_bytes() for path in SHIPPED
    ]


def check_kernels(library: Path) -> None:
    """The native kernels are there and can be loaded."""
    assert ctypes.CDLL(str(library)).dcnv3_abi_version() == 1


def check_programs(prefix: Path) -> None:
    for name in PROGRAMS:
        program = prefix / "lib" / "internimage_perception" / name
        assert program.stat().st_mode & stat.S_IXUSR, name
        python = f"{sys.prefix}/bin/python"
        start = f"#!/bin/sh\n'''exec' \"{python}\" " if " " in python else f"#!{python}\n"
        assert program.read_text().startswith(start), name
    for folder in (
        "lib/internimage_perception",
        "bin",
    ):  # for `ros2 run`, and on the PATH of a sourced workspace
        version = [str(prefix / folder / "internimage-perception"), "--version"]
        subprocess.run(version, env=environment(prefix), check=True, capture_output=True)


@pytest.fixture(scope="module")
def copied_sources(tmp_path_factory) -> Path:
    """Return a copy of what an installation is made from, for builds that write beside their sources."""
    copy = tmp_path_factory.mktemp("sources") / "internimage_perception"
    copy.mkdir()
    for folder in ("internimage_perception", "msg", "config", "launch", "dcnv3_plugin", "tools"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "package.xml", "CMakeLists.txt", "LICENSE", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy / name)
    return copy


def test_source_tree():
    assert [share_path(relative) for relative in SHIPPED] == [ROOT / relative for relative in SHIPPED]


@pytest.mark.ros
def test_symlink_install(tmp_path):
    pytest.importorskip("rclpy", reason="ROS 2 is not available")
    prefix = ROOT / "install" / "internimage_perception"
    found = probe(sys.executable, tmp_path, environment(prefix), messages=True)
    assert Path(found["package"]).is_relative_to(prefix)
    assert Path(found["messages"]).is_relative_to(prefix)
    assert Path(found["module"]).resolve() == ROOT / "internimage_perception" / "errors.py"
    check_share(found, ROOT)
    check_programs(prefix)


@pytest.mark.ros
def test_copy_install(tmp_path, copied_sources):
    pytest.importorskip("rclpy", reason="ROS 2 is not available")
    prefix = tmp_path / "install" / "internimage_perception"
    environ = environment(None) | {"CMAKE_PREFIX_PATH": environment(None)["AMENT_PREFIX_PATH"]}
    command = ["colcon", "--log-base", "log", "build", "--base-paths", str(copied_sources), "--cmake-args"]
    command += [f"-DPython3_EXECUTABLE={sys.prefix}/bin/python", "-DBUILD_TESTING=OFF", "-Wno-dev"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Nothing may point back to the sources.
    shutil.rmtree(tmp_path / "build")
    moved = copied_sources.rename(copied_sources.with_name("moved"))
    try:
        found = probe(sys.executable, tmp_path, environment(prefix), messages=True)
    finally:
        moved.rename(copied_sources)
    assert all(Path(found[key]).is_relative_to(prefix) for key in ("package", "module", "messages"))
    check_share(found, prefix / "share" / "internimage_perception")
    check_programs(prefix)
    check_kernels(prefix / "lib" / "libdcnv3_cpu.so")
    assert not list(prefix.rglob("skips_plugin.py")), "tests do not belong into an installation"


def test_wheel(tmp_path, copied_sources):
    # pip takes packages on PYTHONPATH for installed ones.
    environ = environment(None) | {"PYTHONPATH": ""}
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(tmp_path),
        str(copied_sources),
    ]
    subprocess.run([*pip, *wheel], env=environ, check=True, capture_output=True)
    [built] = tmp_path.glob("internimage_perception-*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    install = ["--python", str(venv), "install", "--no-deps", "--no-index", str(built)]
    subprocess.run([*pip, *install], env=environ, check=True, capture_output=True)

    found = probe(venv / "bin" / "python", tmp_path, environ, messages=False)
    assert Path(found["package"]).is_relative_to(venv)
    check_share(found, venv / "share" / "internimage_perception")
    assert (venv / "bin" / "internimage-perception").exists()
    packages = next(venv.glob("lib/python3*/site-packages"))
    shipped = {path.relative_to(packages) for path in (packages / "internimage_perception").rglob("*.py")}
    assert shipped == {
        path.relative_to(copied_sources) for path in copied_sources.glob("internimage_perception/**/*.py")
    }
    assert (packages / "internimage_perception" / "py.typed").exists()
    check_kernels(packages / "internimage_perception" / "lib" / "libdcnv3_cpu.so")
