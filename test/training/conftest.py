"""Small data to train on."""

from types import SimpleNamespace

import pytest
import torch
from support.training_runs import write_pictures

from internimage_perception.training.loop import train


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Datasets of 96x64 pictures: ten to train on, four to validate on, four unlabelled."""
    folder = tmp_path_factory.mktemp("pictures")
    return SimpleNamespace(
        train=write_pictures(folder / "train", 10),
        val=write_pictures(folder / "val", 4, seed=1),
        target=write_pictures(folder / "target", 4, seed=2, labelled=False),
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Compute in one thread, as processes of their own do in these tests; for so little, more are slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path):
    """Return what trains into a folder of that name: (config, name="run") to the folder."""

    def trained(config, name="run"):
        train(config, tmp_path / name)
        return tmp_path / name

    return trained
