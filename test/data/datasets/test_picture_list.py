"""Lists of pictures in CSV: the contest's own, and what people make of them."""

import pytest

from internimage_perception.data.datasets.dataset import Entry
from internimage_perception.data.datasets.picture_list import read_picture_list
from internimage_perception.errors import DatasetError


def listed(tmp_path, content, **options):
    file = tmp_path / "list.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_picture_list(file, **options)


@pytest.mark.parametrize(
    "text",
    [
        "id,img_path\nT_0,./img/T_0.png\nT_1,./img/T_1.png\n",
        "\ufeffid,img_path\r\nT_0,./img/T_0.png\r\nT_1,./img/T_1.png\r\n",
        'img_path,note,id\n"./img/T_0.png",x,T_0\n./img/T_1.png,,"T_1"',
        " id , img_path\nT_0, ./img/T_0.png\n\n,\nT_1 ,./img/T_1.png\n\n",
    ],
    ids=["contest", "windows", "other columns", "blanks"],
)
def test_pictures_in_the_order_of_the_list(text, tmp_path):
    assert listed(tmp_path, text) == [Entry(name, tmp_path / f"img/{name}.png") for name in ("T_0", "T_1")]


def test_labels_are_taken_where_they_are(tmp_path):
    text = "id,gt_path,img_path\na,gt/a.png,img/a.png\nb,,img/b.png\n"
    labels = [entry.labels for entry in listed(tmp_path, text)]
    assert labels == [tmp_path / "gt/a.png", None]
    assert [entry.labels for entry in listed(tmp_path, text, labelled=False)] == [None, None]
    with pytest.raises(DatasetError, match="line 3: gt_path is empty"):
        listed(tmp_path, text, labelled=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "lacks the column id; it has none"),
        ("id,img_path\n", "lists no pictures"),
        ("id;img_path\na;a.png\n", "lacks the column id; it has id;img_path"),
        ("id,path\na,a.png\n", "lacks the column img_path; it has id, path"),
        ("id,img_path\na,a.png\nb\n", "line 3: img_path is empty"),
        ("id,img_path\n,a.png\n", "line 2: id is empty"),
        ("id,img_path\na,a.png\na,b.png\n", "line 3: the id a appears twice"),
        (b"id,img_path\nB\xf6e,a.png\n", "cannot be read as a list of pictures"),
        ("id,img_path\na,a.png\n".encode("utf-16"), "cannot be read as a list of pictures"),
        ("id,img_path\na," + "x" * 200_000 + "\n", "cannot be read as a list of pictures"),
    ],
)
def test_what_is_no_list_is_refused(content, problem, tmp_path):
    with pytest.raises(DatasetError) as error:
        listed(tmp_path, content)
    assert problem in str(error.value)
    assert "list.csv" in str(error.value)


def test_zero_bytes_are_refused_by_every_python(tmp_path):
    # Python 3.10's own csv module refuses them, later ones hand them on.
    with pytest.raises(DatasetError, match=r"zero byte|NUL"):
        listed(tmp_path, "id,img_path\na,a\0.png\n")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.csv cannot be read"):
        read_picture_list(tmp_path / "nowhere.csv")
