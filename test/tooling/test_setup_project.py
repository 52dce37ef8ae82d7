"""`make setup` does what is out of date, and only that."""

import pytest
import setup_project
from commands import StepError, run


@pytest.fixture(autouse=True)
def stamps(tmp_path, monkeypatch):
    monkeypatch.setattr(setup_project, "STAMPS", tmp_path / ".setup")
    monkeypatch.setattr(setup_project, "ROOT", tmp_path)
    return tmp_path / ".setup"


class Action:
    """Counts its runs, and creates what it is to create."""

    def __init__(self, output=None, remark=None) -> None:
        self.runs = 0
        self.output = output
        self.remark = remark

    def __call__(self) -> str | None:
        self.runs += 1
        if self.output:
            self.output.touch()
        return self.remark


def test_step_runs_once_per_key(tmp_path):
    action = Action(tmp_path / "built")
    for key in ("a", "a", "b", "b"):
        assert setup_project.step("messages", key, [tmp_path / "built"], action) == ""
    assert action.runs == 2


def test_step_runs_again_when_its_output_is_gone(tmp_path):
    action = Action(tmp_path / "built")
    setup_project.step("messages", "a", [tmp_path / "built"], action)
    (tmp_path / "built").unlink()
    setup_project.step("messages", "a", [tmp_path / "built"], action)
    assert action.runs == 2


def test_remark_is_remembered_instead_of_outputs(tmp_path, capsys):
    action = Action(remark="no compiler,\nsorry")
    for _ in range(2):
        assert setup_project.step("ros", "a", [tmp_path / "never"], action) == "no compiler,\nsorry"
    assert action.runs == 1
    assert capsys.readouterr().out.count("left out") == 1


def test_failed_step_runs_again():
    def fails() -> None:
        raise StepError("broken")

    setup_project.step("packages", "a", [], Action())
    with pytest.raises(StepError):
        setup_project.step("packages", "b", [], fails)
    action = Action()
    setup_project.step("packages", "a", [], action)
    assert action.runs == 1


def test_digest_sees_contents_names_and_facts(tmp_path):
    folder = tmp_path / "msg"
    folder.mkdir()
    (folder / "A.msg").write_text("uint8 a")
    first = setup_project.digest([folder], "3.11")
    assert first == setup_project.digest([folder], "3.11")
    assert first != setup_project.digest([folder], "3.12")
    (folder / "A.msg").write_text("uint8 b")
    second = setup_project.digest([folder], "3.11")
    (folder / "A.msg").rename(folder / "B.msg")
    third = setup_project.digest([folder], "3.11")
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    ("configuration", "pip", "system_packages", "expected"),
    [
        ("version = 3.12.1\n", True, False, "3.12.1"),
        ("version_info = 3.11.7.final.0\n", True, False, "3.11.7.final.0"),
        ("version = 3.12.1\n", False, False, None),
        ("version = 3.12.1\ninclude-system-site-packages = false\n", True, True, None),
        ("version = 3.12.1\ninclude-system-site-packages = true\n", True, True, "3.12.1"),
        (None, True, False, None),
    ],
)
def test_incomplete_environments_are_not_used(
    tmp_path, monkeypatch, configuration, pip, system_packages, expected
):
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()
    if pip:
        (venv / "bin" / "pip").touch()
    if configuration is not None:
        (venv / "pyvenv.cfg").write_text(configuration)
    monkeypatch.setattr(setup_project, "VENV", venv)
    assert setup_project.usable_venv(system_packages=system_packages) == expected


def test_failing_command_is_shown_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr("commands.LOG", tmp_path / "setup.log")
    monkeypatch.setattr("commands.ROOT", tmp_path)
    script = "echo 'WARNING: Location x is ignored'; seq 100; echo no space left >&2; exit 3"
    with pytest.raises(StepError) as caught:
        run(["sh", "-c", script], "free some space")
    shown = caught.value.explained().splitlines()
    assert shown[-2:] == ["    no space left", "free some space (all output: setup.log)"]
    assert len(shown) < 30
    assert "Location" not in "\n".join(shown)
    with pytest.raises(StepError, match="cannot run no-such-program"):
        run(["no-such-program"], "install it")
