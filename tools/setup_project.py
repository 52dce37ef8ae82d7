"""Bring a fresh checkout to the state in which everything runs; what `make setup` calls.

Creates `.venv`, installs the pinned requirements and this package (editable), gets ROS 2 (`ros_from_pip.py`)
and builds the messages with colcon. Every step leaves a stamp with a hash of what it depends on, so that a
second run only compares hashes. Commands write to `build/setup.log`.
"""

import argparse
import fcntl
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ros_from_pip
from commands import LOG, StepError, pip_install, run
from ros_environment import INSTALL, ROOT, UNDERLAY, VENV, sourced_prefix, sourced_ros

STAMPS = VENV / ".setup"
UNREACHABLE = "is the package index reachable? (`pip config` and PIP_INDEX_URL choose a proxy or a mirror)"
NATIVE = ROOT / "build" / "native"
RTX = ROOT / "requirements" / "tensorrt_rtx.txt"


def digest(paths: Iterable[Path], *facts: str) -> str:
    """Return a hash of some facts, and of names and contents of files; a folder counts with all it holds."""
    total = hashlib.sha256("\n".join(facts).encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"\n{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return total.hexdigest()


def names(*folders: str) -> str:
    """Return the names of all files below some folders: what a symlink installation depends on."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix != ".pyc"]
    return "\n".join(sorted(str(file.relative_to(ROOT)) for file in files if file.is_file()))


def announced(name: str, action: Callable[[], str | None]) -> str:
    """Run `action` with a line on the terminal; return its remark: why it left its work out, or nothing."""
    print(f"  {name:<12}", end="", flush=True)
    start = time.monotonic()
    try:
        remark = action() or ""
    except StepError:
        print("failed")
        raise
    print("left out" if remark else f"{time.monotonic() - start:.0f} s")
    return remark


def step(name: str, key: str, outputs: Iterable[Path], action: Callable[[], str | None]) -> str:
    """Run `action` unless it ran before with the same `key` and its outputs exist; return its remark."""
    stamp = STAMPS / name
    if stamp.is_file():
        old_key, _, remark = stamp.read_text(encoding="utf-8").partition("\n")
        # A remark says why there are no outputs.
        if old_key == key and (remark or all(path.exists() for path in outputs)):
            return remark
    stamp.unlink(missing_ok=True)
    remark = announced(name, action)
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(f"{key}\n{remark}", encoding="utf-8")
    return remark


def usable_venv(*, system_packages: bool) -> str | None:
    """Return the Python version of `.venv`; None when there is none or it is incomplete.

    Args:
        system_packages: the environment has to see the packages of the system's Python.
    """
    configuration = VENV / "pyvenv.cfg"
    if not configuration.is_file() or not all((VENV / "bin" / name).exists() for name in ("python", "pip")):
        return None
    text = configuration.read_text(encoding="utf-8")
    if system_packages and not re.search(r"(?m)^include-system-site-packages\s*=\s*true", text):
        return None
    version = re.search(r"(?m)^version(?:_info)?\s*=\s*(\S+)", text)
    return str(version[1]) if version else None


def create_venv(*, system_packages: bool) -> None:
    """Create `.venv` anew with the Python that runs this. Raises StepError."""
    options = ["--system-site-packages"] if system_packages else []
    advice = "creating .venv failed; on Debian and Ubuntu `apt install python3-venv` helps"
    run([sys.executable, "-m", "venv", "--clear", *options, VENV], advice)


def install_packages(requirements: list[Path]) -> None:
    """Install pinned requirements into `.venv`. Raises StepError."""
    files: list[str | Path] = [word for path in requirements for word in ("-r", path)]
    pip_install(VENV, files, f"installing packages failed; {UNREACHABLE}")


def install_editable() -> None:
    """Install this package into `.venv` so that edits count at once. Raises StepError."""
    pip_install(
        VENV, ["--no-deps", "--no-build-isolation", "-e", ROOT], "installing the package itself failed"
    )


def install_parser() -> str | None:
    """Install TensorRT-RTX, whose parser tests use, into `.venv`; where that fails, return what to know."""
    try:
        pip_install(VENV, ["--no-deps", "-r", RTX], f"installing TensorRT-RTX failed; {UNREACHABLE}")
    except StepError as error:
        return f"TensorRT-RTX is left out, tests that need its parser fail: {error}"
    return None


def build_kernels() -> str | None:
    """Build the native kernels into `build/native`; where that fails, return what to know."""
    cmake = VENV / "bin" / "cmake"
    program = cmake if cmake.exists() else "cmake"
    advice = "building the native kernels failed"
    try:
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DDCNV3_HOST_CUDA=ON"]
        run([program, "-S", ROOT / "dcnv3_plugin", "-B", NATIVE, *options], advice)
        # Without a number make starts every compiler at once, half a gigabyte each.
        run([program, "--build", NATIVE, "--parallel", str(os.cpu_count() or 1)], advice)
    except StepError as error:
        return f"Native kernels are left out, DCNv3 runs in PyTorch, many times slower: {error}"
    return None


def provide_ros() -> str | None:
    """Get ROS from the package index; where that is impossible, return the paragraph that says why."""
    try:
        ros_from_pip.install(VENV)
    except ros_from_pip.UnavailableError as error:
        return str(error.explained())
    return None


def build_messages() -> None:
    """Build the ROS package into `install/`. Raises StepError."""
    ros_from_pip.colcon_build(VENV, ["build", "--symlink-install"], "building the messages failed")


def set_up() -> Iterator[str]:
    """Run every step that is out of date; yield what people should know about the outcome.

    Raises StepError.
    """
    ros = sourced_ros(os.environ)
    wanted = ".".join(map(str, sys.version_info[:3]))
    # A sourced ROS rests on Python packages of the system.
    version = usable_venv(system_packages=bool(ros))
    if version is None:
        announced("python", lambda: create_venv(system_packages=bool(ros)))
        version = wanted
    elif version.split(".")[:2] != wanted.split(".")[:2]:
        yield f"note: .venv has Python {version}, not {wanted}; `make distclean` first to change it"

    chosen = ("runtime_sourced" if ros else "runtime", "offline", "train", "dev")
    requirements = [ROOT / "requirements" / f"{name}.txt" for name in chosen]
    key = digest(requirements, version)
    step("packages", key, [], lambda: install_packages(requirements))
    step("editable", digest([ROOT / "pyproject.toml", ROOT / "setup.py"], key), [], install_editable)
    if remark := step("parser", digest([RTX], key), [], install_parser):
        yield remark
    sources = digest([ROOT / "dcnv3_plugin"], key)
    if remark := step("kernels", sources, [NATIVE / "libdcnv3_cpu.so"], build_kernels):
        yield remark
    if remark := ros_remark(ros, key):
        yield remark


def ros_remark(ros: str | None, packages_key: str) -> str:
    """Get ROS unless it is sourced, and build the messages; return why that was left out, or nothing.

    Args:
        ros: what the shell has sourced.
        packages_key: hash of what `.venv` was made from.

    Raises StepError.
    """
    blocked = ros_from_pip.obstacle(VENV)
    inputs = [ros_from_pip.REQUIREMENTS, ros_from_pip.UNDERLAY_SOURCES, Path(ros_from_pip.__file__)]
    key = digest(inputs, packages_key, str(ros), str(blocked))
    underlay = UNDERLAY / "install" / "tf2_msgs"
    if not ros:
        if remark := step("ros", key, [VENV / "share" / "rclpy", underlay], provide_ros):
            return remark
    elif missing := ros_from_pip.missing_build_tool(os.environ, ros_from_pip.python_facts(VENV)[1]):
        return f"Messages and nodes are left out: {missing}."
    elif not sourced_prefix("tf2_msgs", os.environ):
        step("underlay", key, [underlay], lambda: ros_from_pip.build_underlay(VENV))
    sources = ("CMakeLists.txt", "package.xml", "msg", "dcnv3_plugin", "tools/program.py.in")
    linked = names("internimage_perception", "launch", "config")
    built = INSTALL / "internimage_perception" / "share" / "internimage_perception" / "package.xml"
    return step("messages", digest([ROOT / name for name in sources], key, linked), [built], build_messages)


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other setup runs in this checkout."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with (LOG.parent / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Run as a program; return 0 unless a step failed."""
    parser = argparse.ArgumentParser(description="Create .venv, get ROS 2, build the messages.")
    parser.add_argument("--quiet", action="store_true", help="say nothing when there is nothing to do")
    quiet = parser.parse_args().quiet
    with alone():
        try:
            remarks = list(set_up())
        except StepError as error:
            print(error.explained(), file=sys.stderr)
            return 1
    if not quiet:
        print(*remarks, "ready: `make help` lists what to do next", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
