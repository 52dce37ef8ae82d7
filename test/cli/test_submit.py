"""`submit` end to end: masks in, the contest's CSV out, checked as it is checked there."""

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from internimage_perception.cli.main import main

IDS = ["TEST_0002", "TEST_0000", "TEST_0010", "TEST_0001"]


@pytest.fixture
def predictions(tmp_path):
    """A list in an order of its own, and masks of several sizes, one of them 255 outside a lens."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(IDS):
        ids = np.kron(rng.integers(0, 13, (27, 48)), np.ones((40, 40) if number else (20, 20))).astype(
            np.uint8
        )
        if number == 2:
            ids[:200] = 255
        save(tmp_path / "run" / "ids" / f"{name}.png", ids)
    lines = [f"{name},./test_image/{name}.png" for name in IDS]
    (tmp_path / "test.csv").write_text("\n".join(["id,img_path", *lines]) + "\n")
    return tmp_path / "run"


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def submit(folder, *words):
    return main(["submit", "--list", str(folder / "test.csv"), *map(str, words)])


def write(folder, *words):
    return submit(folder, "--predictions", folder / "run", "--out", folder / "s.csv", *words)


def decode(text):
    """The mask of a row, in the contest's own words: from 1, row by row."""
    mask = np.zeros(540 * 960, bool)
    numbers = [] if text == "-1" else list(map(int, text.split()))
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        assert not mask[start - 1 : start - 1 + length].any()
        mask[start - 1 : start - 1 + length] = True
    return mask.reshape(540, 960)


def read(file):
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize(("nearest", "first"), [("pillow", 1), ("opencv", 0)])
def test_rows_are_the_masks_by_id_in_the_order_of_the_list(predictions, tmp_path, nearest, first, capsys):
    assert write(tmp_path, "--nearest", nearest) == 0
    header, *rows = read(tmp_path / "s.csv")
    assert header == ["id", "mask_rle"]
    assert [row[0] for row in rows] == [f"{name}_class_{number}" for name in IDS for number in range(12)]
    texts = dict(rows)
    for name in IDS:
        ids = cv2.imread(str(predictions / "ids" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        small = ids if ids.shape == (540, 960) else ids[first::2, first::2]
        for number in range(12):
            np.testing.assert_array_equal(decode(texts[f"{name}_class_{number}"]), small == number)
    said = capsys.readouterr()
    assert "48 rows of 4 pictures" in said.out
    assert "lists 4 pictures, the contest's test.csv 1898" in said.err
    assert "warning" not in said.err
    assert submit(tmp_path, "--check", tmp_path / "s.csv") == 0
    assert "s.csv is good: 48 rows" in capsys.readouterr().out


def test_the_whole_contest(tmp_path, capsys):
    """1898 pictures, 22,776 rows; small masks, for the time it takes."""
    names = [f"TEST_{number:04}" for number in range(1898)]
    (tmp_path / "test.csv").write_text(
        "".join(f"{line}\n" for line in ["id,img_path", *(f"{n},{n}.png" for n in names)])
    )
    (tmp_path / "run").mkdir()
    save(tmp_path / "one.png", np.repeat(np.array([[8], [0]], np.uint8), 2, axis=1))
    for name in names:
        os.link(tmp_path / "one.png", tmp_path / "run" / f"{name}.png")
    assert write(tmp_path) == 0
    said = capsys.readouterr()
    assert "22776 rows of 1898 pictures, 18980 empty" in said.out
    assert "note:" not in said.err
    assert submit(tmp_path, "--check", tmp_path / "s.csv") == 0
    assert "is good: 22776 rows" in capsys.readouterr().out


def test_predictions_of_a_network(tmp_path, recipe):
    """From pictures to the submission; the masks of the list's ids, not of its order."""
    names = ["TEST_0001", "TEST_0000"]
    for seed, name in enumerate(names):
        save(tmp_path / "test_image" / f"{name}.png", recipe.picture(108, 192, seed))
    (tmp_path / "test.csv").write_text(
        "".join(f"{n},./test_image/{n}.png\n" for n in ["", *names]).replace(
            ",./test_image/.png", "id,img_path"
        )
    )
    assert (
        main(["predict", str(tmp_path / "test.csv"), "--model", "nano", "--out", str(tmp_path / "run")]) == 0
    )
    assert write(tmp_path) == 0
    texts = dict(read(tmp_path / "s.csv"))
    for name in names:
        ids = cv2.imread(str(tmp_path / "run" / "ids" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        # 192 to 960 columns: every pixel five times.
        large = np.repeat(np.repeat(ids, 5, 0), 5, 1)
        for number in range(12):
            np.testing.assert_array_equal(decode(texts[f"{name}_class_{number}"]), large == number)
    assert submit(tmp_path, "--check", tmp_path / "s.csv") == 0


def test_missing_masks_are_named_and_nothing_is_written(predictions, tmp_path, capsys):
    (predictions / "ids" / "TEST_0000.png").unlink()
    (predictions / "ids" / "TEST_0001.png").unlink()
    assert write(tmp_path) == 1
    said = capsys.readouterr().err
    assert "TEST_0000 has no mask" in said and "(nor have 1 more)" in said and "needs all 4" in said
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "damaged or no picture"),
        (lambda path: path.write_bytes(b""), "damaged or no picture"),
        (lambda path: save(path, np.zeros((1080, 1920), np.uint16)), "16 bits per pixel"),
        (lambda path: save(path, np.zeros((1080, 1920, 3), np.uint8)), "colour picture"),
        (
            lambda path: save(path, np.full((1080, 1920), 13, np.uint8)),
            "holds id 13; the contest's classes are 0 to 11",
        ),
        (
            lambda path: path.write_bytes(cv2.imencode(".jpg", np.zeros((9, 16), np.uint8))[1].tobytes()),
            "is a JPEG",
        ),
    ],
)
def test_masks_of_no_use_are_named_and_the_old_submission_stays(
    predictions, tmp_path, damage, complaint, capsys
):
    assert write(tmp_path) == 0
    before = (tmp_path / "s.csv").read_bytes()
    damage(predictions / "ids" / "TEST_0010.png")
    assert write(tmp_path) == 1
    said = capsys.readouterr().err
    assert complaint in said and "TEST_0010.png" in said
    assert (tmp_path / "s.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "s.csv", "test.csv"]


def test_a_mask_of_another_shape_is_stretched_and_said(predictions, tmp_path, capsys):
    save(predictions / "ids" / "TEST_0010.png", np.full((480, 640), 3, np.uint8))
    assert write(tmp_path) == 0
    assert "1 masks are not of the shape of 960x540" in capsys.readouterr().err
    assert dict(read(tmp_path / "s.csv"))["TEST_0010_class_3"] == "1 518400"


def test_predictions_of_other_classes_are_refused(predictions, tmp_path, capsys):
    names = ["Road", "Sidewalk", "Building"]
    (predictions / "predict.json").write_text(json.dumps({"made_by": "predict", "classes": names}))
    assert write(tmp_path) == 1
    assert "predictions of other classes than the contest's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "lacks the column id"),
        ("id,img_path\n", "lists no pictures"),
        ("id,img_path\nTEST_0000,a.png\nTEST_0000,b.png\n", "the id TEST_0000 appears twice"),
        ("id,img_path\n../../secret,a.png\n", "leads out of the output folder"),
        ("id,img_path\n/etc/secret,a.png\n", "leads out of the output folder"),
    ],
)
@pytest.mark.usefixtures("predictions")
def test_a_list_of_no_use_is_named(tmp_path, content, complaint, capsys):
    (tmp_path / "test.csv").write_text(content)
    assert write(tmp_path) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()


