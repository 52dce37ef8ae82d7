"""Model bundles that travel with the package: found by name wherever a bundle is asked for."""

import json
import shutil
from pathlib import Path

import pytest
from support.bags import write_bag
from support.evaluation import Bench

from internimage_perception import resources
from internimage_perception.cli.main import main
from internimage_perception.errors import BundleError, PerceptionError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.resources import bundle_path, share_path, shipped_bundles


@pytest.fixture
def shipped(brightness_bundle, tmp_path, monkeypatch) -> Path:
    """The folder of an installation that ships `bright` and `dark`; the present folder holds neither."""
    folder = tmp_path / "share" / "config" / "bundles"
    for name in ("dark", "bright"):
        shutil.copytree(brightness_bundle, folder / name)
    (folder / ".bright.part").mkdir()
    (folder / "README.md").write_text("no bundle")
    whole = share_path

    def here(relative: str) -> Path:
        return folder if relative == "config/bundles" else whole(relative)

    monkeypatch.setattr(resources, "share_path", here)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return folder


@pytest.fixture
def nothing_shipped(monkeypatch) -> None:
    def lacking(relative: str) -> Path:
        raise PerceptionError(f"the installation lacks {relative}")

    monkeypatch.setattr(resources, "share_path", lacking)


def test_folders_are_the_names(shipped):
    assert shipped_bundles() == {"bright": shipped / "bright", "dark": shipped / "dark"}


def test_a_name_is_its_folder_unless_there_is_such_a_path(shipped):
    assert bundle_path("bright") == shipped / "bright"
    assert bundle_path(Path("dark")) == shipped / "dark"
    assert bundle_path("other") == Path("other")
    assert bundle_path("models/bright") == Path("models/bright")
    Path("bright").mkdir()
    assert bundle_path("bright") == Path("bright")


@pytest.mark.usefixtures("nothing_shipped")
def test_an_installation_may_ship_none():
    assert shipped_bundles() == {}
    assert bundle_path("bright") == Path("bright")
    with pytest.raises(BundleError, match=r"no model bundle at bright.*\(shipped: none\)"):
        Bundle.load("bright")


def test_bundles_are_loaded_by_name(shipped):
    assert Bundle.load("bright").root == shipped / "bright"
    assert Bundle.load(Path("bright")).identity() == Bundle.load(shipped / "bright").identity()


@pytest.mark.usefixtures("shipped")
def test_an_unknown_name_is_answered_with_the_known_ones(capsys):
    with pytest.raises(BundleError, match=r"no model bundle at brigth.*\(shipped: bright, dark\)"):
        Bundle.load("brigth")
    assert main(["inspect", "brigth"]) == 1
    complaint = "there is no brigth, and no shipped bundle of that name (shipped: bright, dark)"
    assert complaint in capsys.readouterr().err


@pytest.mark.usefixtures("shipped")
def test_commands_take_the_name(tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", frames=2)
    words = ["--model", "bright", "--out", str(tmp_path / "out"), "--backend", "onnxruntime"]
    assert main(["replay", str(bag), *words]) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["model"] == "brightness"
    bench = Bench(tmp_path / "bench", "bright")
    assert bench.run()["miou"] == 1.0
    capsys.readouterr()
    assert main(["inspect", "dark", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "brightness"
