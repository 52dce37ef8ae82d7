"""Runs of the training loop: what they leave, how settings act together, when they stop."""

import math

import pytest
import torch
from support.training_runs import differences, final_state, read_table, settings, write_pictures
from torch import nn

from internimage_perception.errors import PerceptionError
from internimage_perception.models.checkpoints import load_checkpoint
from internimage_perception.training import loop
from internimage_perception.training.loop import train
from internimage_perception.training.losses import SegmentationLoss
from internimage_perception.training.updates import Updates


def losses_of(out):
    return [float(row["loss"]) for row in read_table(out / "log.csv")]


def closeness(one, other):
    """Return by how much the trained parameters of two runs differ at most."""
    states = [final_state(out)["state_dict"] for out in (one, other)]
    return max(
        (states[0][name] - value).abs().max().item() for name, value in states[1].items() if "bn" not in name
    )


def without_batch_norm(monkeypatch):
    """Let batch norms use the statistics they begin with: theirs are of parts, whatever the parts are."""
    build = loop.build_network

    def built(*arguments):
        network = build(*arguments)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().train = lambda _mode=True, module=module: module
        return network

    monkeypatch.setattr(loop, "build_network", built)


def test_what_a_run_leaves(pictures, tmp_path):
    config = settings(pictures.train, pictures.val, average=0.9)
    result = train(config, tmp_path / "run")
    out = tmp_path / "run"
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints", "config.yaml", "log.csv", "tensorboard", "validation.csv", "weights.safetensors",
    ]  # fmt: skip
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == [
        "step_00000004.pt", "step_00000006.pt",
    ]  # fmt: skip
    rows = read_table(out / "log.csv")
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    for row in rows:
        both = float(row["cross_entropy"]) + 0.4 * float(row["auxiliary"])
        assert float(row["loss"]) == pytest.approx(both, rel=1e-4)
        assert float(row["pictures_per_s"]) > 0
        assert row["dice"] == row["target"] == ""
    # The warm-up of two steps, and then a straight line to 0 at step 6.
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(
        [2e-3 * (5 / 6) * 0.55, 2e-3 * 3 / 6, 2e-3 / 6], rel=1e-4
    )
    assert [row["step"] for row in read_table(out / "validation.csv")] == ["3", "6"]
    state = final_state(out)
    weights = load_checkpoint(out / "weights.safetensors")
    assert differences(weights, dict(state["average"]["state_dict"])) == []
    assert state["average"]["updates"] == 6
    assert result.weights == out / "weights.safetensors"
    assert (result.size, result.skipped, result.reports) == ((48, 64), 0, True)
    assert result.classes[0] == "Road" and len(result.classes) == 13
    assert result.scores.keys() == {"val/miou", "val/miou_scene"}


def test_tables_have_a_row_for_checkpoints_and_the_end(pictures, run):
    config = settings(pictures.train, steps=7, log_every=3, checkpoint_every=4, keep_checkpoints=1)
    out = run(config)
    assert [row["step"] for row in read_table(out / "log.csv")] == ["3", "4", "6", "7"]
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step_00000007.pt"]
    assert not (out / "validation.csv").exists()


@pytest.mark.parametrize(
    "changes", [{"optimizer__kind": "adamw"}, {"optimizer__kind": "muon", "optimizer__clip": 1.0}]
)
def test_networks_learn(pictures, run, changes):
    out = run(
        settings(
            pictures.train, steps=30, batch=4, log_every=10, checkpoint_every=30, model__drop_path_rate=0.0,
            optimizer__learning_rate=1e-2, loss__dice=1.0, loss__rarity=0.3, loss__average="valid", **changes,
        )
    )  # fmt: skip
    found = losses_of(out)
    assert found[2] < found[1] < found[0] and found[2] < found[0] - 0.15


