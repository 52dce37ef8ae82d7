import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training.config import SourceConfig
from internimage_perception.training.pipeline import StepBatches, batches, open_sources

OPERATIONS = ({"op": "resize", "ratio": [0.5, 2.0]}, {"op": "crop", "size": [40, 24]}, {"op": "photometric"})


@pytest.fixture
def stream(picture_folders):
    return open_sources([SourceConfig(dataset=picture_folders(11))], OPERATIONS, seed=2)


def same(one, other):
    return (
        (one.step, one.part, one.names, one.failures) == (other.step, other.part, other.names, other.failures)
        and torch.equal(one.images, other.images)
        and torch.equal(one.labels, other.labels)
    )


def test_batches_hold_pictures_and_labels(stream):
    first, second = batches(stream, 4, first_step=0, last_step=2)
    assert (first.step, second.step, first.part) == (0, 1, 0)
    assert first.images.shape == (4, 3, 24, 40)
    assert first.labels.shape == (4, 24, 40)
    assert first.images.dtype == first.labels.dtype == torch.uint8
    for number, name in enumerate(first.names):
        sample = stream[number].sample
        assert sample.name == name
        assert torch.equal(first.images[number].permute(1, 2, 0), torch.from_numpy(sample.image))
        assert torch.equal(first.labels[number], torch.from_numpy(sample.labels))
    assert same(first.to("cpu"), first)


def test_processes_and_a_restart_change_nothing(stream):
    expected = list(batches(stream, 4, first_step=0, last_step=5, accumulate=2))
    random_state = torch.get_rng_state()
    with closing(batches(stream, 4, first_step=0, last_step=5, workers=2, accumulate=2)) as loaded:
        found = list(loaded)
    assert [(batch.step, batch.part) for batch in found] == [divmod(index, 2) for index in range(10)]
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    with closing(batches(stream, 4, first_step=3, last_step=5, workers=1, accumulate=2)) as loaded:
        assert all(same(one, other) for one, other in zip(loaded, expected[6:], strict=True))
    # Dropout goes on as if nothing had been loaded.
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 1), (2, 1), (1, 4), (3, 2), (12, 1)])
def test_any_number_of_processes_sees_the_same_samples_in_a_step(stream, ranks, accumulate):
    size = 12 // (ranks * accumulate)
    for step in (0, 4):
        found = {}
        for rank in range(ranks):
            parts = StepBatches(stream, 12, rank=rank, ranks=ranks, accumulate=accumulate)
            for part in range(accumulate):
                batch = parts[step * accumulate + part]
                assert (batch.step, batch.part) == (step, part)
                first = (part * ranks + rank) * size
                found.update(zip(range(first, first + size), batch.names, strict=True))
        assert [found[place] for place in range(12)] == [stream[step * 12 + j].sample.name for j in range(12)]


def test_a_batch_is_shared_evenly_or_refused(stream):
    with pytest.raises(
        ConfigError, match=r"batch of 10 .* 2 processes in 2 parts each; set batch to 8 or 12"
    ):
        batches(stream, 10, first_step=0, last_step=1, ranks=2, accumulate=2)
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        StepBatches(stream, 4, rank=2, ranks=2)


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_of_one_batch_have_one_size(picture_folders, workers):
    dataset = picture_folders(2, sizes=[(30, 20), (31, 20)])
    stream = open_sources([SourceConfig(dataset=dataset)])
    with (
        closing(batches(stream, 2, first_step=0, last_step=1, workers=workers)) as loaded,
        pytest.raises(ConfigError) as caught,
    ):
        next(loaded)
    said = str(caught.value)
    assert "000 has 30x20" in said or "000 30x20" in said
    assert "001 has 31x20" in said or "001 31x20" in said
    assert "end the pipeline with crop" in said
    # As here, so from another process: without its traceback.
    assert "Traceback" not in said


def test_failures_come_with_the_batch(picture_folders):
    dataset = picture_folders(4)
    (Path(dataset["images"]) / "002.png").write_bytes(b"no picture")
    stream = open_sources([SourceConfig(dataset=dataset)])
    (batch,) = batches(stream, 4, first_step=0, last_step=1)
    assert "002" not in batch.names
    assert {failure.name for failure in batch.failures} == {"002"}
    for number in range(4):
        (Path(dataset["images"]) / f"00{number}.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="none of 20 samples in a row"):
        next(batches(stream, 4, first_step=0, last_step=1))


def test_the_student_has_pictures_of_its_own(picture_folders):
    sources = [SourceConfig(dataset=picture_folders(3))]
    stream = open_sources(sources, OPERATIONS, labelled=False, student=({"op": "colour"},))
    (batch,) = batches(stream, 2, first_step=0, last_step=1)
    assert batch.student_images.shape == batch.images.shape
    assert not torch.equal(batch.student_images, batch.images)
    moving = open_sources(sources, OPERATIONS, labelled=False, student=({"op": "resize", "size": [5, 5]},))
    with pytest.raises(ConfigError, match="student's picture has 5x5 pixels, the teacher's 40x24"):
        next(batches(moving, 2, first_step=0, last_step=1))


PROGRAM = """
import sys, time
from contextlib import closing
from internimage_perception.training.config import SourceConfig
from internimage_perception.training.pipeline import batches, open_sources

if __name__ == "__main__":
    dataset = {"kind": "folders", "images": sys.argv[1] + "/images", "labels": sys.argv[1] + "/labels"}
    stream = open_sources([SourceConfig(dataset=dataset)])
    try:
        with closing(batches(stream, 2, first_step=0, last_step=10**6, workers=1)) as loaded:
            if sys.argv[2] == "waiting":
                next(loaded)
            print("begun", flush=True)
            for batch in loaded:
                time.sleep(0.05)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def start(tmp_path, stage):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = Path(__file__).resolve().parents[3]
    return subprocess.Popen(
        [sys.executable, program, tmp_path / "set", stage], env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def members(group):
    """Return the processes of a group that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, leader = entry.read_text().rsplit(")", 1)[1].split()[:3]
        except (OSError, ProcessLookupError):
            continue
        if int(leader) == group and state != "Z":
            found.append(int(entry.parent.name))
    return found


def gone(group, seconds):
    end = time.monotonic() + seconds
    while members(group):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("stage", "signals"), [("waiting", "kill"), ("waiting", "interrupt"), ("starting", "interrupt")]
)
def test_no_worker_outlives_the_run_or_complains(picture_folders, tmp_path, stage, signals):
    picture_folders(6)
    process = start(tmp_path, stage)
    try:
        assert process.stdout.readline() == "begun\n"
        if stage == "waiting":
            assert len(members(process.pid)) >= 2
        else:
            time.sleep(1.0)
        if signals == "kill":
            process.kill()
            process.wait()
        else:
            # As a terminal does: to all processes of the group at once.
            os.killpg(process.pid, signal.SIGINT)
            _, complaints = process.communicate(timeout=120)
            assert process.returncode == 130
            assert complaints == ""
        assert gone(process.pid, 60.0)
    finally:
        for member in members(process.pid):
            os.kill(member, signal.SIGKILL)
