"""The demonstration: street, replay, evaluation and pictures, through the command."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("embreex", reason="the street needs the extra `sim`")

from support.bags import expected_mask

from internimage_perception.bags.reader import open_bags
from internimage_perception.cli.classes import read_classes
from internimage_perception.cli.main import main
from internimage_perception.data.street.truth import TruthReader
from internimage_perception.geometry import Rig
from internimage_perception.inference.bundle import Bundle
from internimage_perception.resources import share_path

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = ("front", "left", "rear", "right")
CLASSES = read_classes(share_path("config/classes.yaml"))
COLORS = np.zeros((256, 3))
COLORS[:13] = [spec.color for spec in CLASSES]


def demo(words, without=""):
    """Run the command in a process that cannot import what `without` names."""
    start = f"import sys; sys.modules[{without!r}] = None; " if without else "import sys; "
    code = f"{start}from internimage_perception.cli.main import main; sys.exit(main({['demo', *words]}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def bundle(brightness_bundle, tmp_path_factory):
    """The bundle that answers brightness // 20, under the names of the street's classes."""
    folder = tmp_path_factory.mktemp("model") / "bright"
    shutil.copytree(brightness_bundle, folder)
    content = yaml.safe_load((folder / "model.yaml").read_text())
    content["classes"] = [{"id": c.id, "name": c.name, "color": list(c.color)} for c in CLASSES]
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def small(bundle, tmp_path_factory):
    """Folder and output of one small demonstration, where there is no torch."""
    out = tmp_path_factory.mktemp("demo") / "out"
    done = demo(["--out", str(out), "--small", "--model", str(bundle)], without="torch")
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def messages(bag, topic):
    with open_bags(bag) as reader:
        return [item.message for item in reader.messages([topic])]


