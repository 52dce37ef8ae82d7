"""Several processes do what one does; when one of them dies, none is left waiting."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from support.training_runs import final_state, read_table, settings, write_pictures

from internimage_perception.training.loop import train

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def environment():
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'test'}", "OMP_NUM_THREADS": "1"}


def everything(pictures, **changes):
    """Return settings in which all that depends on the whole batch takes part."""
    self_training = {
        "sources": [{"dataset": pictures.target}],
        "pipeline": [{"op": "crop", "size": [64, 48]}, {"op": "flip"}],
        "student_pipeline": [{"op": "photometric"}], "batch": 4, "threshold": 0.1, "warm_up": 2,
    }  # fmt: skip
    common = {
        "batch": 4, "average": 0.9, "drop_out": 0.2, "optimizer__clip": 1.0, "self_training": self_training,
        "loss": {"dice": 1.0, "average": "valid", "rarity": 0.3},
    }  # fmt: skip
    return settings(pictures.train, pictures.val, **common | changes)


def began_anew(out, again):
    """Return a copy of a run's folder that goes on from the checkpoint before the last."""
    shutil.copytree(out, again)
    max((again / "checkpoints").iterdir()).unlink()
    return again


@pytest.fixture(scope="module")
def runs(pictures, tmp_path_factory):
    """Folders of the same run: in one process, copied to two, split over two, and changing between them."""
    folder = tmp_path_factory.mktemp("processes")
    config = everything(pictures)
    train(config, folder / "one")
    split = config.model_copy(update={"strategy": "fsdp"})
    parts = {"accumulate": 2, "batch": 8, "steps": 2}
    damaged = write_pictures(folder / "damaged", 6)
    for number in (1, 4):
        (folder / "damaged" / "images" / f"00{number}.png").write_bytes(b"no picture")
    half = settings(
        pictures.train, pictures.val, precision="bf16", gradient_checkpointing=True, batch=4, steps=4,
        validation__every=2,
    )  # fmt: skip
    train(half, folder / "half_one")
    jobs = {
        "copied": config,
        "split": split,
        "one_then_copied": config,
        "one_then_split": split,
        "in_parts": everything(pictures, **parts),
        "half": half.model_copy(update={"strategy": "fsdp"}),
        "skipping": settings(damaged, steps=4, data__failures=1.0, loss__auxiliary=0.0),
    }
    for name in ("one_then_copied", "one_then_split"):
        began_anew(folder / "one", folder / name)
    # Ended before its first scores were there: the network is scored before it is trained any further.
    (began_anew(folder / "half_one", folder / "half") / "validation.csv").unlink()
    written = [
        {"config": job.model_dump(mode="json"), "out": str(folder / name)} for name, job in jobs.items()
    ]
    (folder / "jobs.yaml").write_text(yaml.safe_dump(written))
    program = ROOT / "test" / "support" / "training_jobs.py"
    command = [*LAUNCH, program, folder / "jobs.yaml", folder / "results.yaml"]
    done = subprocess.run(command, env=environment(), stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("copied", "split"):
        train(config, began_anew(folder / name, folder / f"{name}_then_one"))
    train(everything(pictures, **parts), folder / "in_parts_one")
    train(jobs["skipping"], folder / "skipping_one")
    results = yaml.safe_load((folder / "results.yaml").read_text())
    return folder, {Path(item["out"]).name: item for item in results}, done.stderr


def assert_alike(one, other):
    """Compare losses, weights, average and what the optimiser knows."""
    for mine, theirs in zip(read_table(one / "log.csv"), read_table(other / "log.csv"), strict=True):
        for name in mine:
            if name != "pictures_per_s" and (mine[name] or theirs[name]):
                assert float(mine[name]) == pytest.approx(float(theirs[name]), rel=1e-4, abs=1e-4), name
    states = final_state(one), final_state(other)
    for part in (("state_dict",), ("average", "state_dict")):
        mine, theirs = states
        for key in part:
            mine, theirs = mine[key], theirs[key]
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-4, msg=name)
    kept = [state["optimizers"][0] for state in states]
    assert kept[0]["state"].keys() == kept[1]["state"].keys()
    assert [group["params"] for group in kept[0]["param_groups"]] == [
        g["params"] for g in kept[1]["param_groups"]
    ]


@pytest.mark.parametrize(
    "name", ["copied", "split", "one_then_copied", "one_then_split", "copied_then_one", "split_then_one"]
)
def test_several_processes_train_as_one(runs, name):
    folder, results, _ = runs
    assert_alike(folder / name, folder / "one")
    scores = [read_table(folder / run / "validation.csv") for run in (name, "one")]
    assert [row["step"] for row in scores[0]] == ["3", "6"]
    for mine, theirs in zip(*scores, strict=True):
        assert float(mine["val/miou"]) == pytest.approx(float(theirs["val/miou"]), abs=2e-3)
    if name in results:
        assert results[name]["scores"]["val/miou"] == pytest.approx(
            float(scores[0][-1]["val/miou"]), rel=1e-4
        )


def test_parts_of_a_step_in_several_processes(runs):
    folder, _, _ = runs
    # Each part of a batch of eight is four pictures in one process, and twice two in two.
    assert_alike(folder / "in_parts", folder / "in_parts_one")


def test_split_networks_in_half_precision(runs):
    folder, _, _ = runs
    tables = [read_table(folder / name / "log.csv") for name in ("half", "half_one")]
    for mine, theirs in zip(*tables, strict=True):
        assert float(mine["loss"]) == pytest.approx(float(theirs["loss"]), rel=2e-3)
    scores = [read_table(folder / name / "validation.csv") for name in ("half", "half_one")]
    assert [row["step"] for row in scores[0]] == ["2", "4"]
    # Of the same checkpoint, one by two halves and one in a piece; rounding decides close calls.
    assert float(scores[0][0]["val/miou"]) == pytest.approx(float(scores[1][0]["val/miou"]), abs=2e-3)


def test_skipped_samples_of_all_processes(runs):
    folder, results, _ = runs
    tables = [read_table(folder / name / "skipped.csv") for name in ("skipping", "skipping_one")]
    assert [sorted(row.items()) for row in tables[0]] == [sorted(row.items()) for row in tables[1]]
    assert results["skipping"]["skipped"] == len(tables[0]) > 0


def test_one_process_speaks_for_all(runs):
    _, _, said = runs
    lines = [line for line in said.splitlines() if line.startswith("step 6/6")]
    assert len(lines) == 4
    assert "Warning" not in said


def started_by(pid):
    """Return the ids of the processes of a run by their ranks."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            rank = re.search(r"\0LOCAL_RANK=(\d)", path.read_text())
            parent = int(path.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if rank and parent == pid:
            found[int(rank[1])] = int(path.parent.name)
    return found


def test_a_process_that_dies_takes_the_others_along(pictures, tmp_path):
    config = settings(pictures.train, steps=100_000, batch=4)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    words = [
        "-m",
        "internimage_perception.cli.main",
        "train",
        tmp_path / "config.yaml",
        "--out",
        tmp_path / "run",
    ]
    with subprocess.Popen([*LAUNCH, *words], env=environment(), stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 600
        while not list((tmp_path / "run" / "checkpoints").glob("*.pt")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.02)
        ranks = started_by(process.pid)
        assert ranks.keys() == {0, 1}
        os.kill(ranks[1], signal.SIGKILL)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())
    # What torchrun says besides comes from itself.
    assert "internimage-perception train: another process of this run has ended" in said
    assert "[rank0]: Traceback" not in said
