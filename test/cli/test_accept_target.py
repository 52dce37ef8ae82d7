"""`internimage-perception accept-target` without a GPU, and the search for the plugin library."""

import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.bags import write_bag

from internimage_perception import __version__
from internimage_perception.cli.main import main
from internimage_perception.cli.plugin_library import provide_library
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.tensorrt_module import parse_version
from internimage_perception.native_files import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]


def test_a_computer_without_tensorrt_is_not_accepted(brightness_bundle, tmp_path, capsys):
    out = tmp_path / "deep" / "verdict.json"
    bag = write_bag(tmp_path / "bag", frames=1)
    words = ["accept-target", str(brightness_bundle), "nano", "--bags", str(bag), "--out", str(out)]
    assert main([*words, "--cameras", "4", "--rate", "10"]) == 3
    said = capsys.readouterr().out
    assert (
        "NOT ACCEPTED; details in" in said
        and f"identity {Bundle.load('nano').identity()}: not accepted" in said
    )
    assert f"\n{brightness_bundle}, identity " in said and "\nnano, identity " in said
    assert "plugin library: not looked for: TensorRT's Python module" in said
    document = json.loads(out.read_text())
    assert document["accepted"] is False and document["plugin_library"]["state"] == "not looked for"
    least = {"fp32": 0.999, "fp16": 0.99, "int8": 0.95}
    assert document["demand"] == {"cameras": 4, "rate_hz": 10.0, "least": least}
    assert document["version"] == __version__ and document["format"] == 2
    age = datetime.now(timezone.utc) - datetime.fromisoformat(document["date"])
    assert timedelta(seconds=-1) < age < timedelta(minutes=10)
    given = {item["bundle"]: item for item in document["bundles"]}
    assert list(given) == [str(brightness_bundle), "nano"]
    assert [item["name"] for item in given.values()] == ["brightness", "nano"]
    assert given["nano"]["identity"] == Bundle.load("nano").identity()
    assert given["nano"]["export"] is None and given["nano"]["precision"] == "fp32"
    assert given["nano"]["limits"] == {"least": 0.999, "set_p95_ms": 100.0}
    assert all(item["reasons"][0].startswith("no engine: ") for item in document["bundles"])
    assert document["computer"]["libraries"]["numpy"] and document["computer"]["cores"] >= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cameras", "0"], "--frames and --cameras must be 1 or more"),
        (["--rate", "0"], "--rate is 0.0; it must be above 0"),
        (["--least", "99"], "--least is 99.0; it is a share"),
        (["--bags", "nowhere"], "nowhere"),
    ],
)
def test_wrong_use_is_explained(words, said, tmp_path, capsys):
    assert main(["accept-target", "nano", "--out", str(tmp_path / "x.json"), *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_a_bundle_named_twice_is_refused(tmp_path, capsys):
    assert main(["accept-target", "nano", "nano", "--out", str(tmp_path / "x.json")]) == 1
    assert "nano is named twice" in capsys.readouterr().err


def test_a_library_that_is_there_is_taken(tmp_path, monkeypatch):
    (tmp_path / "libdcnv3_tensorrt10.so").write_bytes(b"")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    found = provide_library(parse_version("10.3.0"), None, "8.7")
    assert (found.path, found.state) == (tmp_path / "libdcnv3_tensorrt10.so", "found")


def test_sources_that_cannot_be_compiled_are_explained(tmp_path):
    # No computer of the future has this TensorRT either.
    version = parse_version("99.0.0")
    empty = provide_library(version, tmp_path, None)
    assert (
        empty.state == "missing" and "holds no sources; name their folder by --plugin-sources" in empty.reason
    )
    sources = shutil.copytree(ROOT / "dcnv3_plugin", tmp_path / "tree" / "dcnv3_plugin")
    refused = provide_library(version, sources, "8.7")
    assert (refused.path, refused.state) == (None, "missing")
    assert f"{sources} does not compile here: cmake -S failed:" in refused.reason
    assert "DCNV3_" in refused.reason
