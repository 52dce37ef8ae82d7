"""`internimage-perception parity`: the backends of this computer beside each other."""

import json
import shutil

import onnx
import pytest
import yaml
from support.bags import write_bag

from internimage_perception.cli.main import main
from internimage_perception.inference.bundle import sha256_of


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Two cameras, whose frames are noise."""
    return write_bag(tmp_path_factory.mktemp("bags") / "bag", frames=3)


def test_what_runs_here_agrees(bag, tmp_path, capsys):
    out = tmp_path / "parity.json"
    words = ["parity", "nano", str(bag), "--frames", "3", "--least", "0.99", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "frames: 3; the first line is what the others are compared with"
    assert [line.split()[0] for line in said[2:4]] == ["torch-cpu", "onnxruntime-cpu"]
    document = json.loads(out.read_text())
    rows = {row["label"]: row for row in document["backends"]}
    assert rows["torch-cpu"]["identical"] == 1.0 and 0.99 < rows["onnxruntime-cpu"]["least"] <= 1.0
    assert rows["onnxruntime-cpu"]["max_difference"] < 0.05
    missing = {"torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"}
    assert set(rows) | set(document["not_run"]) == {"torch-cpu", "onnxruntime-cpu"} | missing


def test_another_model_beside_it(bag, brightness_bundle, tmp_path, capsys):
    other = shutil.copytree(brightness_bundle, tmp_path / "other")
    manifest = yaml.safe_load((other / "model.yaml").read_text())
    manifest["name"] = "other"
    (other / "model.yaml").write_text(yaml.safe_dump(manifest))
    words = [
        "parity",
        str(brightness_bundle),
        str(bag),
        "--also",
        str(other),
        "--backends",
        "onnxruntime-cpu",
    ]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in said[2:]] == [
        ["brightness", "onnxruntime-cpu", "100.0000%"], ["other", "onnxruntime-cpu", "100.0000%"],
    ]  # fmt: skip


def test_too_little_agreement_is_an_exit_code(bag, brightness_bundle, tmp_path, capsys):
    # Another network of the same sizes: what a wrong conversion looks like.
    other = shutil.copytree(brightness_bundle, tmp_path / "other")
    graph = onnx.load(other / "portable.onnx")
    twenty = next(item for item in graph.graph.initializer if item.name == "twenty")
    twenty.CopyFrom(onnx.helper.make_tensor("twenty", onnx.TensorProto.FLOAT, [], [21.0]))
    onnx.save(graph, other / "portable.onnx")
    manifest = yaml.safe_load((other / "model.yaml").read_text())
    manifest["name"], manifest["files"]["portable.onnx"] = "other", sha256_of(other / "portable.onnx")
    (other / "model.yaml").write_text(yaml.safe_dump(manifest))
    words = ["parity", str(brightness_bundle), str(bag), "--backends", "onnxruntime-cpu", "--least", "0.9"]
    assert main(words) == 0
    assert main([*words, "--also", str(other)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "other onnxruntime-cpu falls below 90.0000%"
    assert main([*words[:-1], "2"]) == 1
    assert "--least is 2.0; it is a share from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frames", "0"], "--frames must be 1 or more"),
        (["--topics", "/nowhere"], "the bag has no topic /nowhere"),
        (["--backends", "tensorrt"], "no backend runs here: tensorrt: "),
    ],
)
def test_wrong_use_is_explained(bag, brightness_bundle, words, said, capsys):
    assert main(["parity", str(brightness_bundle), str(bag), *words]) == 1
    assert said in capsys.readouterr().err
