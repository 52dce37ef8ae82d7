"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: no access beside an array."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "dcnv3_plugin"
PROGRAMS = sorted(path.stem for path in (SOURCES / "test").glob("test_*.cpp"))

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="no C++ compiler or CMake"
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The folder of the test programs, built with sanitizers."""
    folder = tmp_path_factory.mktemp("sanitized")
    options = [
        "-DDCNV3_SANITIZE=ON",
        "-DDCNV3_TESTS=ON",
        "-DDCNV3_CUDA=OFF",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
    ]
    for words in (
        ["cmake", "-S", SOURCES, "-B", folder, *options],
        ["cmake", "--build", folder, "--parallel", str(os.cpu_count())],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "test"


def test_every_operator_has_a_program():
    assert {"test_dcnv3_cpu", "test_msda_cpu", "test_roi_align_cpu"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_kernels_under_sanitizers(programs, program):
    # Eight threads on fewer cores are tried too: they must not wait for each other by counting.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([programs / program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failures" in done.stdout
