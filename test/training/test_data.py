"""Data of a run that cannot be read, or do not fit its settings."""

import pytest
from support.training_runs import read_table, settings, write_pictures

from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training.loop import train


def test_samples_that_cannot_be_read_are_skipped(tmp_path):
    dataset = write_pictures(tmp_path / "set", 10)
    damaged = tmp_path / "set" / "images" / "004.png"
    damaged.write_bytes(damaged.read_bytes()[:300])
    config = settings(dataset, steps=10, checkpoint_every=10, log_every=5)
    result = train(config, tmp_path / "run")
    rows = read_table(tmp_path / "run" / "skipped.csv")
    assert {(row["dataset"], row["name"]) for row in rows} == {("source 0 (folders)", "004")}
    assert all("004.png" in row["reason"] for row in rows)
    # Twenty samples of ten pictures: it is drawn twice, and then may be drawn again instead of itself.
    assert result.skipped == len(rows) >= 2
    assert [row["step"] for row in read_table(tmp_path / "run" / "log.csv")] == ["5", "10"]


@pytest.mark.parametrize(("failures", "most"), [(0.1, "1[12]"), (0.0, "[12]")])
def test_too_many_samples_that_cannot_be_read(tmp_path, failures, most):
    dataset = write_pictures(tmp_path / "set", 10)
    for number in range(5):
        (tmp_path / "set" / "images" / f"00{number}.png").write_bytes(b"no picture")
    config = settings(dataset, steps=100, data__failures=failures)
    with pytest.raises(
        DatasetError, match=rf"^{most} of \d+ samples cannot be read, such as 00\d: .*mend the data"
    ):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model__num_classes": 19}, "the data has 13 classes, model .* has 19"),
        ({"batch": 1}, "batch 1 in 1 parts leaves a single picture"),
        ({"data__pipeline": [{"op": "flop"}]}, r"no operation is called 'flop' \(did you mean flip"),
        (
            {"data__pipeline": [{"op": "resize", "scale": [64, 64], "ratio": [0.5, 2.0]}]},
            "must have one size",
        ),
        ({"loss__class_weights": [1.0, 2.0]}, "2 weights for 13 classes"),
    ],
)
def test_settings_that_do_not_fit_the_data(pictures, run, tmp_path, changes, said):
    config = settings(pictures.train, **changes)
    with pytest.raises(ConfigError, match=said):
        run(config)
    # Mended, it may begin in the same folder.
    run(settings(pictures.train, steps=1))
    assert (tmp_path / "run" / "weights.safetensors").exists()
