"""Fixtures every test may use."""

import sys
from pathlib import Path

import pytest

import internimage_perception

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "test" / "golden"

# One package from two folders: the modules are in the source tree, the generated messages in the install
# space. Which of them Python finds first depends on how pytest was started.
_folders = dict.fromkeys(Path(start, "internimage_perception").resolve() for start in (ROOT, *sys.path))
internimage_perception.__path__ = [str(folder) for folder in _folders if folder.is_dir()]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the numeric reference outputs that travel with the repository."""
    return GOLDEN


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images, calibrations and bags beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data not beside the project")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Folder with the whole set of golden outputs beside the project."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("golden set not beside the project")
    return folder
