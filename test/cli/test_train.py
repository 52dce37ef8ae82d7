"""`internimage-perception train`: from a configuration to a bundle."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support.training_runs import settings, write_pictures

from internimage_perception.cli import train as command
from internimage_perception.cli.main import main
from internimage_perception.errors import PerceptionError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.models import create_model
from internimage_perception.models.checkpoints import load_checkpoint
from internimage_perception.models.inference_modes import EvaluationMode, probabilities
from internimage_perception.training import loop

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    """A file of a short run, and the picture that it is trained on."""
    folder = tmp_path_factory.mktemp("train")
    dataset = write_pictures(folder / "set", 6)
    config = settings(dataset, dataset, steps=4, average=0.5, drop_out=0.0, checkpoint_every=4)
    (folder / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return folder / "run.yaml"


@pytest.fixture(scope="module")
def trained(configured):
    """The folder of the run, and what was said."""
    out = configured.parent / "first run"
    words = [sys.executable, "-m", "internimage_perception.cli.main", "train", configured, "--out", out]
    done = subprocess.run([*words, "log_every=1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done


def test_what_is_said(trained):
    out, done = trained
    said = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in said] == ["val/miou", "val/miou_scene", "weights", "bundle"]
    assert said[2:] == [f"weights: {out / 'weights.safetensors'}", f"bundle: {out / 'bundle'}"]
    progress = done.stderr.splitlines()
    assert [line.partition(",")[0].partition(":")[0] for line in progress] == [
        "step 1/4", "step 2/4", "step 3/4", "step 3", "step 4/4", "step 4",
    ]  # fmt: skip
    assert f"step 4: val/miou {float(said[0].split()[1]):.4f}" in progress[-1]


def test_the_bundle_is_the_trained_network(trained):
    out, _ = trained
    bundle = Bundle.load(out / "bundle")
    assert bundle.name == "first run"
    assert (bundle.input.height, bundle.input.width, bundle.input.channel_order) == (48, 64, "rgb")
    assert [item.name for item in bundle.classes][::12] == ["Road", "Background"]
    assert bundle.provenance["training"] == "4 steps of 2 pictures, seed 3"
    assert bundle.provenance["weights"].startswith("weights.safetensors, sha256 ")
    network = create_model(bundle.architecture)
    weights = load_checkpoint(out / "weights.safetensors")
    network.load_state_dict({key: weights[key] for key in network.state_dict()})
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    chances = probabilities(network.eval(), image, EvaluationMode()).numpy()
    best = np.sort(chances, axis=0)
    # A bundle's weights are rounded to half precision: only where the answer is a close call may it differ.
    clear = best[-1] - best[-2] > 2e-3
    assert clear.mean() > 0.5
    for name in ("onnxruntime", "torch"):
        answer = create_backend(name, bundle).run(image[None])
        assert (answer["class_ids"][0] == chances.argmax(0))[clear].all()


def test_settings_may_stand_anywhere(configured, tmp_path, capsys):
    for words in (
        [configured, "seed=5", "--show", "steps=9"],
        ["--show", configured, "seed=5", "steps=9"],
        [configured, "--out", tmp_path / "a", "seed=5", "--show", "steps=9"],
    ):
        assert main(["train", *map(str, words)]) == 0
        shown = yaml.safe_load(capsys.readouterr().out)
        assert (shown["seed"], shown["steps"], shown["average"]) == (5, 9, 0.5)
    assert not (tmp_path / "a").exists()


def test_what_ships_is_listed(capsys):
    assert main(["train", "--list"]) == 0
    names = capsys.readouterr().out.split()
    assert "nano_street" in names and names == sorted(names)
    assert main(["train", names[0], "--show"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["steps"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "CONFIG is missing: a .yaml file or one of "),
        (["nano_street"], "--out is missing"),
        (["nano_strete", "--out", "x"], "did you mean nano_street?"),
        (["nano_street", "--out", "x", "optimizer.lr=1"], "unknown key optimizer.lr"),
    ],
)
def test_wrong_use_is_explained(words, said, capsys):
    assert main(["train", *words]) == 1
    assert said in capsys.readouterr().err


def test_a_run_that_is_over_gets_its_bundle(trained, configured, tmp_path, capsys):
    out = shutil.copytree(trained[0], tmp_path / "run")
    shutil.rmtree(out / "bundle")
    words = ["train", str(configured), "--out", str(out)]
    assert main([*words, "--no-bundle"]) == 0
    assert not (out / "bundle").exists()
    # Other classes than the data's are found out before anything is trained.
    lacking = tmp_path / "classes.yaml"
    lacking.write_text(yaml.safe_dump({"classes": [{"id": 0, "name": "Road", "color": [1, 2, 3]}]}))
    assert main([*words, f"classes={lacking}"]) == 1
    assert f"{lacking} names other classes than the data (Road, Sidewalk, " in capsys.readouterr().err
    assert main(words) == 0
    assert Bundle.load(out / "bundle").name == "run"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nmore"),
            "the memory is full: raise",
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory"),
            "is full",
        ),
        (
            torch.distributed.DistBackendError("NCCL error"),
            "another process of this run has ended, or cannot",
        ),
        (
            RuntimeError("[/x/gloo/transport/tcp/pair.cc:537] Read error"),
            "another process of this run has ended",
        ),
    ],
)
def test_errors_of_the_library_that_are_known(configured, tmp_path, monkeypatch, capsys, error, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(loop, "train", fail)
    assert main(["train", str(configured), "--out", str(tmp_path / "run")]) == 1
    text = capsys.readouterr().err
    assert said in text and str(error).splitlines()[0] in text


def test_other_errors_are_not_hidden(configured, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(loop, "train", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["train", str(configured), "--out", str(tmp_path / "run")])


def test_without_its_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "internimage_perception.training.loop", None)
    options = type("Options", (), {})()
    with pytest.raises(PerceptionError, match=r"is missing; install it by .*\[train\]"):
        command.run(options)
