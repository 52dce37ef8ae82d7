"""`internimage-perception classify`: pictures in, ranked classes out, without torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from internimage_perception.cli.bundle import _classifier_side
from internimage_perception.cli.main import main
from internimage_perception.errors import BundleError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.photographs import read_photograph
from internimage_perception.inference.tasks import ClassificationTask
from internimage_perception.models import load_config

ROOT = Path(__file__).resolve().parents[2]
NETWORK = {"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "num_classes": 6}
NAMES = ["tench, Tinca tinca", "crane", "crane", "névé", "no", "1.5"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A bundle as the command line makes it; names from a text file of another system."""
    folder = tmp_path_factory.mktemp("classifier")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(NETWORK))
    (folder / "names.txt").write_bytes("\r\n".join([*NAMES, ""]).encode())
    words = ["--architecture", folder / "tiny.yaml", "--classes", folder / "names.txt", "--out", folder / "m"]
    options = ["--random-weights", "--height", "64", "--width", "64", "--channel-order", "bgr"]
    assert main(["bundle", *map(str, words), *options]) == 0
    return folder / "m"


@pytest.fixture
def pictures(recipe, tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for index, path in enumerate(paths):
        assert cv2.imwrite(str(path), recipe.picture(90 + 40 * index, 120, index))
    return paths


def classify(capsys, *words):
    code = main(["classify", *map(str, words)])
    return code, capsys.readouterr()


def test_the_bundle_holds_names_and_size(model, capsys):
    bundle = Bundle.load(model)
    assert [item.name for item in bundle.classes] == NAMES
    assert (bundle.input.height, bundle.input.width) == (64, 64)
    assert main(["inspect", str(model)]) == 0
    said = capsys.readouterr().out
    assert "model bundle m (classification)" in said
    assert "output  the 5 most probable of 6 classes" in said
    assert "classes 0 tench, Tinca tinca, 1 crane, 2 crane, 3 névé, 4 no, 5 1.5\n" in said
    assert main(["inspect", str(model), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["classes"][3] == {"id": 3, "name": "névé"}
    assert {item["name"]: item["state"] for item in values["files"]} == {
        "weights.safetensors": "intact", "portable.onnx": "intact", "classes.txt": "intact",
    }  # fmt: skip


def test_a_long_list_is_shown_in_part(model, tmp_path, capsys):
    copy = Bundle.load(model)
    (tmp_path / "classes.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    content = copy.to_dict() | {"files": {"classes.txt": "unknown"}}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(content))
    assert main(["inspect", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "18 class 18, ..., 999 class 999" in said
    assert "19 class 19" not in said
    assert "classes.txt, 9890 bytes, damaged" in said


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_every_picture_is_answered_in_ranks(model, pictures, backend, capsys):
    code, said = classify(capsys, *pictures, "--model", model, "--backend", backend, "--json")
    assert code == 0
    values = json.loads(said.out)
    assert (values["model"], values["backend"]) == ("m", f"{backend}-cpu")
    assert [item["path"] for item in values["images"]] == [str(path) for path in pictures]
    bundle = Bundle.load(model)
    task = ClassificationTask(bundle, create_backend("onnxruntime", bundle))
    for path, image in zip(pictures, values["images"], strict=True):
        expected = task.run(read_photograph(path, "bgr"))
        assert [item["id"] for item in image["classes"]] == [item.id for item in expected]
        assert [item["name"] for item in image["classes"]] == [NAMES[item.id] for item in expected]
        assert [item["probability"] for item in image["classes"]] == pytest.approx(
            [item.probability for item in expected], rel=1e-4
        )
        assert 0.5 < sum(item["probability"] for item in image["classes"]) < 1


def test_the_text_names_picture_share_and_class(model, pictures, capsys):
    code, said = classify(capsys, pictures[0], "--model", model, "--top", "2")
    assert code == 0
    bundle = Bundle.load(model)
    task = ClassificationTask(bundle, create_backend("onnxruntime", bundle))
    best, second, *_ = task.run(read_photograph(pictures[0], "bgr"))
    assert said.out.splitlines() == [
        str(pictures[0]),
        *(f"  {item.probability:7.2%}  {item.id} {item.name}" for item in (best, second)),
    ]


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_useless_file_costs_only_its_own_answer(model, pictures, tmp_path, form, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    paths = [tmp_path / "broken.jpg", pictures[0], tmp_path / "nowhere.png", pictures[1]]
    code, said = classify(capsys, *paths, "--model", model, *form)
    assert code == 1
    if form:
        answers = json.loads(said.out)["images"]
        assert [sorted(item) for item in answers] == [["error", "path"], ["classes", "path"]] * 2
        problems = [item["error"] for item in answers if "error" in item]
    else:
        assert [line for line in said.out.splitlines() if line[0] != " "] == list(map(str, pictures))
        problems = said.err.splitlines()
    assert len(problems) == 2
    assert "broken.jpg" in problems[0] and "truncated" in problems[0]
    assert "nowhere.png" in problems[1] and "No such file" in problems[1]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--top", "0"], "--top is 0"),
        (["--top", "6"], "--top is 6; the models' graphs answer with 1 to 5"),
        (["--threads", "-1"], "--threads is -1"),
        (["--threads", "257"], "--threads is 257; it must be 0 to 256"),
        (["--model", "nowhere"], "no model bundle at nowhere"),
    ],
)
def test_what_cannot_work_is_named(model, pictures, words, complaint, capsys):
    code, said = classify(capsys, pictures[0], "--model", model, *words)
    assert code == 1
    assert complaint in said.err
    assert not said.out


def test_a_segmentation_bundle_is_refused(brightness_bundle, pictures, capsys):
    code, said = classify(capsys, pictures[0], "--model", brightness_bundle)
    assert code == 1
    assert "is for segmentation, not for classification; `replay`, `evaluate`" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["replay", "drive.mcap"],
        ["evaluate", "drive.mcap"],
        ["demo-real", "{folder}"],
        ["demo"],
    ],
    ids=lambda words: words[0],
)
def test_what_makes_masks_refuses_a_classifier_before_anything_else(model, tmp_path, words, capsys):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mcap").write_bytes(b"")
    out = tmp_path / "out"
    command = [word.format(folder=tmp_path / "real") for word in words]
    assert main([*command, "--model", str(model), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "is for classification, not for segmentation; `internimage-perception classify` runs it" in said
    assert not out.exists()


def test_it_needs_neither_torch_nor_ros(model, pictures):
    absent = ("torch", "onnx", "safetensors", "scipy", "rosbags", "rclpy", "PIL")
    words = ["classify", str(pictures[0]), "--model", str(model), "--json"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        f"from internimage_perception.cli.main import main; sys.exit(main({words}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["backend"] == "onnxruntime-cpu"


def test_a_photograph_is_seen_upright(model, recipe, tmp_path, capsys):
    """A phone's picture, stored on its side, is the same picture."""
    upright = recipe.picture(70, 110, 8)
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + bytes(4)
    for name, pixels in (("upright.jpg", upright), ("aside.jpg", np.rot90(upright))):
        jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
        if name == "aside.jpg":
            body = b"Exif\0\0" + exif
            jpeg = jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]
        (tmp_path / name).write_bytes(jpeg)
    paths = (tmp_path / "upright.jpg", tmp_path / "aside.jpg")
    _, said = classify(capsys, *paths, "--model", model, "--json")
    upright_answer, aside_answer = (item["classes"] for item in json.loads(said.out)["images"])
    assert [item["id"] for item in aside_answer] == [item["id"] for item in upright_answer]
    assert [item["probability"] for item in aside_answer] == pytest.approx(
        [item["probability"] for item in upright_answer], abs=2e-3
    )


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("internimage_t_1k", 224), ("internimage_b_1k", 224), ("internimage_l_1k", 384),
        ("internimage_h_1k", 640), ("internimage_g_1k", 512), ("internimage_s_22k", 224),
        ("internimage_xl_22k", 384), ("internimage_h_22k", 384),
    ],
)  # fmt: skip
def test_the_input_is_as_large_as_in_the_official_training(name, side, tmp_path):
    assert _classifier_side(name, load_config(name)) == side
    path = tmp_path / "g.yaml"
    path.write_text(f"base: {name}\ndrop_path_rate: 0.0\n")
    assert _classifier_side(str(path), load_config(path)) == side


def test_other_networks_have_sizes_of_their_own(tmp_path):
    assert _classifier_side("upernet_internimage_h", load_config("upernet_internimage_h")) is None
    path = tmp_path / "internimage.yaml"
    path.write_text(yaml.safe_dump(NETWORK))
    assert _classifier_side(str(path), load_config(path)) == 224


@pytest.mark.parametrize(
    ("architecture", "words", "complaint"),
    [
        ("upernet_internimage_nano", ["--classes", "names.txt"], "holds names only, masks need colours too"),
        ("tiny.yaml", ["--output-size", "input"], "a classifier answers no masks"),
        ("internimage_t", [], "is a bare backbone"),
    ],
)
def test_bundles_that_make_no_sense_are_refused(
    architecture, words, complaint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("a\nb\n")
    Path("tiny.yaml").write_text(yaml.safe_dump(NETWORK))
    command = ["bundle", "--architecture", architecture, "--out", "out", "--random-weights", *words]
    assert main(command) == 1
    assert complaint in capsys.readouterr().err
    assert not Path("out").exists()


def test_classes_without_names_are_numbered(tmp_path, monkeypatch):
    made = {}

    def record(*_, **given):
        made.update(given)
        raise BundleError("enough")

    monkeypatch.setattr("internimage_perception.deploy.create_bundle", record)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(NETWORK))
    command = ["bundle", "--architecture", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out")]
    assert main([*command, "--random-weights"]) == 1
    assert [item.name for item in made["classes"]] == [f"class_{index}" for index in range(6)]
    assert (made["input_spec"].height, made["input_spec"].width) == (224, 224)
