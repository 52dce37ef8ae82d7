"""`internimage-perception parity`: the backends of this computer beside each other."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from support.bags import write_bag

from internimage_perception import __version__
from internimage_perception.bags.sampling import sample_frames
from internimage_perception.cli.main import main
from internimage_perception.cli.subject_frames import subject_frames
from internimage_perception.evaluation.subject import Subject
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle, ClassSpec, InputSpec, OutputSpec, sha256_of
from internimage_perception.inference.check_frames import CHECK, StoredCheck, patterned_frames, store_check
from internimage_perception.inference.class_names import write_names
from internimage_perception.inference.resampling import resize_and_crop


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
    assert [line.split()[:2] for line in said[2:4]] == [["nano", "torch-cpu"], ["nano", "onnxruntime-cpu"]]
    document = json.loads(out.read_text())
    assert document["passed"] is True and document["version"] == __version__ and document["date"]
    assert document["bundles"][0]["identity"] == Bundle.load("nano").identity()
    rows = {row["backend"]: row for row in document["backends"]}
    assert rows["torch-cpu"]["identical"] == 1.0 and 0.99 < rows["onnxruntime-cpu"]["least"] <= 1.0
    assert rows["onnxruntime-cpu"]["max_difference"] < 0.05
    missing = {"torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"}
    not_run = {item["backend"] for item in document["not_run"]}
    assert set(rows) | not_run == {"torch-cpu", "onnxruntime-cpu"} | missing
    assert document["independent_reference"] is True


@pytest.fixture
def changed(brightness_bundle, tmp_path):
    """Makes another bundle of the same name: an export, or another network of the same sizes."""

    def make(folder: str, *, export=None, divisor: float | None = None) -> Path:
        root = shutil.copytree(brightness_bundle, tmp_path / folder)
        manifest = yaml.safe_load((root / "model.yaml").read_text())
        if divisor is not None:
            graph = onnx.load(root / "portable.onnx")
            twenty = next(item for item in graph.graph.initializer if item.name == "twenty")
            twenty.CopyFrom(onnx.helper.make_tensor("twenty", onnx.TensorProto.FLOAT, [], [divisor]))
            onnx.save(graph, root / "portable.onnx")
            manifest["files"]["portable.onnx"] = sha256_of(root / "portable.onnx")
        if export is not None:
            precision, *sizes = export
            manifest["export"] = {"precision": precision} | dict(
                zip(("batch", "height", "width"), sizes, strict=True)
            )
        (root / "model.yaml").write_text(yaml.safe_dump(manifest))
        return root

    return make


HALF = ("fp16", [4, 4, 4], [48, 48, 48], [64, 64, 64])
ORT = ["--backends", "onnxruntime-cpu"]


def test_bundles_of_one_name_are_told_apart(bag, changed, tmp_path, monkeypatch, capsys):
    changed("full"), changed("half", export=HALF)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "parity.json"
    words = ["parity", "full", str(bag), "--also", "half/", "--out", str(out), "--frames", "5"]
    assert main([*words, *ORT, "--least", "0.99"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[2].startswith("full  ") and "onnxruntime-cpu  100.0000%" in said[2]
    assert said[3].startswith("half (fp16, 4 frames of 64x48)  onnxruntime-cpu  100.0000%")
    assert said[4].startswith("NO INDEPENDENT REFERENCE: onnxruntime-cpu alone ran here")
    document = json.loads(out.read_text())
    assert [(row["bundle"], row["frames_per_call"]) for row in document["backends"]] == [
        ("full", 1),
        ("half", 4),
    ]
    assert len({row["identity"] for row in document["backends"]}) == 2
    assert [item["export"] for item in document["bundles"]] == [
        None, {"batch": [4, 4, 4], "height": [48, 48, 48], "width": [64, 64, 64]},
    ]  # fmt: skip
    # What both lack has a line for each.
    assert main(words) == 0
    missing = [(item["bundle"], item["backend"]) for item in json.loads(out.read_text())["not_run"]]
    assert len(missing) == len(set(missing)) and {"full", "half"} == {name for name, _ in missing}
    assert main(["parity", "full", str(bag), "--also", "./full"]) == 1
    assert "full is named twice" in capsys.readouterr().err


def test_too_little_agreement_is_an_exit_code(bag, brightness_bundle, changed, capsys):
    # Another network of the same sizes: what a wrong conversion looks like.
    other = changed("other", divisor=21.0)
    words = ["parity", str(brightness_bundle), str(bag), "--also", str(other), *ORT]
    assert main(words) == 0
    assert main([*words, "--least", "0.9"]) == 3
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"FAILED: {other} onnxruntime-cpu falls below 90.0000%: ")
    assert main([*words, "--least", "2"]) == 1
    assert "--least is 2.0; it is a share from 0 to 1" in capsys.readouterr().err


def test_a_reference_beside_itself_proves_nothing(bag, brightness_bundle, capsys):
    words = ["parity", str(brightness_bundle), str(bag), *ORT]
    assert main(words) == 0
    assert "NO INDEPENDENT REFERENCE" in capsys.readouterr().out
    assert main([*words, "--least", "0.9"]) == 3
    assert "FAILED: nothing was compared with anything but itself" in capsys.readouterr().out


def test_a_backend_asked_for_must_run(bag, brightness_bundle, tmp_path, capsys):
    out = tmp_path / "parity.json"
    words = ["parity", str(brightness_bundle), str(bag), "--out", str(out)]
    assert main([*words, *ORT, "tensorrt"]) == 3
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(
        "FAILED: tensorrt, named by --backends, ran for no bundle: TensorRT's Python module"
    )
    document = json.loads(out.read_text())
    assert document["passed"] is False and document["failures"] == [said.removeprefix("FAILED: ")]


def test_every_bundle_must_run(bag, brightness_bundle, changed, capsys):
    broken = changed("broken")
    (broken / "portable.onnx").write_bytes(b"no graph")
    manifest = yaml.safe_load((broken / "model.yaml").read_text())
    manifest["files"]["portable.onnx"] = sha256_of(broken / "portable.onnx")
    (broken / "model.yaml").write_text(yaml.safe_dump(manifest))
    assert main(["parity", str(brightness_bundle), str(bag), "--also", str(broken)]) == 3
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"FAILED: {broken} ran on no backend: torch-cpu: ") and "onnxruntime" in said


@pytest.mark.parametrize(("wrong", "code"), [(0, 0), (100, 3)])
def test_stored_answers_are_a_reference_where_one_backend_runs(bag, changed, wrong, code, tmp_path, capsys):
    root = changed("half", export=HALF)
    frames = patterned_frames(np.random.default_rng(1), (2, 48, 64, 3))
    answers = create_backend("onnxruntime-cpu", Bundle.load(root)).run(frames)
    answers["class_ids"].reshape(2, -1)[:, :wrong] ^= 1
    store_check(root / CHECK, StoredCheck(frames, answers))
    manifest = yaml.safe_load((root / "model.yaml").read_text())
    manifest["files"][CHECK] = sha256_of(root / CHECK)
    (root / "model.yaml").write_text(yaml.safe_dump(manifest))
    out = tmp_path / "parity.json"
    words = ["parity", str(root), str(bag), "--frames", "2", *ORT, "--least", "0.99", "--out", str(out)]
    assert main(words) == code
    said = capsys.readouterr().out
    assert "beside PyTorch's answers to the frames that the exports bring along:" in said
    assert ("on the frames it brings along, falls below 99.0000%" in said) == bool(wrong)
    document = json.loads(out.read_text())
    (row,) = document["beside_stored_answers"]
    assert row["identical"] == pytest.approx(1 - wrong / (48 * 64)) and row["faster"] is None


def test_an_export_that_fails_on_its_stored_frames_proves_nothing(bag, brightness_bundle, changed, capsys):
    root = changed("half", export=HALF)
    frames = patterned_frames(np.random.default_rng(1), (2, 48, 64, 3))
    answers = {"class_ids": np.zeros((2, 3, 4), np.uint8), "confidence": np.zeros((2, 3, 4), np.uint8)}
    store_check(root / CHECK, StoredCheck(frames, answers))
    manifest = yaml.safe_load((root / "model.yaml").read_text())
    manifest["files"][CHECK] = sha256_of(root / CHECK)
    (root / "model.yaml").write_text(yaml.safe_dump(manifest))
    words = ["parity", str(brightness_bundle), str(bag), "--frames", "2", "--also", str(root), *ORT]
    assert main(words) == 0
    assert "onnxruntime-cpu, on the frames it brings along: " in capsys.readouterr().out
    assert main([*words, "--least", "0.9"]) == 3
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"FAILED: {root} (fp16, 4 frames of 64x48) onnxruntime-cpu failed on the frames")


def write_classifier(root: Path, gain: float) -> Path:
    """A graph of one fixed size that ranks the three channels by their mean."""
    helper, tensor = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["images"], ["f"], to=tensor.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["all"]),
        helper.make_node("TopK", ["all", "k"], ["probabilities", "ranks"]),
        helper.make_node("Cast", ["ranks"], ["class_ids"], to=tensor.INT32),
    ]
    constants = [
        helper.make_tensor("axes", tensor.INT64, [2], [1, 2]),
        helper.make_tensor("gain", tensor.FLOAT, [], [gain]),
        helper.make_tensor("k", tensor.INT64, [1], [3]),
    ]
    graph = helper.make_graph(
        nodes, "channels", [helper.make_tensor_value_info("images", tensor.UINT8, [1, 32, 32, 3])],
        [
            helper.make_tensor_value_info("class_ids", tensor.INT32, [1, 3]),
            helper.make_tensor_value_info("probabilities", tensor.FLOAT, [1, 3]),
        ],
        constants,
    )  # fmt: skip
    root.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        root / "portable.onnx",
    )
    names = ("red", "green", "blue")
    write_names(root / "classes.txt", names)
    Bundle(
        root, "channels", "classification", {"kind": "none"},
        tuple(ClassSpec(index, name) for index, name in enumerate(names)), InputSpec(32, 32), OutputSpec(),
        {"weights": "none"}, {name: sha256_of(root / name) for name in ("portable.onnx", "classes.txt")},
    ).write_manifest()  # fmt: skip
    return root


def test_classifiers_get_frames_as_classify_prepares_them(bag, tmp_path, capsys):
    root, other = write_classifier(tmp_path / "c", 0.5), write_classifier(tmp_path / "d", -0.5)
    # The bag's frames are 64x48, the graph takes 32x32 alone.
    words = ["parity", str(root), str(bag), "--frames", "2", *ORT, "--also"]
    twin = shutil.copytree(root, tmp_path / "twin")
    assert main([*words, str(twin), "--least", "1"]) == 0
    assert main([*words, str(other), "--least", "1"]) == 3
    assert f"FAILED: {other} onnxruntime-cpu falls below 100.0000%" in capsys.readouterr().out
    (frames,) = subject_frames([Subject.load(root)], [bag], 2)
    sampled = [item.image for item in sample_frames([bag], 2)]
    for frame, image in zip(frames, sampled, strict=True):
        assert image.shape == (48, 64, 3)
        np.testing.assert_array_equal(frame, resize_and_crop(image, 32, 32))


def test_models_of_different_tasks_are_refused(bag, brightness_bundle, tmp_path, capsys):
    root = write_classifier(tmp_path / "c", 0.5)
    assert main(["parity", str(root), str(bag), "--also", str(brightness_bundle)]) == 1
    assert "is for segmentation: compare exports of one model" in capsys.readouterr().err


def test_frames_have_each_bundles_channel_order(bag, brightness_bundle, changed):
    root = changed("bgr")
    manifest = yaml.safe_load((root / "model.yaml").read_text())
    manifest["input"]["channel_order"] = "bgr"
    (root / "model.yaml").write_text(yaml.safe_dump(manifest))
    rgb, bgr = subject_frames([Subject.load(brightness_bundle), Subject.load(root)], [bag], 3)
    assert len(rgb) == len(bgr) == 3
    for own, other in zip(rgb, bgr, strict=True):
        np.testing.assert_array_equal(own[..., ::-1], other)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frames", "0"], "--frames must be 1 or more"),
        (["--topics", "/nowhere"], "the bag has no topic /nowhere"),
        (["--backends", "tensorrt"], " tensorrt: TensorRT's Python module cannot be imported"),
    ],
)
def test_wrong_use_is_explained(bag, brightness_bundle, words, said, capsys):
    assert main(["parity", str(brightness_bundle), str(bag), *words]) == 1
    assert said in capsys.readouterr().err
