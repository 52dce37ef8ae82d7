"""`internimage-perception convert-checkpoint`: official layouts in, exact bundles out, clear words else."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from internimage_perception.cli.main import main
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import WEIGHTS, Bundle, sha256_of

torch = pytest.importorskip("torch")
from internimage_perception.models import (  # noqa: E402 - needs torch
    create_model,
    load_checkpoint,
    load_weights,
    model_names,
    save_checkpoint,
)
from internimage_perception.models.checkpoints import to_half  # noqa: E402 - needs torch
from internimage_perception.models.deployed import deploy_model  # noqa: E402 - needs torch

ROOT = Path(__file__).resolve().parents[2]
SIZE = ["--height", "64", "--width", "96"]
BACKBONE = {"channels": 16, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "layer_scale": 1.0}


def random_state(configuration):
    torch.manual_seed(1)
    return create_model(configuration).state_dict()


def golden_state(golden, recipe, name):
    """Return the weights of a reference file, and what it was made with."""
    stored = np.load(golden / f"{name}.npz")
    with torch.device("meta"):
        shapes = create_model(recipe.config(stored)).state_dict()
    return stored, {k: torch.from_numpy(recipe.weight(k, tuple(v.shape))) for k, v in shapes.items()}


def without_values(configuration):
    """Return the weights of a large network in a few bytes: one zero, seen from everywhere."""
    with torch.device("meta"):
        state = create_model(configuration).state_dict()
    return {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in state.items()}


def convert(*words):
    return main(["convert-checkpoint", *map(str, words)])


@pytest.fixture(scope="module")
def segmentor(golden, recipe, tmp_path_factory):
    """The official tiny UPerNet as a training checkpoint, and the bundle made of it."""
    stored, state = golden_state(golden, recipe, "upernet_B_tiny")
    folder = tmp_path_factory.mktemp("segmentor")
    torch.save({"state_dict": state, "meta": {"epoch": 1}, "optimizer": {}}, folder / "upernet.pth")
    assert convert(folder / "upernet.pth", "--out", folder / "bundle", *SIZE) == 0
    return stored, state, folder


def test_the_bundle_is_the_official_segmentor(segmentor, recipe):
    stored, state, folder = segmentor
    bundle = Bundle.load(folder / "bundle")
    assert (bundle.name, bundle.task, len(bundle.classes)) == ("bundle", "segmentation", 19)
    assert [spec.name for spec in bundle.classes[:3]] == ["road", "sidewalk", "building"]
    assert bundle.provenance["weights"] == f"upernet.pth, sha256 {sha256_of(folder / 'upernet.pth')}"
    kept = load_checkpoint(bundle.file(WEIGHTS))
    assert kept.keys() == {key for key in state if not key.startswith("auxiliary_head.")}
    assert all(torch.equal(value, to_half(state[key])) for key, value in kept.items())
    model = create_model(bundle.architecture).eval()
    load_weights(model, kept)
    with torch.no_grad():
        low = model.low_logits(torch.from_numpy(recipe.array(stored, "input")))
    # Rounded to float16 once, as every bundle's weights are; exact weights give the official bits.
    np.testing.assert_allclose(low, stored["logits_low"], atol=0.02)
    load_weights(model, state)
    with torch.no_grad():
        low = model.low_logits(torch.from_numpy(recipe.array(stored, "input")))
    np.testing.assert_allclose(low, stored["logits_low"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_the_bundle_answers_like_the_network_it_was_made_of(segmentor, recipe, backend):
    stored, state, folder = segmentor
    model = create_model(recipe.config(stored))
    load_weights(model, state)
    spec = Bundle.load(folder / "bundle").input
    graph = deploy_model(model.eval(), height=64, width=96, mean=spec.mean, std=spec.std)
    frames = np.random.default_rng(2).integers(0, 256, (2, 80, 100, 3), np.uint8)
    answers = create_backend(backend, Bundle.load(folder / "bundle")).run(frames)
    with torch.inference_mode():
        ids, confidence = graph(torch.from_numpy(frames))
    assert (answers["class_ids"] == ids.numpy()).mean() > 0.99
    assert np.abs(answers["confidence"].astype(int) - confidence.numpy().astype(int)).max() <= 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("internimage_tiny_cls_T", []),
        ("internimage_tiny_cls_LXL", ["--offset-scale", "2"]),
        ("internimage_tiny_cls_H_smallclip", ["--post-norm-blocks", "1", "--attention-heads", "4"]),
    ],
)
def test_bundles_of_official_classifiers(name, words, golden, recipe, tmp_path):
    stored, state = golden_state(golden, recipe, name)
    torch.save({"model": state, "epoch": 300}, tmp_path / "c.pth")
    assert (
        convert(tmp_path / "c.pth", "--out", tmp_path / "b", "--height", "64", "--width", "64", *words) == 0
    )
    bundle = Bundle.load(tmp_path / "b")
    assert bundle.task == "classification"
    assert [spec.name for spec in bundle.classes] == [f"class_{index}" for index in range(10)]
    kept = load_checkpoint(bundle.file(WEIGHTS))
    assert kept.keys() == state.keys()
    assert all(torch.equal(value, to_half(state[key])) for key, value in kept.items())
    model = create_model(bundle.architecture).eval()
    load_weights(model, kept)
    x = torch.from_numpy(recipe.array(stored, "input"))
    with torch.no_grad():
        np.testing.assert_allclose(model(x), stored["logits"], atol=0.02)
        load_weights(model, state)
        np.testing.assert_allclose(model(x), stored["logits"], atol=1e-4, rtol=1e-4)
    frames = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3), np.uint8)
    with torch.inference_mode():
        spec = bundle.input
        graph = deploy_model(model, height=64, width=64, mean=spec.mean, std=spec.std)
        expected = graph.logits(torch.from_numpy(frames)).softmax(1).sort(descending=True)
    answers = create_backend("torch", bundle).run(frames)
    ranks = answers["probabilities"].shape[1]
    np.testing.assert_allclose(answers["probabilities"], expected.values[:, :ranks], atol=0.01)


LAYOUTS = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "lr": 0.1}, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "meta": {"mmseg_version": "0.27.0"}},
    "averaged": lambda state: {"model_ema": state, "epoch": 3},
    "module": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
    "backbone": lambda state: {"state_dict": {f"backbone.{key}": value for key, value in state.items()}},
    "hugging face": lambda state: {
        f"model.{key.replace('gamma', 'layer_scale')}": value for key, value in state.items()
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_backbone_in_every_layout(layout, suffix, tmp_path):
    state = random_state(BACKBONE)
    content = LAYOUTS[layout](state)
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(content, path)
    elif layout in ("bare", "hugging face"):
        save_checkpoint(path, content)
    else:
        return  # safetensors holds tensors alone
    out = tmp_path / "plain.safetensors"
    assert convert(path, "--out", out) == 0
    kept = load_checkpoint(out)
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[key], value) for key, value in state.items())


def test_what_is_printed(tmp_path, capsys):
    state = without_values("internimage_t_1k")
    averaged = {f"module.{key}": value for key, value in state.items()}
    torch.save({"model": state, "model_ema": averaged, "epoch": 1}, tmp_path / "t.pth")
    assert convert(tmp_path / "t.pth", "--dry-run") == 0
    said = capsys.readouterr().out
    for words in (
        "InternImage-T, classification, 1000 classes, 29.9 M parameters",
        "entry model; a moving average lies in model_ema, not taken; left alone: epoch",
        "--ema takes the moving average",
        "64 channels, blocks 4-4-18-4, groups 4-8-16-32",
        "architecture: internimage_t_1k",
        "offset_scale 1, as in all variants but L and XL",
        "class_0 to class_999",
    ):
        assert words in said
    assert convert(tmp_path / "t.pth", "--dry-run", "--ema", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["entry"] == "model_ema"
    assert found["layout"].startswith("entry model_ema (moving average); prefix module. taken off")
    assert (found["variant"], found["architecture"]) == ("T", "internimage_t_1k")
    assert found["missing"] == found["misshaped"] == found["not_placed"] == []
    assert list(tmp_path.iterdir()) == [tmp_path / "t.pth"]


@pytest.mark.parametrize("name", [name for name in model_names() if name.rpartition("_")[2] in ("h", "22k")])
def test_the_largest_are_recognised_in_an_instant(name, tmp_path, capsys):
    torch.save(without_values(name), tmp_path / "w.pth")
    assert convert(tmp_path / "w.pth", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == name


def test_cityscapes_networks_with_150_classes_keep_them(tmp_path, capsys):
    state = without_values("upernet_internimage_t")
    meta = {"CLASSES": ["road", "sky"], "PALETTE": [[1, 2, 3], [4, 5, 6]], "config": "num_classes=19"}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "w.pth")
    assert convert(tmp_path / "w.pth", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "InternImage-T, segmentation, 150 classes" in said
    assert "2 names from the weights' file; class_2 to class_149 for the others" in said
    assert convert(tmp_path / "w.pth", "--dry-run", "--classes", "cityscapes19") == 0
    assert "class_19 to class_149 for the others" in capsys.readouterr().out


def test_every_key_without_a_place_is_printed_and_left_out(segmentor, tmp_path, capsys):
    _, state, _ = segmentor
    extra = {f"strange.part{index}": torch.ones(2) for index in range(12)}
    torch.save({"state_dict": state | extra}, tmp_path / "w.pth")
    assert convert(tmp_path / "w.pth", "--out", tmp_path / "w.safetensors") == 0
    said = capsys.readouterr().out
    assert "not placed, and left out, 12 keys" in said
    assert all(f"    {key}\n" in said for key in extra)
    assert load_checkpoint(tmp_path / "w.safetensors").keys() == state.keys()


@pytest.mark.parametrize("words", [[], ["--json"], ["--dry-run"]])
def test_missing_and_misshaped_keys_are_refused(words, segmentor, tmp_path, capsys):
    _, state, _ = segmentor
    gone = [key for key in state if ".fc2." in key or ".lateral_convs.1." in key]
    kept = {key: value for key, value in state.items() if key not in gone}
    kept["backbone.patch_embed.norm2.1.bias"] = torch.zeros(5)
    torch.save(kept, tmp_path / "w.pth")
    assert convert(tmp_path / "w.pth", "--out", tmp_path / "b", *SIZE, *words) == 1
    said = capsys.readouterr()
    assert f"{len(gone)} keys of the network are missing and 1 have another shape" in said.err
    assert all(key in said.out for key in gone)
    assert "backbone.patch_embed.norm2.1.bias: (5,), model has (8,)" in said.out
    assert [item.name for item in tmp_path.iterdir()] == ["w.pth"]


def detector():
    state = {f"backbone.{key}": value for key, value in random_state(BACKBONE).items()}
    return state | {
        "neck.fpn.weight": torch.ones(1), "rpn_head.conv.weight": torch.ones(1),
        "roi_head.bbox_head.fc_cls.weight": torch.ones(9, 4), "roi_head.mask_head.conv.weight": torch.ones(1),
    }  # fmt: skip


def test_detectors_are_refused_and_give_their_backbone(tmp_path, capsys):
    torch.save({"state_dict": detector()}, tmp_path / "w.pth")
    assert convert(tmp_path / "w.pth", "--out", tmp_path / "b") == 1
    said = capsys.readouterr().err
    assert "Mask R-CNN, 8 classes" in said
    assert "--backbone-only" in said
    out = tmp_path / "backbone.safetensors"
    assert convert(tmp_path / "w.pth", "--out", out, "--backbone-only") == 0
    said = capsys.readouterr().out
    assert "left out: neck (1 key), rpn_head (1 key), roi_head (2 keys)" in said
    state = random_state(BACKBONE)
    assert load_checkpoint(out).keys() == state.keys()
    model = create_model(BACKBONE)
    load_weights(model, load_checkpoint(out))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_backbone_makes_no_bundle(tmp_path, capsys):
    torch.save(random_state(BACKBONE), tmp_path / "w.pth")
    assert convert(tmp_path / "w.pth", "--out", tmp_path / "b") == 1
    said = capsys.readouterr()
    assert "a bundle needs a head" in said.err
    assert ".safetensors" in said.err
    assert "16 channels" in said.out
    assert not (tmp_path / "b").exists()


class Configuration:
    """An object of the training code, as old checkpoints have one beside their weights."""


def test_a_file_that_runs_code_needs_trust(tmp_path, capsys):
    torch.save({"model": random_state(BACKBONE), "config": Configuration()}, tmp_path / "w.pth")
    out = tmp_path / "plain.safetensors"
    assert convert(tmp_path / "w.pth", "--out", out) == 1
    assert "--trust-pickle" in capsys.readouterr().err
    assert not out.exists()
    assert convert(tmp_path / "w.pth", "--out", out, "--trust-pickle") == 0
    assert "left alone: config" in capsys.readouterr().out


def test_files_of_no_use_are_named(tmp_path, capsys):
    torch.save({}, tmp_path / "empty.pth")
    torch.save({"conv1.weight": torch.ones(2), "fc.bias": torch.ones(2)}, tmp_path / "resnet.pth")
    torch.save(random_state(BACKBONE), tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    for name, words in {
        "empty.pth": "empty.pth holds no weights",
        "resnet.pth": "expected keys such as patch_embed.conv1.weight",
        "cut.pth": "cut.pth is no PyTorch weights file or damaged",
        "gone.pth": "no weights at",
    }.items():
        assert convert(tmp_path / name, "--dry-run") == 1
        assert words in capsys.readouterr().err


def test_some_classes_of_a_large_head(tmp_path, capsys):
    state = random_state(BACKBONE | {"num_classes": 30})
    torch.save({"model": state}, tmp_path / "w.pth")
    rows = [3, 17, 17, 0, 29]
    (tmp_path / "map.txt").write_text("\n".join(map(str, rows)) + "\n")
    out = tmp_path / "w.safetensors"
    assert convert(tmp_path / "w.pth", "--out", out, "--map", tmp_path / "map.txt") == 0
    assert "5 classes picked by --map from the file's 30, 4 different ones" in capsys.readouterr().out
    kept = load_checkpoint(out)
    assert torch.equal(kept["head.weight"], state["head.weight"][rows])
    assert torch.equal(kept["head.bias"], state["head.bias"][rows])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3\nx\n", "line 2: 'x' is no index"),
        ("3\n-1\n", "line 2: '-1' is no index"),
        ("9" * 5000, "line 1"),
        ("3\n30\n", "names class 30, but the weights have classes 0 to 29"),
        ("", "is empty"),
    ],
)
def test_wrong_maps_are_explained(text, words, tmp_path, capsys):
    torch.save(random_state(BACKBONE | {"num_classes": 30}), tmp_path / "w.pth")
    (tmp_path / "map.txt").write_text(text)
    assert convert(tmp_path / "w.pth", "--dry-run", "--map", tmp_path / "map.txt") == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "--out is missing"),
        (["--dry-run", "--height", "16"], "--height is 16"),
        (["--dry-run", "--output-size", "huge"], "--output-size is 'huge'"),
        (["--dry-run", "--offset-scale", "nan"], "--offset-scale is nan"),
        (["--dry-run", "--post-norm-blocks", "5;11"], "--post-norm-blocks is '5;11'"),
        (["--dry-run", "--post-norm-blocks", "0"], "has 0 extra norms"),
        (["--dry-run", "--attention-heads", "4"], "without such a head"),
        (["--dry-run", "--classes", "cityscapes19"], "without classes"),
        (["--dry-run", "--map", "m", "--backbone-only"], "--map picks rows of a head"),
        (["--dry-run", "--ema"], "holds no moving average"),
        (["--out", "w.pth"], "w.pth already exists"),
        (["--out", "other", "--overwrite"], "other is no model bundle"),
        (["--out", "folder.safetensors", "--overwrite"], "folder.safetensors is no file"),
    ],
)
def test_wrong_options_are_explained(words, complaint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(random_state(BACKBONE), "w.pth")
    Path("other").mkdir()
    Path("folder.safetensors").mkdir()
    assert convert("w.pth", *words) == 1
    assert complaint in capsys.readouterr().err


def test_a_bundle_is_overwritten_only_when_asked_to(segmentor, capsys):
    _, _, folder = segmentor
    words = [folder / "upernet.pth", "--out", folder / "bundle", *SIZE]
    assert convert(*words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert convert(*words, "--overwrite", "--name", "renamed", "--channel-order", "bgr", "--json") == 0
    bundle = Bundle.load(folder / "bundle")
    assert (bundle.name, bundle.input.channel_order) == ("renamed", "bgr")
    assert json.loads(capsys.readouterr().out)["written"] == str(folder / "bundle")


def test_without_torch_it_says_what_to_install():
    start = "import sys; sys.modules['torch'] = None; from internimage_perception.cli.main import main"
    code = f"{start}; sys.exit(main(['convert-checkpoint', 'w.pth', '--dry-run']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "pip install 'internimage_perception[deploy]'" in done.stderr
