"""The launch file's arguments: all that the documents give it are there, and reach the node."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch" / "perception.launch.py"


def arguments():
    """Return the names that the launch file declares; launch itself ignores all others in silence."""
    for statement in ast.parse(LAUNCH.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "ARGUMENTS":
            return set(ast.literal_eval(statement.value))
    raise AssertionError("no ARGUMENTS in the launch file")


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), LAUNCH])
def test_documented_arguments_exist(document):
    lines = [line for line in document.read_text().splitlines() if LAUNCH.name in line]
    used = {name for line in lines for name in re.findall(r"(\w+):=", line)}
    assert used <= arguments(), f"{document.name} gives the launch file arguments it does not have"
    assert used or document.name != "README.md", "the README shows no launch line"


def test_every_argument_is_used():
    text = LAUNCH.read_text()
    for name in arguments():
        assert text.count(f'"{name}"') >= 2, f"{name} is declared and not used"