def stamp_of(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def pixels(message):
    return message.data.reshape(message.height, message.width, -1)


def report_of(out, name):
    return json.loads((out / name).read_text(encoding="utf-8"))


def test_it_says_what_it_did_and_where_to_look(small):
    out, said = small
    lines = said.splitlines()
    assert lines[0] == "model: brightness, 13 classes, input 32x32"
    assert lines[1].startswith("1/3 recording: 4 images of 320x240 each from front, left, rear, right")
    assert lines[2].startswith("2/3 replay: 16 masks from 16 images in 4 sets")
    scores = report_of(out, "evaluation/evaluation.json")
    means = f"miou13 {scores['miou13']:.4f}, miou12 {scores['miou12']:.4f} over 16 of 16 masks"
    assert lines[3].startswith(f"3/3 evaluation: {means}")
    assert lines[4].startswith("The street is synthetic")
    paths = [Path(line.split(": ", 1)[1]) for line in lines[5:]]
    assert paths == [
        out / "strip.jpg",
        out / "replay" / "report.html",
        out / "evaluation" / "evaluation.html",
    ]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_every_image_becomes_a_mask_cut_to_the_lens(small):
    out, _ = small
    report = report_of(out, "replay/report.json")
    assert (report["frames_in"], report["frames_out"], report["complete"]) == (16, 16, True)
    assert report["warnings"] == []
    assert report["backend"].startswith("onnxruntime")
    rig = Rig.load(out / "street" / "rig.yaml")
    for name in CAMERAS:
        masks = messages(out / "replay" / "bag", f"/perception/segmentation/{name}/mask")
        assert len(masks) == 4
        for message in masks:
            blind = ~rig.visible_mask(name, message.width, message.height)
            np.testing.assert_array_equal(pixels(message)[..., 0] == 255, blind)
            assert message.header.frame_id == f"camera_{name}_optical"


def test_the_street_is_held_out(small):
    out, _ = small
    content = yaml.safe_load((out / "street" / "bag" / "metadata.yaml").read_text())
    custom = content["rosbag2_bagfile_information"]["custom_data"]
    assert json.loads(custom["internimage_perception.scene"])["split"] == "test"


def test_scores_are_those_of_masks_against_the_truth(small):
    out, _ = small
    truth, rig = TruthReader(out / "street"), Rig.load(out / "street" / "rig.yaml")
    hits, either = np.zeros(13), np.zeros(13)
    for name in CAMERAS:
        visible = rig.visible_mask(name, 320, 240)
        for message in messages(out / "street" / "bag", f"/camera/{name}/image_raw"):
            labels, answers = truth.class_ids(name, stamp_of(message)), expected_mask(pixels(message))
            scored = visible & (labels != 255)
            for number in range(13):
                one, other = scored & (labels == number), scored & (answers == number)
                hits[number] += (one & other).sum()
                either[number] += (one | other).sum()
    scores = report_of(out, "evaluation/evaluation.json")
    assert (either > 0).all()
    assert scores["miou13"] == pytest.approx((hits / either).mean(), abs=1e-9)
    assert scores["miou12"] == pytest.approx((hits / either)[:12].mean(), abs=1e-9)
    assert scores["frames"]["scored"] == 16


def test_the_strip_shows_image_mask_and_truth_of_every_camera_twice(small):
    out, _ = small
    strip = cv2.imread(str(out / "strip.jpg"))[..., ::-1].astype(float)
    truth, height = TruthReader(out / "street"), 360
    rows = [(index, name) for index in (1, 3) for name in CAMERAS]
    for row, (index, name) in enumerate(rows):
        message = messages(out / "street" / "bag", f"/camera/{name}/image_raw")[index]
        image = pixels(message)[..., ::-1].astype(np.uint8)
        mask = messages(out / "replay" / "bag", f"/perception/segmentation/{name}/mask")[index]
        ids = (pixels(mask)[..., 0], truth.class_ids(name, stamp_of(message)))
        wanted = [image, *((image + COLORS[chosen]) / 2 for chosen in ids)]
        top = 30 + row * (height + 6)
        grown = [cv2.resize(np.float32(p), (480, height), interpolation=cv2.INTER_NEAREST) for p in wanted]
        for column in range(3):
            # Below the label; JPEG smears the colours of noisy masks.
            shown = strip[top + 40 : top + height, column * 486 : column * 486 + 480]
            errors = [np.abs(shown - panel[40:]).mean() for panel in grown]
            assert np.argmin(errors) == column, (row, column)
            assert errors[column] < 10, (row, column)
    legend = strip[30 + len(rows) * (height + 6) :].reshape(-1, 3)
    for spec in CLASSES:
        assert (np.abs(legend - spec.color).max(axis=1) < 12).sum() > 100, spec.name


def test_a_second_run_replaces_the_first(small, bundle, tmp_path, capsys):
    first, _ = small
    out = tmp_path / "out"
    shutil.copytree(first, out)
    (out / "mine.txt").write_text("keep me")
    words = ["--frames", "1", "--size", "96x72", "--seed", "5", "--model", str(bundle)]
    assert main(["demo", "--out", str(out), *words]) == 0
    assert "1 images of 96x72" in capsys.readouterr().out
    assert report_of(out, "replay/report.json")["frames_out"] == 4
    assert report_of(out, "evaluation/evaluation.json")["frames"]["scored"] == 4
    assert cv2.imread(str(out / "strip.jpg")).shape[0] < cv2.imread(str(first / "strip.jpg")).shape[0]
    assert (out / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--size", "640"], "--size is '640'; write WIDTHxHEIGHT"),
        (["--size", "16x9"], "each from 32 to 4096"),
        (["--frames", "0"], "--frames is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--model", "no_such_model"], "no model bundle at no_such_model"),
    ],
)
def test_options_that_cannot_work_are_named(words, complaint, bundle, tmp_path, capsys):
    words = words if "--model" in words else [*words, "--model", str(bundle)]
    assert main(["demo", "--out", str(tmp_path / "out"), *words]) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_classes_is_refused(brightness_bundle, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "out"), "--model", str(brightness_bundle)]) == 1
    complaint = capsys.readouterr().err
    assert "are level_0, level_1" in complaint
    assert "classes.yaml: Road, Sidewalk" in complaint
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_refused_before_the_work(bundle, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    content = Bundle.load(copy).to_dict()
    (copy / "portable.onnx").write_bytes(b"no graph")
    (copy / "model.yaml").write_text(yaml.safe_dump({**content, "files": {}}))
    assert main(["demo", "--out", str(tmp_path / "out"), "--model", str(copy)]) == 1
    assert "refuses" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("missing", "advice"),
    [("embreex", "pip install 'internimage_perception[sim]'"), ("onnxruntime", "pip install onnxruntime")],
)
def test_what_is_missing_is_said_before_the_work(missing, advice, bundle, tmp_path):
    done = demo(["--out", str(tmp_path / "out"), "--model", str(bundle)], without=missing)
    assert done.returncode == 1
    assert missing in done.stderr
    assert advice in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
