"""Bring ROS 2 Jazzy from the Python package index into a virtual environment, without root.

Usage: `ros_from_pip.py [VENV]` (default: the checkout's `.venv`). Installs `requirements/ros.txt`, makes the
wheels' CMake files fit this machine, and builds the messages that the index lacks (tf2_msgs) into
`.ros_underlay/`.

Exit codes:
    0: ROS is ready, or the shell has sourced one, which is then used instead.
    1: something failed that should have worked; the reason was printed.
    3: no ROS 2 can be had here this way; the reason was printed. Everything but the nodes works without.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from commands import LOG, StepError, pip_install, run
from ros_environment import ROOT, UNDERLAY, VENV, ros_environment, sourced_ros

READY, FAILED, UNAVAILABLE = 0, 1, 3
REQUIREMENTS = ROOT / "requirements" / "ros.txt"
UNDERLAY_SOURCES = ROOT / "tools" / "underlay"
OLDEST_GLIBC = (2, 28)
_BUILD_MACHINE = re.compile(r"/opt/python/cp3\d+-cp3\d+/(include|lib)/python3\.\d+(/site-packages)?")


INSTALL_ROS = "install ROS 2 (Humble, Jazzy or Kilted, docs.ros.org) and run `make setup` where it is sourced"
INSTALL_TOOL = "install that and run `make setup` again"


class UnavailableError(Exception):
    """ROS cannot be had from the index on this machine; the message is the reason, without a full stop.

    Attributes:
        remedy: what to do about it.
    """

    def __init__(self, reason: str, remedy: str = INSTALL_ROS) -> None:
        super().__init__(reason)
        self.remedy = remedy

    def explained(self) -> str:
        """Return the paragraph for people: what is missing, what works all the same, what to do."""
        return (
            f"ROS 2 is left out: {self}. Everything but the nodes works without it: demo, replay of bags, "
            f"building and exporting models. For the nodes, {self.remedy}."
        )


def unfit_platform(system: str, machine: str, libc: tuple[str, str]) -> str | None:
    """Say why the index has no ROS for this platform; None when it may have.

    Args:
        system: as `platform.system()` names it.
        machine: as `platform.machine()` names it.
        libc: name and version of the C library, as from `platform.libc_ver()`.
    """
    if system != "Linux" or machine != "x86_64":
        return f"the package index has it for 64-bit x86 Linux only, and this is {system} on {machine}"
    name, version = libc
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if name != "glibc" or numbers < OLDEST_GLIBC:
        found = f"{name} {version}" if name else "another C library"
        return f"the packages of the index need glibc 2.28 or newer, and this system has {found}"
    return None


def missing_build_tool(environ: Mapping[str, str], include: str) -> str | None:
    """Say without which tool no messages can be compiled; None when all are there.

    Args:
        environ: environment variables; PATH and CXX are looked at.
        include: folder of Python's headers.
    """
    compilers = [environ["CXX"]] if environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(shutil.which(name, path=environ.get("PATH")) for name in compilers):
        return "the messages need a C++ compiler, and there is none (Debian, Ubuntu: apt install g++)"
    if not (Path(include) / "Python.h").exists():
        return (
            "the messages need Python's headers, and there are none (Debian, Ubuntu: apt install python3-dev)"
        )
    return None


def unmatched_requirement(pip_output: str) -> str | None:
    """Return the requirement for which the index has no fitting file; None when pip failed otherwise."""
    # An index that does not answer looks the same in pip's last lines.
    if re.search(r"Retrying|connection broken|Could not fetch URL|not a trusted", pip_output):
        return None
    found = re.search(r"No matching distribution found for (\S+)", pip_output)
    return found.group(1) if found else None


def patched_cmake(text: str, include: str, packages: str) -> str:
    """Return a CMake file with the folders of the wheels' build machine replaced by this machine's.

    Args:
        text: an exported CMake file; it may name the headers of Python and of numpy.
        include: folder of Python's headers.
        packages: site-packages folder that holds numpy.
    """
    return _BUILD_MACHINE.sub(lambda match: packages if match[2] else include, text)


def patch_cmake_files(venv: Path, include: str, packages: str) -> int:
    """Apply `patched_cmake` to every CMake file below `venv`/share; return how many changed."""
    changed = 0
    for path in (venv / "share").rglob("*.cmake"):
        before = path.read_text(encoding="utf-8")
        after = patched_cmake(before, include, packages)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
    return changed


def python_facts(venv: Path) -> tuple[str, str, str]:
    """Return a virtual environment's Python version and its folders of headers and of site-packages."""
    paths = "sysconfig.get_path('include'), sysconfig.get_path('purelib')"
    code = f"import platform, sysconfig; print(platform.python_version(), {paths}, sep='\\n')"
    done = subprocess.run([venv / "bin" / "python", "-c", code], check=True, capture_output=True, text=True)
    version, include, packages = done.stdout.splitlines()
    return version, include, packages


