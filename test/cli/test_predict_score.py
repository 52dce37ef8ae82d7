"""`predict` with a lens and with labels; options that make no sense."""

import shutil

import cv2
import numpy as np
import pytest
from support.predictions import NANO, lens_file, predict, rows, save, street_folder

from internimage_perception.data.datasets.pictures import read_ids
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.lens import LensMasks


@pytest.fixture
def street(recipe, tmp_path):
    return street_folder(tmp_path / "in", recipe)


def test_what_the_lens_does_not_see_is_255(street, tmp_path, recipe, capsys):
    from internimage_perception.geometry import Rig  # noqa: PLC0415

    save(street / "half.png", recipe.picture(60, 100, 3))
    file = lens_file(tmp_path)
    lenses = LensMasks(Rig.load(file))
    assert predict(tmp_path / "plain", street, "--confidence") == 0
    assert predict(tmp_path / "cut", street, "--confidence", "--lens", file) == 1
    assert "left out sub/b.c: camera front: images are 128x96" in capsys.readouterr().err
    for name, size in (("a", (120, 200)), ("half", (60, 100))):
        blind = lenses.blind("front", size, size) == 255
        assert 0.3 < blind.mean() < 0.7
        for kind, outside in (("ids", 255), ("confidence", 0)):
            plain, cut = (read_ids(tmp_path / folder / kind / f"{name}.png") for folder in ("plain", "cut"))
            assert (cut[blind] == outside).all()
            np.testing.assert_array_equal(cut[~blind], plain[~blind])
        assert (cv2.imread(str(tmp_path / "cut" / "color" / f"{name}.png"))[blind] == 0).all()
    assert predict(tmp_path / "cut", street, "--confidence", "--lens", lens_file(tmp_path, fx=41.0)) == 1
    assert "other options (lens;" in capsys.readouterr().err


