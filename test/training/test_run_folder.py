"""Folders of runs: claimed, claimed again, refused."""

import pytest
import yaml
from support.training_runs import settings

from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.training.config_file import load_training
from internimage_perception.training.run_folder import RunFolder

DATASET = {"kind": "folders", "images": "a", "labels": "b"}


@pytest.fixture
def begun(tmp_path):
    """A folder whose run has come as far as a checkpoint."""
    folder = RunFolder(tmp_path / "run")
    folder.claim(settings(DATASET))
    folder.checkpoints.mkdir()
    (folder.checkpoints / "step_00000002.pt").write_bytes(b"")
    return folder


def test_a_new_folder_holds_the_whole_configuration(tmp_path):
    config = settings(DATASET, optimizer__learning_rate=6e-5)
    RunFolder(tmp_path / "a" / "b").claim(config)
    assert load_training(tmp_path / "a" / "b" / "config.yaml") == config
    # An empty folder will do.
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").claim(config)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"log_every": 1, "checkpoint_every": 1, "keep_checkpoints": 9, "strategy": "fsdp"},
        {"data__workers": 7, "data__failures": 0.5, "gradient_checkpointing": True},
        {"validation": {"sources": {"a": DATASET}, "every": 7}, "classes": "other.yaml"},
    ],
)
def test_what_does_not_decide_may_change(begun, changes):
    config = settings(DATASET, **changes)
    begun.claim(config)
    assert load_training(begun.config) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 4}, r"\(seed\)"),
        ({"steps": 9, "optimizer__kind": "muon"}, r"\(steps, optimizer\.kind\)"),
        ({"data__sources": [{"dataset": DATASET, "share": 2}]}, r"\(data\.sources\)"),
        ({"data__pipeline": [{"op": "flip"}]}, r"\(data\.pipeline\)"),
        ({"model": "upernet_internimage_nano"}, r"\(model\)"),
        ({"model__drop_path_rate": 0.1}, r"\(model\.drop_path_rate\)"),
        ({"loss__ohem": {}}, r"\(loss\.ohem\)"),
        ({"precision": "bf16", "log_every": 3}, r"\(precision\)"),
    ],
)
def test_what_decides_must_not(begun, changes, said):
    before = begun.config.read_bytes()
    with pytest.raises(ConfigError, match=f"holds a run with other settings {said}; choose another"):
        begun.claim(settings(DATASET, **changes))
    assert begun.config.read_bytes() == before


def test_before_the_first_checkpoint_everything_may_change(begun):
    (begun.checkpoints / "step_00000002.pt").unlink()
    begun.claim(settings(DATASET, seed=99))
    assert load_training(begun.config).seed == 99


def test_settings_that_came_into_being_since(begun):
    content = yaml.safe_load(begun.config.read_text())
    del content["accumulate"], content["loss"]["ohem"]
    begun.config.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"other settings \(accumulate\)"):
        begun.claim(settings(DATASET, accumulate=2))
    begun.claim(settings(DATASET))


@pytest.mark.parametrize("content", [{"steps": 3}, {"my": "notes"}, [1]])
def test_a_configuration_of_something_else(tmp_path, content):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="holds no run that can be gone on with; choose another folder"):
        RunFolder(tmp_path).claim(settings(DATASET))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == content


def test_folders_that_hold_something_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not empty and holds no run; choose another folder"):
        RunFolder(tmp_path).claim(settings(DATASET))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(PerceptionError, match=r"thesis\.txt"):
        RunFolder(tmp_path / "thesis.txt").claim(settings(DATASET))


def test_files_that_a_kill_left_unfinished_are_removed(begun):
    rests = [begun.path / ".log.csv.x1.part", begun.checkpoints / ".step_00000004.pt.ab_c.part"]
    for path in rests:
        path.write_bytes(b"half")
    begun.claim(settings(DATASET))
    assert not any(path.exists() for path in rests)
    assert (begun.checkpoints / "step_00000002.pt").exists()


def test_one_run_at_a_time(begun):
    other = RunFolder(begun.path)
    with pytest.raises(ConfigError, match="another process trains in"):
        other.claim(settings(DATASET))
    begun.close()
    other.claim(settings(DATASET))
    other.close()
    begun.claim(settings(DATASET))
