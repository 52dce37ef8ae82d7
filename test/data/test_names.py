"""Names that may become files below an output folder."""

import pytest

from internimage_perception.data.names import check_names
from internimage_perception.errors import DatasetError


def test_plain_relative_paths_are_good():
    check_names(["TEST_0000", "drive/a.b", "été/写真", ".hidden", "with blank", "b\u202fc", "x" * 230])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"), (".", "is empty"), ("..", "leads out"), ("../a", "leads out"),
        ("a/../../b", "leads out"),
        ("/etc/a", "leads out"), ("./a", "`a` would be"), ("a/", "`a` would be"), ("a//b", "`a/b` would be"),
        ("a\0b", "control characters"), ("a\nb", "control characters"), ("a\udcffb", "is not UTF-8"),
        ("x" * 231, "longer than 230 bytes"), ("ü" * 116 + "/a", "longer than 230 bytes"),
    ],
)  # fmt: skip
def test_others_are_refused(name, problem):
    with pytest.raises(DatasetError, match="cannot name an output file") as error:
        check_names(["good", name])
    assert problem in str(error.value)


def test_two_of_one_name_are_refused():
    with pytest.raises(DatasetError, match="'a' appears twice"):
        check_names(["a", "b", "a"])
