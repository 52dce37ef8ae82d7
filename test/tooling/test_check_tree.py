"""The lint of what no linter looks at."""

import pytest
from check_tree import MAX_LINES, complaints, tree


def test_long_files_are_named():
    assert not list(complaints("a.py", b"x\n" * MAX_LINES))
    assert list(complaints("a.py", b"x\n" * (MAX_LINES + 1))) == [
        "a.py: 401 lines; split it, the limit is 400"
    ]


@pytest.mark.parametrize("folder", ["home", "root", "Users", "work"])
def test_folders_of_one_machine_are_named(folder):
    line = f'first\npath = "/{folder}/someone/data"\n'
    assert list(complaints("a.md", line.encode())) == [
        f"a.md:2: names a folder of one machine: /{folder}/someone/data"
    ]


@pytest.mark.parametrize(
    "line", ["docs/work/x", "https://example.org/home/x", "$ROOT/work/x", "/usr/lib", "~/work/x"]
)
def test_other_paths_are_fine(line):
    assert not list(complaints("a.md", line.encode()))


def test_data_and_binaries_are_not_text():
    line = b"/home" + b"/someone\n"
    assert not list(complaints("test/golden/a.json", line * 500))
    assert not list(complaints("a.onnx", b"\0" + line * 500))


def test_tree_holds_the_sources_and_nothing_built():
    names = {path.name for path in tree()}
    assert {"Makefile", "package.xml", "check_tree.py"} <= names
    assert "setup.log" not in names
