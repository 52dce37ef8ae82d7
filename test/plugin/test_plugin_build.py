"""How the build finds TensorRT, which interface it takes, and what it says where there is none."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[2] / "dcnv3_plugin"

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="no C++ compiler or CMake"
)

PROJECT = """
cmake_minimum_required(VERSION 3.20)
project(found LANGUAGES CXX)
if(WITH_KERNELS)
  add_library(dcnv3_cuda INTERFACE)
endif()
include(cmake/tensorrt.cmake)
if(TARGET dcnv3_tensorrt)
  get_target_property(name dcnv3_tensorrt OUTPUT_NAME)
  get_target_property(sources dcnv3_tensorrt SOURCES)
  get_target_property(libraries dcnv3_tensorrt LINK_LIBRARIES)
  message(STATUS "target: ${name} | ${sources} | ${libraries}")
endif()
"""

# As of 8 and of 10.16: newer headers name their numbers by way of other macros.
DIRECT = "#define NV_TENSORRT_MAJOR {0} //!< major\n#define NV_TENSORRT_MINOR {1} //!< minor\n"
INDIRECT = (
    "#define TRT_MAJOR_ENTERPRISE {0}\n#define TRT_MINOR_ENTERPRISE {1}\n"
    "#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE //!< major\n"
    "#define NV_TENSORRT_MINOR TRT_MINOR_ENTERPRISE //!< minor\n"
)


@pytest.fixture
def configured(tmp_path):
    """Configure a build beside pretended headers; return its exit status and what it said."""
    for name in ("cmake", "src", "include"):
        (tmp_path / name).symlink_to(PLUGIN / name)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT)
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "cuda_runtime_api.h").touch()

    def configure(version=None, *, text=DIRECT, kernels=True, library=False, **options):
        root = tmp_path / "TensorRT"
        (root / "include").mkdir(parents=True)
        if version:
            (root / "include" / "NvInferVersion.h").write_text(text.format(*version))
        if library:
            (root / "lib").mkdir()
            (root / "lib" / "libnvinfer.so").touch()
        named = {"TENSORRT_ROOT": root} if version else {}
        options = {"WITH_KERNELS": kernels, "CMAKE_BUILD_TYPE": "Release"} | named | options
        options["DCNV3_CUDA_RUNTIME_INCLUDE"] = tmp_path / "cuda"
        # Headers of the machine that runs the test must not be found.
        options["CMAKE_FIND_USE_CMAKE_SYSTEM_PATH"] = False
        words = ["cmake", "-S", tmp_path, "-B", tmp_path / "build"]
        words += [f"-D{name}={value}" for name, value in options.items()]
        environ = {name: value for name, value in os.environ.items() if name != "TENSORRT_ROOT"}
        done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return configure


@pytest.mark.parametrize(
    ("version", "text", "library", "interface"),
    [
        ((8, 6), DIRECT, "dcnv3_tensorrt8", "plugin_v2.cpp"),
        ((10, 3), DIRECT, "dcnv3_tensorrt10", "plugin_v3.cpp"),
        ((10, 16), INDIRECT, "dcnv3_tensorrt10", "plugin_v3.cpp"),
        ((11, 1), INDIRECT, "dcnv3_tensorrt11", "plugin_v3.cpp"),
    ],
)
def test_headers_choose_the_interface_and_the_name(configured, version, text, library, interface):
    status, said = configured(version, text=text)
    assert status == 0, said
    assert f"plugin for TensorRT {version[0]}.{version[1]} in " in said
    assert f"target: {library} | src/tensorrt/{interface};" in said


def test_only_8_5_is_linked_to_nvidias_library(configured):
    status, said = configured((8, 5), library=True)
    assert status == 0, said
    assert "libnvinfer.so" in said.split("target: ")[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "no NvInfer.h; install libnvinfer-dev, or -DTENSORRT_ROOT="),
        ({"TENSORRT_ROOT": "/nowhere"}, "no NvInfer.h in /nowhere, named by TENSORRT_ROOT; name the folder"),
        ({"version": (10, 3), "kernels": False}, "it needs the CUDA kernels, which are left out too"),
        ({"version": (8, 4)}, "8.5, 8.6, 10 or newer is needed"),
        ({"version": (9, 1)}, "8.5, 8.6, 10 or newer is needed"),
        ({"version": (8, 5)}, "no libnvinfer beside TensorRT 8.5's headers"),
    ],
)
def test_what_is_missing_is_said_in_one_line_and_the_build_goes_on(configured, options, reason):
    status, said = configured(**options)
    assert status == 0, said
    lines = [line for line in said.splitlines() if "TensorRT plugin" in line]
    assert len(lines) == 1
    assert "left out" in lines[0]
    assert reason in lines[0]


def test_a_plugin_that_is_asked_for_stops_the_build_where_it_cannot_be(configured):
    status, said = configured(DCNV3_TENSORRT="ON")
    assert status != 0
    assert "DCNV3_TENSORRT=ON" in " ".join(said.split())
    assert "no NvInfer.h" in " ".join(said.split())


def test_a_plugin_that_is_not_wanted_is_not_mentioned(configured):
    status, said = configured((10, 3), DCNV3_TENSORRT="OFF")
    assert status == 0, said
    assert "target:" not in said
    assert "dcnv3_plugin:" not in said