def test_the_lens_s_file_must_have_that_camera(street, tmp_path, shared_data, capsys):
    file = shared_data / "fisheye" / "jeyp4_rover_surround" / "camerasParam.yaml"
    words = ("--lens", file, "--source-model", "fisheye")
    assert predict(tmp_path / "out", street, *words) == 1
    assert "choose one by --lens-camera" in capsys.readouterr().err
    assert predict(tmp_path / "out", street, *words, "--lens-camera", "roof") == 1
    assert "has no camera roof; it has frontCamera" in capsys.readouterr().err
    (tmp_path / "bare.yaml").write_text("cameras: {front: {image_topic: /front}}")
    assert predict(tmp_path / "out", street, "--lens", tmp_path / "bare.yaml") == 1
    assert "has no lens and no ego mask" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def labelled(street, tmp_path):
    """A list of three pictures: two with labels, in the contest's ids."""
    assert street == tmp_path / "in"
    rng = np.random.default_rng(7)
    for name, size in (("a", (120, 200)), ("b", (96, 128))):
        truth = np.kron(rng.integers(0, 13, (size[0] // 4, size[1] // 4)), np.ones((4, 4))).astype(np.uint8)
        truth[truth == 12] = 255
        save(tmp_path / "gt" / f"{name}.png", truth)
    (tmp_path / "val.csv").write_text(
        "gt_path,id,img_path\ngt/a.png,V_0,in/a.jpg\ngt/b.png,V_1,in/sub/b.c.png\n,V_2,in/sub/b.c.png\n"
    )
    return tmp_path / "val.csv"


def iou(truth, answers, number):
    union = np.count_nonzero((truth == number) | (answers == number))
    return np.count_nonzero((truth == number) & (answers == number)) / union if union else np.nan


def scores(out, labels, change):
    """Mean IoUs over 13 and 12 classes, and of each class, by counting pixels."""
    pairs = [
        (cv2.imread(str(gt), cv2.IMREAD_UNCHANGED), read_ids(out / "ids" / f"{name}.png"))
        for name, gt in labels
    ]
    truth, answers = (np.concatenate([pair[side].reshape(-1) for pair in pairs]) for side in (0, 1))
    truth = change(truth)
    answers = answers[truth != 255]
    truth = truth[truth != 255]
    each = [iou(truth, answers, number) for number in range(13)]
    return np.nanmean(each), np.nanmean(each[:12]), each


def test_scores_are_those_of_counted_pixels(labelled, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(out, labelled, "--score") == 0
    said = capsys.readouterr().out
    labels = [("V_0", tmp_path / "gt" / "a.png"), ("V_1", tmp_path / "gt" / "b.png")]
    with_background = scores(out, labels, lambda truth: np.where(truth == 255, 12, truth))
    last = (
        f"miou13 {with_background[0]:.4f}, miou12 {with_background[1]:.4f} over 2 pictures at their own size"
    )
    assert said.splitlines()[-1] == last
    shown = dict(line.split() for line in said.splitlines()[-14:-1])
    assert shown["Road"] == f"{100 * with_background[2][0]:.1f}"
    assert list(shown) == [spec.name for spec in Bundle.load(NANO).classes]
    # What an earlier run labelled is counted all the same, and the masks are not for the score alone.
    (out / "ids" / "V_1.png").unlink()
    assert predict(out, labelled, "--score") == 0
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert predict(out, labelled, "--score", "--label-map", "dacon_255_ignored") == 0
    ignored = scores(out, labels, lambda truth: truth)
    assert f"miou12 {ignored[1]:.4f}" in capsys.readouterr().out
    assert predict(out, labelled) == 0
    assert "miou" not in capsys.readouterr().out


def test_right_answers_score_one_and_the_lens_asks_for_nothing_outside(labelled, tmp_path, capsys):
    file = lens_file(tmp_path)
    (tmp_path / "val.csv").write_text("id,img_path,gt_path\nV_0,in/a.jpg,gt/a.png\n")
    assert predict(tmp_path / "cut", labelled, "--lens", file, "--no-color") == 0
    shutil.copy(tmp_path / "cut" / "ids" / "V_0.png", tmp_path / "gt" / "a.png")
    capsys.readouterr()
    assert predict(tmp_path / "cut", labelled, "--lens", file, "--no-color", "--score") == 0
    assert "miou13 1.0000, miou12 1.0000 over 1 pictures" in capsys.readouterr().out


@pytest.mark.usefixtures("labelled")
def test_a_dataset_is_labelled_and_scored(tmp_path, capsys):
    (tmp_path / "set.yaml").write_text(
        "kind: folders\nimages: in\nlabels: truth\nallow_unlabelled: true\nlabel_map: dacon_255_to_12\n"
    )
    save(tmp_path / "truth" / "a.png", cv2.imread(str(tmp_path / "gt" / "a.png"), cv2.IMREAD_UNCHANGED))
    out = tmp_path / "out"
    assert predict(out, "--dataset", tmp_path / "set.yaml", "--score") == 0
    said = capsys.readouterr().out
    expected = scores(
        out, [("a", tmp_path / "gt" / "a.png")], lambda truth: np.where(truth == 255, 12, truth)
    )
    assert f"miou13 {expected[0]:.4f}, miou12 {expected[1]:.4f} over 1 pictures" in said
    assert [(row["id"], row["img_path"]) for row in rows(out)] == [("a", ""), ("sub/b.c", "")]
    assert predict(tmp_path / "in" / "out", "--dataset", tmp_path / "set.yaml") == 1
    assert "set.yaml: images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "give pictures, folders of pictures, a list in CSV, or --dataset"),
        (["{in}/nowhere.png"], "there is no"),
        (["{in}", "{csv}"], "is given alone"),
        (["{in}", "--dataset", "{csv}"], "--dataset says all of the pictures"),
        (["{empty}"], "holds no pictures"),
        (["{in}", "--workers", "0"], "--workers is 0"),
        (["{in}", "--threads", "300"], "--threads is 300"),
        (["{in}", "--score"], "--score needs labels"),
        (["{csv}", "--score", "--label-map", "nowhere"], "nowhere"),
        (["{csv}", "--label-map", "dacon_255_ignored"], "--label-map is for --score"),
        (["{csv}", "--score", "--label-map", "cityscapes_to_cityscapes19"], "ids of one meaning"),
        (["{in}", "--lens-camera", "front"], "--lens-camera has no meaning without --lens"),
        (["{in}", "--source-size", "9x9"], "--source-size has no meaning without --lens"),
        (["{in}", "--flip"], "--flip is for --mode whole or slide"),
        (["{in}", "--ratios", "1"], "--ratios is for --mode whole or slide"),
        (["{in}", "--mode", "slide", "--crop", "64x64"], "needs --crop and --stride"),
        (["{in}", "--mode", "whole", "--stride", "64x64"], "--stride is for --mode slide"),
        (["{in}", "--mode", "whole", "--backend", "onnxruntime"], "runs in torch, not in onnxruntime"),
        (["{in}", "--mode", "whole", "--scale", "2048"], "--scale is '2048'"),
        (["{in}", "--mode", "slide", "--crop", "64x64", "--stride", "65x64"], "stride (65, 64)"),
        (["{in}", "--mode", "slide", "--crop", "8x64", "--stride", "8x64"], "two sides of 32 to 16384"),
        (["{in}", "--mode", "whole", "--ratios", "nan"], "--ratios has nan"),
        (["{in}", "--mode", "whole", "--ratios", "1", "1e9"], "--ratios has 1e+09"),
        (["{in}", "--mode", "whole", "--multiple", "0"], "--multiple is 0"),
    ],
)
def test_what_cannot_work_is_named_before_anything_is_written(labelled, tmp_path, words, complaint, capsys):
    (tmp_path / "empty").mkdir()
    places = {"in": tmp_path / "in", "csv": labelled, "empty": tmp_path / "empty"}
    assert predict(tmp_path / "out", *(word.format(**places) for word in words)) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_labels_that_are_nowhere_cannot_be_scored(labelled, tmp_path, capsys):
    labelled.write_text("id,img_path,gt_path\nV_0,in/a.jpg,\n")
    assert predict(tmp_path / "out", labelled, "--score") == 1
    assert "has no column gt_path, or nothing in it" in capsys.readouterr().err


def test_a_graph_with_other_classes_than_the_labels_is_named(labelled, brightness_bundle, tmp_path, capsys):
    assert predict(tmp_path / "out", labelled, "--score", model=brightness_bundle) == 1
    assert "the model has level_0, level_1" in capsys.readouterr().err
