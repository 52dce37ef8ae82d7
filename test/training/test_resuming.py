"""Runs that are killed, interrupted, find damaged checkpoints, and are the uninterrupted run all the same."""

import logging
import os
import pkgutil
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.training_runs import differences, final_state, read_table, settings, write_pictures

from internimage_perception.training.loop import train

ROOT = Path(__file__).resolve().parents[2]
STEPS = 60


def newest(out):
    """Return the step of the newest checkpoint, 0 without one."""
    found = [path.stem for path in (out / "checkpoints").glob("step_*.pt")]
    return max((int(name.removeprefix("step_")) for name in found), default=0)


def children(pid):
    """Return the ids of the processes that a process has started, and theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def end_in_the_middle(out, config, number, *words):
    """Go on with a run by the command line, and end it after a new checkpoint; returns what it says."""
    command = [sys.executable, "-m", "internimage_perception.cli.main", "train", config, "--out", out, *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before = newest(out)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        wait_until(lambda: newest(out) > before or process.poll() is not None)
        workers = children(process.pid)
        # Anywhere between two checkpoints, or while one is written.
        time.sleep(random.Random(number).uniform(0.0, 0.1))  # noqa: S311 - no secret
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()  # or leaving the block waits for ever
            raise
    wait_until(lambda: not any(alive(pid) for pid in workers), 60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130), said
    return said, len(workers)


@pytest.fixture(scope="module")
def configured(pictures):
    return settings(
        pictures.train, pictures.val, steps=STEPS, average=0.9, data__workers=0, validation__every=9,
        checkpoint_every=4, log_every=3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(configured, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(configured, out)
    return out


@pytest.fixture(scope="module")
def ended(configured, tmp_path_factory):
    """A run that was killed twice, interrupted, terminated, and has then come to its end."""
    folder = tmp_path_factory.mktemp("ended")
    out, config = folder / "run", folder / "config.yaml"
    config.write_text(yaml.safe_dump(configured.model_dump(mode="json")))
    said = {}
    for number, workers in (
        (signal.SIGKILL, 2),
        (signal.SIGINT, 2),
        (signal.SIGTERM, 1),
        (signal.SIGKILL, 0),
    ):
        said[number], found = end_in_the_middle(out, config, number, f"data.workers={workers}")
        # Python's resource tracker is one more.
        assert found >= workers
        assert newest(out) < STEPS
    assert not (out / "weights.safetensors").exists()
    train(configured, out)
    return out, said


def test_a_run_that_was_ended_is_the_uninterrupted_one(ended, uninterrupted):
    out, _ = ended
    assert differences(final_state(out), final_state(uninterrupted)) == []
    name = "weights.safetensors"
    assert (out / name).read_bytes() == (uninterrupted / name).read_bytes()


def test_its_tables_are_those_of_the_uninterrupted_one(ended, uninterrupted):
    tables = [
        [row | {"pictures_per_s": ""} for row in read_table(out / "log.csv")]
        for out in (ended[0], uninterrupted)
    ]
    assert tables[0] == tables[1]
    steps = [int(row["step"]) for row in tables[0]]
    assert steps == sorted({*range(3, STEPS + 1, 3), *range(4, STEPS + 1, 4)})
    name = "validation.csv"
    assert (ended[0] / name).read_bytes() == (uninterrupted / name).read_bytes()
    assert len(read_table(uninterrupted / name)) == 7


def test_nothing_is_left_of_the_interruptions(ended):
    out, said = ended
    assert [path for path in out.rglob("*") if ".part" in path.name] == []
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == [
        "step_00000056.pt", "step_00000060.pt",
    ]  # fmt: skip
    for number in (signal.SIGINT, signal.SIGTERM):
        assert said[number].splitlines()[-1] == "internimage-perception train: interrupted"
        assert "Traceback" not in said[number]


def test_a_run_that_is_over_does_nothing(uninterrupted, configured, tmp_path, capsys):
    out = shutil.copytree(uninterrupted, tmp_path / "run")
    before = {path: path.read_bytes() for path in out.rglob("*.*") if "tensorboard" not in str(path)}
    result = train(configured, out)
    assert {path: path.read_bytes() for path in before} == before
    assert result.scores["val/miou"] == float(read_table(out / "validation.csv")[-1]["val/miou"])
    assert "step" not in capsys.readouterr().err


SELF_TRAINING = {
    "pipeline": [{"op": "crop", "size": [64, 48]}], "student_pipeline": [{"op": "photometric"}], "batch": 4,
    "threshold": 0.1, "warm_up": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16", "optimizer__clip": 1.0},
        {"precision": "fp16", "optimizer__kind": "muon", "optimizer__clip": 1.0},
        {"average": 0.9, "self_training": SELF_TRAINING, "accumulate": 2, "batch": 4, "loss__dice": 1.0},
        {"optimizer__kind": "muon", "gradient_checkpointing": True, "loss__rarity": 0.3, "loss__ohem": {}},
    ],
)
def test_all_kinds_of_runs_go_on_exactly(pictures, run, changes):
    if "self_training" in changes:
        changes["self_training"]["sources"] = [{"dataset": pictures.target}]
    config = settings(pictures.train, keep_checkpoints=3, **changes)
    whole = run(config, "whole")
    expected = final_state(whole)
    for step, again in ((4, "a"), (2, "b")):
        out = shutil.copytree(whole, whole.parent / again)
        for later in range(step + 2, 7, 2):
            (out / "checkpoints" / f"step_0000000{later}.pt").unlink()
        run(config, again)
        assert differences(final_state(out), expected) == []


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda _: b""])
def test_a_damaged_checkpoint_is_passed_over(pictures, run, caplog, damage):
    config = settings(pictures.train, average=0.9)
    out = run(config)
    expected = final_state(out)
    path = out / "checkpoints" / "step_00000006.pt"
    path.write_bytes(damage(path.read_bytes()))
    (out / "checkpoints" / ".step_00000006.pt.abc.part").write_bytes(b"half of it")
    with caplog.at_level(logging.WARNING):
        run(config)
    assert f"{path} is damaged and passed over" in caplog.text
    assert differences(final_state(out), expected) == []
    assert len(list((out / "checkpoints").iterdir())) == 2
    assert [row["step"] for row in read_table(out / "log.csv")] == ["2", "4", "6"]


@pytest.mark.parametrize(
    ("place", "last"),
    [("loop.Validation.run", 2), ("checkpoints.torch.save", 3), ("loop.save_checkpoint", 1)],
)
def test_an_interruption_at_the_end_of_a_run(pictures, run, monkeypatch, place, last):
    """Between the last step and the end, scores, checkpoint and weights are still to be written."""
    config = settings(pictures.train, pictures.val, average=0.9)
    whole = run(config, "whole")
    target = f"internimage_perception.training.{place}"
    module, _, name = target.rpartition(".")
    original = getattr(pkgutil.resolve_name(module), name)
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == last:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(target, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.undo()
    out = run(config)
    assert differences(final_state(out), final_state(whole)) == []
    for file in ("validation.csv", "weights.safetensors"):
        assert (out / file).read_bytes() == (whole / file).read_bytes()
    assert [path for path in out.rglob("*") if ".part" in path.name] == []


def test_skipped_samples_are_listed_once(run, tmp_path):
    dataset = write_pictures(tmp_path / "set", 6)
    for number in (1, 4):
        (tmp_path / "set" / "images" / f"00{number}.png").write_bytes(b"no picture")
    config = settings(dataset, steps=12, data__failures=1.0)
    out = run(config)
    before = (out / "skipped.csv").read_bytes()
    assert before.count(b"\n") > 4
    (out / "checkpoints" / "step_00000012.pt").unlink()
    run(config)
    assert (out / "skipped.csv").read_bytes() == before