def test_only_a_submission_is_replaced(predictions, tmp_path, capsys):
    for name in ("test.csv", "run"):
        assert submit(tmp_path, "--predictions", predictions, "--out", tmp_path / name) == 1
    said = capsys.readouterr().err
    assert "test.csv is there and no submission" in said and "run is a folder" in said
    (tmp_path / "s.csv").write_text("id,mask_rle\nTEST_0000_class_0,-1\n")
    assert write(tmp_path) == 0
    assert len(read(tmp_path / "s.csv")) == 49


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "give --predictions and --out, or --check"),
        (["--predictions", "run"], "give --predictions and --out, or --check"),
        (["--check", "s.csv", "--out", "t.csv"], "leave out --predictions and --out"),
        (["--check", "nowhere.csv"], "nowhere.csv cannot be read as a submission"),
        (["--predictions", "nowhere", "--out", "s.csv"], "there is no folder nowhere"),
        (["--predictions", "run", "--out", "test.csv/s.csv"], "test.csv"),
    ],
)
def test_what_cannot_work_is_named(predictions, tmp_path, words, complaint, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert predictions.is_dir() and Path("run").is_dir()
    assert submit(tmp_path, *words) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.usefixtures("predictions")
def test_a_check_says_what_is_wrong(tmp_path, capsys):
    assert write(tmp_path) == 0
    rows = read(tmp_path / "s.csv")
    rows[1], rows[2] = rows[2], rows[1]
    rows[9][1] = "7"
    (tmp_path / "s.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))
    capsys.readouterr()
    assert submit(tmp_path, "--check", tmp_path / "s.csv") == 1
    said = capsys.readouterr()
    assert "out of order, TEST_0002_class_0 should be here" in said.err
    assert "line 10, TEST_0002_class_8: starts and lengths come in pairs" in said.err
    assert "2 problems (48 rows" in said.out
