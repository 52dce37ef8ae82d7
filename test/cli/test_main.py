"""The command itself: help, lazy parts, documentation that agrees with the code."""

import subprocess
import sys
from pathlib import Path

import pytest

from internimage_perception.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "replay", "evaluate", "inspect", "models", "convert-camera", "bundle", "convert-checkpoint", "classify",
    "augment", "predict", "submit", "train", "scene", "demo", "demo-real", "parameters",
)  # fmt: skip


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for name in COMMANDS:
        assert name in said


@pytest.mark.parametrize("words", [[], ["cook"], ["replay"]])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert name in capsys.readouterr().out


def test_help_imports_none_of_the_large_libraries() -> None:
    code = (
        "import sys\nfrom internimage_perception.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'cv2', 'rosbags', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_parameter_documentation_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parameters"]) == 0
    table = capsys.readouterr().out
    assert table in (ROOT / "docs" / "parameters.md").read_text(), "run the command and paste its table"