def test_self_training_learns(pictures, run):
    changes = {
        "average": 0.9, "self_training": {
            "sources": [{"dataset": pictures.target}], "pipeline": [{"op": "crop", "size": [64, 48]}],
            "student_pipeline": [{"op": "photometric"}], "batch": 2, "threshold": 0.1, "warm_up": 1,
        },
    }  # fmt: skip
    out = run(settings(pictures.train, **changes))
    rows = read_table(out / "log.csv")
    assert all(float(row["target"]) > 0 and 0 < float(row["target_share"]) <= 1 for row in rows)
    # Their loss is what the weights differ by; a weight of 0 still shows them to the batch norms.
    changes["self_training"]["weight"] = 0.0
    other = run(settings(pictures.train, **changes), "other")
    assert [float(row["target"]) for row in read_table(other / "log.csv")] == [0.0, 0.0, 0.0]
    name = "decode_head.conv_seg.weight"
    one, two = (final_state(folder)["state_dict"][name] for folder in (out, other))
    assert not torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision(pictures, run, precision):
    full = run(settings(pictures.train, steps=2), "full")
    mixed = run(settings(pictures.train, steps=2, precision=precision), "mixed")
    assert losses_of(mixed) == pytest.approx(losses_of(full), rel=0.02)
    # Not the same, or nothing was computed in it; weights stay in full precision.
    assert losses_of(mixed) != losses_of(full)
    state = final_state(mixed)
    assert {value.dtype for value in state["state_dict"].values()} == {torch.float32, torch.int64}
    assert ("scaler" in state) == (precision == "fp16")


def test_activations_computed_twice_change_nothing(pictures, run):
    changes = {"steps": 3, "checkpoint_every": 3, "drop_out": 0.3}
    one = run(settings(pictures.train, **changes), "one")
    two = run(settings(pictures.train, gradient_checkpointing=True, **changes), "two")
    assert closeness(one, two) < 1e-6


@pytest.mark.parametrize(
    "loss",
    [{"average": "all"}, {"average": "valid", "rarity": 0.3}, {"average": "all", "label_smoothing": 0.1}],
)
def test_parts_of_a_step_add_up(pictures, run, monkeypatch, loss):
    without_batch_norm(monkeypatch)
    changes = {"batch": 8, "steps": 4, "drop_out": 0.3, "optimizer__learning_rate": 5e-4}
    one, two, four = (
        run(settings(pictures.train, loss=loss, accumulate=parts, **changes), f"in_{parts}")
        for parts in (1, 2, 4)
    )
    assert losses_of(two) == pytest.approx(losses_of(one), rel=1e-4)
    assert losses_of(four) == pytest.approx(losses_of(one), rel=1e-4)
    assert closeness(one, two) < 1e-4 and closeness(one, four) < 1e-4


@pytest.mark.parametrize(("dice", "closest"), [(0.0, 1e-4), (1.0, 2e-3)])
def test_parts_of_alike_pictures_add_up_with_batch_norm(run, tmp_path, dice, closest):
    """Batch norms and Dice see a part at a time: one picture four times over is much the same in any part."""
    dataset = write_pictures(tmp_path / "one", 1)
    changes = {
        "batch": 4, "steps": 4, "drop_out": 0.0, "model__drop_path_rate": 0.0,
        "data__pipeline": [{"op": "resize", "size": [64, 48]}],
        "loss": {"dice": dice, "average": "valid"},
    }  # fmt: skip
    one, two = (run(settings(dataset, accumulate=parts, **changes), f"in_{parts}") for parts in (1, 2))
    assert losses_of(two) == pytest.approx(losses_of(one), rel=1e-4)
    assert closeness(one, two) < closest


@pytest.mark.parametrize("when", ["loss", "weights"])
def test_a_run_stops_when_numbers_end(pictures, run, tmp_path, monkeypatch, when):
    calls = []

    def loss(self, *arguments, forward=SegmentationLoss.forward, **named):
        calls.append(self)
        found = forward(self, *arguments, **named)
        return found if len(calls) < 4 else found | {"loss": found["loss"] * math.nan}

    def apply(self, step, apply=Updates.apply):
        apply(self, step)
        if step == 3:
            next(self._network.parameters()).data.fill_(torch.inf)

    if when == "loss":
        monkeypatch.setattr(SegmentationLoss, "forward", loss)
    else:
        monkeypatch.setattr(Updates, "apply", apply)
    with pytest.raises(
        PerceptionError, match=r"step 4.*lower optimizer\.learning_rate or set optimizer\.clip"
    ):
        run(settings(pictures.train))
    out = tmp_path / "run"
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step_00000002.pt"]
    assert [row["step"] for row in read_table(out / "log.csv")] == ["2", "4"]
    # The older checkpoint is good to go on from.
    monkeypatch.undo()
    run(settings(pictures.train))
    assert differences(final_state(out), final_state(run(settings(pictures.train), "other"))) == []
