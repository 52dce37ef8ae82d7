"""A submission is looked through before it is handed in."""

import csv

import numpy as np
import pytest

from internimage_perception.data.submission import check_submission, encode_classes, row_id, write_submission
from internimage_perception.errors import DatasetError

PICTURES = ["T_0", "T_1"]


@pytest.fixture
def rows(tmp_path):
    """Rows of a good submission, header first; class 11 is empty."""
    rng = np.random.default_rng(0)
    masks = {
        name: np.kron(rng.integers(0, 11, (27, 48)), np.ones((20, 20))).astype(np.uint8) for name in PICTURES
    }
    counts = write_submission(tmp_path / "good.csv", PICTURES, masks.__getitem__)
    assert counts == (24, 2)
    with (tmp_path / "good.csv").open(newline="") as stream:
        return list(csv.reader(stream))


def check(tmp_path, rows, pictures=PICTURES):
    file = tmp_path / "checked.csv"
    file.write_text("".join(",".join(row) + "\n" for row in rows))
    return check_submission(file, pictures)


def test_what_is_written_is_good(rows, tmp_path):
    assert [row[0] for row in rows] == [
        "id",
        *(row_id(name, number) for name in PICTURES for number in range(12)),
    ]
    report = check(tmp_path, rows)
    assert (report.rows, report.empty, report.wrong, report.problems) == (24, 2, 0, [])


def test_what_other_tools_write_is_good_too(rows, tmp_path):
    file = tmp_path / "quoted.csv"
    file.write_bytes("".join(f'"{name}","{text}"\r\n' for name, text in rows).encode("utf-8-sig"))
    assert check_submission(file, PICTURES).wrong == 0


def change(number, text):
    def apply(rows):
        rows[number] = [rows[number][0], text]

    return apply


def swap(rows):
    rows[1], rows[5] = rows[5], rows[1]


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (
            lambda rows: rows.pop(0),
            [
                "line 1 must be id,mask_rle",
                "T_0_class_0 should be here",
                "of 24 rows, T_0_class_0 is missing",
            ],
        ),
        (
            lambda rows: rows.pop(3),
            ["out of order, T_0_class_2 should be here", "of 24 rows, T_0_class_2 is missing"],
        ),
        (lambda rows: rows.__delitem__(slice(13, None)), ["T_1_class_0 and 11 more are missing"]),
        (lambda rows: rows.append(rows[4]), ["line 26, T_0_class_3: the row is there twice"]),
        (lambda rows: rows.append(["T_2_class_0", "-1"]), ["line 26, T_2_class_0: no such row is asked for"]),
        (lambda rows: rows.append(["T_0_class_12", "-1"]), ["T_0_class_12: no such row is asked for"]),
        (lambda rows: rows.append(["only"]), ["line 26 has 1 columns"]),
        (lambda rows: rows.insert(2, []), ["line 3 has 0 columns"]),
        (swap, ["line 2, T_0_class_4: out of order, T_0_class_0 should be here"]),
        (change(12, ""), ["line 13, T_0_class_11: runs are whole numbers"]),
        (change(12, "518400 2"), ["T_0_class_11: the run 518400 2 ends behind the mask's 518400 pixels"]),
        (change(12, "1 1"), ["T_0: pixel 1 is in class"]),
        (change(24, "518400 1"), ["T_1: pixel 518400 is in class"]),
    ],
)
def test_what_is_wrong_is_said(rows, tmp_path, damage, problems):
    damage(rows)
    report = check(tmp_path, rows)
    assert report.wrong == len(report.problems) == len(problems)
    for problem, found in zip(problems, report.problems, strict=True):
        assert problem in found


def test_overlaps_are_found_wherever_the_rows_are(rows, tmp_path):
    swap(rows)
    rows[13 + 11][1] = rows[14][1]
    rows[13], rows[2] = rows[2], rows[13]
    report = check(tmp_path, rows)
    assert any("is in class 1 and in class 11" in problem for problem in report.problems)


def test_overlaps_within_an_incomplete_picture_are_found(rows, tmp_path):
    rows[2] = [rows[2][0], "7 3"]
    rows[3] = [rows[3][0], "9 1"]
    del rows[4:]
    report = check(tmp_path, [rows[0], *rows[2:]])
    assert any("T_0: pixel 9 is in class 1 and in class 2" in problem for problem in report.problems)


def test_one_shifted_row_is_said_once(rows, tmp_path):
    report = check(tmp_path, [rows[0], *rows[2:], rows[1]])
    assert report.wrong == 1


def test_only_the_first_problems_are_kept(rows, tmp_path):
    pictures = [f"T_{number}" for number in range(10)]
    report = check(
        tmp_path, [rows[0], *([row_id(name, 0), "0 0"] for name in pictures for _ in range(4))], pictures
    )
    assert report.wrong > len(report.problems) == 20


def test_the_finest_pattern_fits(tmp_path):
    """Every second pixel of a class: the longest row there can be."""
    ids = (np.arange(960 * 540, dtype=np.uint32) % 2).astype(np.uint8).reshape(540, 960)
    before = csv.field_size_limit()
    write_submission(tmp_path / "fine.csv", ["a"], lambda _: ids)
    assert len(encode_classes(ids, 1)[0]) > before
    assert check_submission(tmp_path / "fine.csv", ["a"]).wrong == 0
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("content", [b"id,mask_rle\na_class_0,\xff\n", b"\x89PNG\r\n\x1a\n\0\0", None])
def test_what_is_no_csv_is_named(content, tmp_path):
    file = tmp_path / "strange.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"strange\.csv cannot be read as a submission"):
        check_submission(file, ["a"])


def test_a_failure_leaves_the_old_submission(tmp_path):
    out = tmp_path / "s.csv"
    out.write_text("before")

    def read(name):
        if name == "b":
            raise DatasetError("no b")
        return np.zeros((540, 960), np.uint8)

    with pytest.raises(DatasetError, match="no b"):
        write_submission(out, ["a", "b"], read)
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]
