"""Where ROS 2 comes from in this checkout, and the environment variables that make it work."""

import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
INSTALL = ROOT / "install"
UNDERLAY = ROOT / ".ros_underlay"
PROFILE = ROOT / "config" / "fastdds.xml"
BOOTSTRAP_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
"""The wheels' start-up hook restarts Python to set the library path, unless this variable is set."""


def sourced_prefix(package: str, environ: Mapping[str, str], root: Path = ROOT) -> str | None:
    """Return the prefix in which the shell has sourced a ROS package; None when it has not.

    Prefixes inside this checkout do not count: they appear in AMENT_PREFIX_PATH as soon as
    `tools/with_ros.py` runs.
    """
    for prefix in filter(None, environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        path = Path(prefix).resolve()
        if (path / "share" / package).is_dir() and not path.is_relative_to(root):
            return prefix
    return None


def sourced_ros(environ: Mapping[str, str], root: Path = ROOT) -> str | None:
    """Describe the ROS that the shell has sourced, such as "jazzy (<prefix>)"; None without one."""
    prefix = sourced_prefix("rclpy", environ, root)
    return f"{environ.get('ROS_DISTRO', 'ROS 2')} ({prefix})" if prefix else None


def site_packages(prefix: Path) -> Path | None:
    """Return the Python folder of an installation prefix (any Python version); None when it has none."""
    # The second is where Debian's Python installs to.
    patterns = ("lib/python3*/site-packages", "local/lib/python3*/dist-packages")
    return next((found for pattern in patterns for found in sorted(prefix.glob(pattern))), None)


def built_prefixes() -> list[Path]:
    """List this checkout's built packages, the one to be found first in front."""
    candidates = [INSTALL / "internimage_perception", UNDERLAY / "install" / "tf2_msgs"]
    return [prefix for prefix in candidates if (prefix / "share" / prefix.name / "package.xml").exists()]


def wheel_prefix(venv: Path) -> Path | None:
    """Return the virtual environment when ROS was installed into it from the package index."""
    return venv if (venv / "share" / "rclpy" / "package.xml").exists() else None


def ros_environment(environ: Mapping[str, str], venv: Path = VENV) -> dict[str, str]:
    """Return a copy of `environ` in which this checkout's ROS packages, messages and programs are found.

    Adds in front: the install space, the underlay, and the virtual environment where it holds ROS. Keeps
    communication on this machine and away from other checkouts; variables that are already set win.
    """
    result = dict(environ)
    wheels = None if sourced_ros(environ) else wheel_prefix(venv)
    prefixes = built_prefixes()
    _prepend(result, "PATH", [venv / "bin"])
    _prepend(result, "AMENT_PREFIX_PATH", [*prefixes, *([wheels] if wheels else [])])
    _prepend(result, "PYTHONPATH", filter(None, map(site_packages, prefixes)))
    libraries = [prefix / "lib" for prefix in prefixes]
    if wheels:
        libraries += _wheel_libraries(wheels)
        result[BOOTSTRAP_GUARD] = "1"
    _prepend(result, "LD_LIBRARY_PATH", libraries)
    result["VIRTUAL_ENV"] = str(venv)
    result.pop("PYTHONHOME", None)
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        result.setdefault(variable, str(PROFILE))
    if environ.get("ROS_DISTRO") == "humble":
        result.setdefault("ROS_LOCALHOST_ONLY", "1")
    elif "ROS_LOCALHOST_ONLY" not in environ:
        result.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    result.setdefault("ROS_DOMAIN_ID", str(domain_id(str(ROOT))))
    return result


def domain_id(seed: str) -> int:
    """Return a ROS domain, 1 to 100, that depends on `seed` only.

    Domains above 101 share their ports with outgoing connections on Linux.
    """
    return zlib.crc32(seed.encode()) % 100 + 1


def _wheel_libraries(venv: Path) -> Iterator[Path]:
    yield venv / "lib"
    packages = site_packages(venv)
    if packages:
        yield from sorted(packages.glob("ros_*.libs"))


def _prepend(environ: dict[str, str], variable: str, paths: "Iterator[Path | None] | list[Path]") -> None:
    """Put `paths` in front of a search-path variable, each once, in their order."""
    front = [str(path) for path in paths if path]
    rest = [part for part in environ.get(variable, "").split(os.pathsep) if part and part not in front]
    if front or rest:
        environ[variable] = os.pathsep.join([*front, *rest])
