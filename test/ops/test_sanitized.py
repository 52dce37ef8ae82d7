"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: no access beside an array."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "dcnv3_plugin"


@pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="no C++ compiler or CMake"
)
def test_kernels_under_sanitizers(tmp_path):
    options = ["-DDCNV3_SANITIZE=ON", "-DDCNV3_TESTS=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
    for words in (
        ["cmake", "-S", SOURCES, "-B", tmp_path, *options],
        ["cmake", "--build", tmp_path, "--parallel", str(os.cpu_count())],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    programs = [
        path for path in (tmp_path / "test").glob("test_*") if os.access(path, os.X_OK) and path.is_file()
    ]
    assert programs
    for program in programs:
        done = subprocess.run([program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " 0 failures" in done.stdout