def colcon_build(venv: Path, arguments: list[str], advice: str) -> None:
    """Run `colcon` with the environment's Python; raise StepError with `advice` when it fails."""
    environ = ros_environment(os.environ, venv)
    prefixes = [environ.get("AMENT_PREFIX_PATH"), environ.get("CMAKE_PREFIX_PATH")]
    environ["CMAKE_PREFIX_PATH"] = os.pathsep.join(filter(None, prefixes))
    definitions = [f"-DPython3_EXECUTABLE={venv / 'bin' / 'python'}", "-DBUILD_TESTING=OFF", "-Wno-dev"]
    handlers = ["--event-handlers", "console_direct+"]
    run(["colcon", *arguments, *handlers, "--cmake-args", *definitions], advice, environ)


def obstacle(venv: Path) -> UnavailableError | None:
    """Say what keeps this machine from using ROS from the index, as far as can be told without asking it."""
    if reason := unfit_platform(platform.system(), platform.machine(), platform.libc_ver()):
        return UnavailableError(reason)
    if reason := missing_build_tool(os.environ, python_facts(venv)[1]):
        return UnavailableError(reason, INSTALL_TOOL)
    return None


def install(venv: Path) -> None:
    """Install ROS into `venv` and build the underlay. Raises UnavailableError or StepError."""
    if blocked := obstacle(venv):
        raise blocked
    version, include, packages = python_facts(venv)
    try:
        pip_install(venv, ["-r", REQUIREMENTS], "installing ROS 2 failed; is the package index reachable?")
    except StepError as error:
        if requirement := unmatched_requirement(error.output):
            message = f"the package index has no {requirement} for Python {version} (it has for 3.10 to 3.13)"
            raise UnavailableError(message) from error
        raise
    patch_cmake_files(venv, include, packages)
    build_underlay(venv)


def build_underlay(venv: Path) -> None:
    """Build the messages that the index lacks into `.ros_underlay/`. Raises StepError."""
    folders = ["--base-paths", UNDERLAY_SOURCES, "--build-base", UNDERLAY / "build"]
    folders += ["--install-base", UNDERLAY / "install"]
    arguments = ["--log-base", UNDERLAY / "log", "build", *folders]
    colcon_build(venv, [str(argument) for argument in arguments], "building tf2_msgs failed")


def main(arguments: list[str]) -> int:
    """Run as a program; return one of the exit codes above."""
    venv = Path(arguments[0]).absolute() if arguments else VENV
    if ros := sourced_ros(os.environ):
        print(f"ROS 2: the shell has sourced {ros}; nothing to install")
        return READY
    try:
        install(venv)
    except UnavailableError as error:
        print(error.explained())
        return UNAVAILABLE
    except StepError as error:
        print(error.explained(), file=sys.stderr)
        return FAILED
    print(f"ROS 2: jazzy from the package index is in {venv} (log: {LOG.relative_to(ROOT)})")
    return READY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
