"""Where ROS comes from, and what people are told when it cannot come from the package index."""

import subprocess
import sys
from pathlib import Path

import pytest
import ros_from_pip
from commands import StepError
from ros_environment import ROOT, VENV, domain_id, ros_environment, sourced_ros

GLIBC = ("glibc", "2.36")


@pytest.fixture
def apt_ros(tmp_path) -> Path:
    """Return a folder that looks like a ROS installed by the system."""
    prefix = tmp_path / "opt" / "ros" / "jazzy"
    (prefix / "share" / "rclpy").mkdir(parents=True)
    return prefix


def test_sourced_ros_is_recognised(apt_ros):
    environ = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": f"/nowhere:{apt_ros}"}
    assert sourced_ros(environ) == f"jazzy ({apt_ros})"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ROS_DISTRO": "jazzy"},
        {"AMENT_PREFIX_PATH": ""},
        {"AMENT_PREFIX_PATH": "/nowhere", "ROS_DISTRO": "jazzy"},
    ],
)
def test_leftovers_are_not_a_sourced_ros(environ):
    assert sourced_ros(environ) is None


def test_this_checkout_is_not_a_sourced_ros(tmp_path):
    own = tmp_path / ".venv"
    (own / "share" / "rclpy").mkdir(parents=True)
    assert sourced_ros({"AMENT_PREFIX_PATH": str(own)}, root=tmp_path) is None
    assert sourced_ros({"AMENT_PREFIX_PATH": str(own)}) is not None


@pytest.mark.parametrize(
    ("system", "machine", "libc", "word"),
    [
        ("Darwin", "arm64", ("", ""), "Darwin on arm64"),
        ("Linux", "aarch64", GLIBC, "Linux on aarch64"),
        ("Linux", "x86_64", ("glibc", "2.17"), "glibc 2.17"),
        ("Linux", "x86_64", ("", ""), "another C library"),
    ],
)
def test_unfit_platforms_are_named(system, machine, libc, word):
    assert word in ros_from_pip.unfit_platform(system, machine, libc)


@pytest.mark.parametrize("version", ["2.28", "2.36", "3.0"])
def test_fit_platform(version):
    assert ros_from_pip.unfit_platform("Linux", "x86_64", ("glibc", version)) is None


def test_missing_build_tools_are_named(tmp_path):
    headers, programs = tmp_path / "include", tmp_path / "bin"
    headers.mkdir()
    programs.mkdir()
    environ = {"PATH": str(programs)}
    assert "C++ compiler" in ros_from_pip.missing_build_tool(environ, str(headers))
    (programs / "g++").touch(mode=0o755)
    assert "Python's headers" in ros_from_pip.missing_build_tool(environ, str(headers))
    (headers / "Python.h").touch()
    assert ros_from_pip.missing_build_tool(environ, str(headers)) is None
    assert "C++ compiler" in ros_from_pip.missing_build_tool(environ | {"CXX": "icpx"}, str(headers))


def test_wheels_for_other_pythons_are_not_a_failure():
    output = (
        "ERROR: Could not find a version that satisfies the requirement ros-rclpy==7.1.6 (from: none)\n"
        "ERROR: No matching distribution found for ros-rclpy==7.1.6\n"
    )
    assert ros_from_pip.unmatched_requirement(output) == "ros-rclpy==7.1.6"
    assert ros_from_pip.unmatched_requirement("ERROR: Connection refused") is None
    retried = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\n"
    assert ros_from_pip.unmatched_requirement(retried + output) is None


def test_cmake_files_name_this_machine(tmp_path):
    built = "/opt/python/cp312-cp312"
    headers = f'"{built}/include/python3.12;{built}/lib/python3.12/site-packages/numpy/_core/include"'
    path = tmp_path / "share" / "std_msgs" / "cmake" / "export.cmake"
    path.parent.mkdir(parents=True)
    path.write_text(f"INTERFACE_INCLUDE_DIRECTORIES {headers}\n/opt/python/other stays\n")
    assert ros_from_pip.patch_cmake_files(tmp_path, "/usr/include/p", "/venv/packages") == 1
    headers = '"/usr/include/p;/venv/packages/numpy/_core/include"'
    assert path.read_text() == f"INTERFACE_INCLUDE_DIRECTORIES {headers}\n/opt/python/other stays\n"
    assert ros_from_pip.patch_cmake_files(tmp_path, "/usr/include/p", "/venv/packages") == 0


def test_sourced_ros_needs_nothing(apt_ros, monkeypatch, capsys):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(apt_ros))
    monkeypatch.setattr(ros_from_pip, "install", lambda _: pytest.fail("nothing is to be installed"))
    assert ros_from_pip.main([]) == ros_from_pip.READY
    assert "nothing to install" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ros_from_pip.UnavailableError("no wheel for Python 3.99"), ros_from_pip.UNAVAILABLE),
        (StepError("installing failed", "Connection refused"), ros_from_pip.FAILED),
    ],
)
def test_exit_codes(failure, code, monkeypatch, capsys):
    def install(_: Path) -> None:
        raise failure

    monkeypatch.setattr(ros_from_pip, "sourced_ros", lambda _: None)
    monkeypatch.setattr(ros_from_pip, "install", install)
    assert ros_from_pip.main([]) == code
    printed = capsys.readouterr()
    if code == ros_from_pip.UNAVAILABLE:
        assert "no wheel for Python 3.99. Everything but the nodes works" in printed.out
        assert "where it is sourced" in printed.out
    else:
        assert "Connection refused" in printed.err


def test_environment_leaves_the_users_choices():
    chosen = {"ROS_DOMAIN_ID": "7", "FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml", "ROS_LOCALHOST_ONLY": "0"}
    environ = ros_environment(chosen | {"PATH": "/bin", "PYTHONPATH": "/mine"})
    assert {name: environ[name] for name in chosen} == chosen
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in environ
    assert environ["PATH"].split(":") == [f"{VENV}/bin", "/bin"]
    assert environ["PYTHONPATH"].split(":")[-1] == "/mine"


def test_environment_does_not_grow_when_nested():
    once = ros_environment({"PATH": "/bin"})
    assert ros_environment(once) == once


def test_domains_are_spread_and_allowed():
    domains = {domain_id(f"/some/where/{number}") for number in range(1000)}
    assert min(domains) >= 1
    assert max(domains) <= 100
    assert len(domains) > 90


def test_with_ros_passes_arguments_and_exit_code():
    code = "import os, sys; assert os.environ['FASTRTPS_DEFAULT_PROFILES_FILE']; sys.exit(len(sys.argv))"
    wrapper = [sys.executable, str(ROOT / "tools" / "with_ros.py"), "--if-available"]
    done = subprocess.run([*wrapper, sys.executable, "-c", code, "a b", "--if-available"], check=False)
    assert done.returncode == 3
    assert subprocess.run([*wrapper, "no-such-program"], check=False, capture_output=True).returncode == 127
    assert subprocess.run(wrapper, check=False, capture_output=True).returncode == 2
