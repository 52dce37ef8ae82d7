"""`internimage-perception bundle`: options checked first, weights only by choice."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from internimage_perception.cli.classes import read_classes
from internimage_perception.cli.main import main
from internimage_perception.errors import ConfigError
from internimage_perception.inference.bundle import WEIGHTS, Bundle, sha256_of
from internimage_perception.resources import share_path

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "kind": "upernet", "channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "head_channels": 16,
    "num_classes": 13,
}  # fmt: skip


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    path = tmp_path_factory.mktemp("architecture") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture(scope="module")
def made(architecture, tmp_path_factory):
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("bundle") / "tiny_bgr"
    words = [
        "bundle",
        "--architecture",
        str(architecture),
        "--out",
        str(out),
        "--random-weights",
        "--seed",
        "4",
    ]
    assert (
        main([*words, "--height", "64", "--width", "96", "--output-size", "32x48", "--channel-order", "bgr"])
        == 0
    )
    return out


def test_the_bundle_holds_what_was_asked_for(made):
    bundle = Bundle.load(made)
    assert bundle.name == "tiny_bgr"
    assert (bundle.input.height, bundle.input.width, bundle.input.channel_order) == (64, 96, "bgr")
    assert bundle.output.size == (32, 48)
    assert bundle.provenance["weights"] == "random, seed 4"
    assert [spec.name for spec in bundle.classes] == [
        "Road", "Sidewalk", "Construction", "Fence", "Pole", "Traffic_Light", "Traffic_sign", "Nature", "Sky",
        "Person", "Rider", "Car", "Background",
    ]  # fmt: skip


def test_weights_of_a_file_are_taken_over(made, architecture, tmp_path, capsys):
    out = tmp_path / "again"
    weights = made / WEIGHTS
    words = ["bundle", "--architecture", str(architecture), "--out", str(out), "--weights", str(weights)]
    assert main([*words, "--height", "64", "--width", "64", "--name", "mine"]) == 0
    bundle = Bundle.load(out)
    assert bundle.name == "mine"
    assert bundle.provenance["weights"] == f"{WEIGHTS}, sha256 {sha256_of(weights)}"
    assert str(out) in capsys.readouterr().out

    from safetensors.numpy import load_file  # noqa: PLC0415 - comes with torch only

    before, after = load_file(weights), load_file(out / WEIGHTS)
    assert before.keys() == after.keys()
    assert all((before[key] == after[key]).all() for key in before)


def test_an_existing_bundle_is_replaced_only_when_told(made, architecture, tmp_path, capsys):
    out = tmp_path / "there"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    words = ["bundle", "--architecture", str(architecture), "--out", str(out), "--random-weights"]
    assert main(words) == 1
    assert "already exists" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 1
    assert "is no model bundle" in capsys.readouterr().err
    for path in made.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    assert main([*words, "--overwrite"]) == 1
    assert "holds notes.txt beside a bundle" in capsys.readouterr().err
    (out / "notes.txt").unlink()
    assert main([*words, "--overwrite", "--height", "32", "--width", "32"]) == 0
    assert Bundle.load(out).input.height == 32


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--height", "16"], "--height is 16"),
        (["--width", "99999"], "--width is 99999"),
        (["--output-size", "big"], "--output-size is 'big'"),
        (["--output-size", "0x5"], "--output-size is '0x5'"),
        (["--classes", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["--architecture", "nowhere"], "no model 'nowhere'"),
    ],
)
def test_what_cannot_work_is_named(words, complaint, architecture, tmp_path, capsys):
    base = ["bundle", "--architecture", str(architecture), "--out", str(tmp_path / "out"), "--random-weights"]
    assert main([*base, *words]) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [[], ["--random-weights", "--weights", "x.pth"]])
def test_random_weights_are_a_choice(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bundle", "--architecture", "upernet_internimage_t", "--out", str(tmp_path / "out"), *words])
    assert stop.value.code == 2
    assert "--random-weights" in capsys.readouterr().err


def test_a_missing_weights_file_is_named(architecture, tmp_path, capsys):
    words = ["bundle", "--architecture", str(architecture), "--out", str(tmp_path / "out")]
    assert main([*words, "--weights", str(tmp_path / "none.pth")]) == 1
    assert f"no weights at {tmp_path / 'none.pth'}" in capsys.readouterr().err


def test_without_torch_it_says_what_to_install(tmp_path):
    words = [
        "bundle",
        "--architecture",
        "upernet_internimage_t",
        "--out",
        str(tmp_path / "o"),
        "--random-weights",
    ]
    start = "import sys; sys.modules['torch'] = None; from internimage_perception.cli.main import main"
    code = f"{start}; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "pip install 'internimage_perception[deploy]'" in done.stderr


def test_the_shipped_classes_have_colours_that_differ():
    classes = read_classes(share_path("config/classes.yaml"))
    colors = [spec.color for spec in classes]
    assert len(classes) == 13
    for index, first in enumerate(colors):
        for second in colors[:index]:
            assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 30
    assert classes[0].color == (128, 64, 128)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "holds no classes"),
        ("classes: []", "holds no classes"),
        ("classes: [{id: 1, name: a, color: [1, 2, 3]}]", r"classes\[0\] needs `id: 0`"),
        ("classes: [{id: 0, color: [1, 2, 3]}]", "needs a name"),
        ("classes: [{id: 0, name: a, color: [1, 2]}]", r"needs `color: \[r, g, b\]`"),
        ("classes: [{id: 0, name: a, color: [1, 2, 256]}]", "each from 0 to 255"),
        ("classes: [{id: 0, name: a, color: [1, 2, true]}]", "each from 0 to 255"),
        (
            "classes: [{id: 0, name: a, color: [1, 2, 3]}, {id: 1, name: a, color: [1, 2, 3]}]",
            "a appears twice",
        ),
        ("classes: [", "cannot be read"),
    ],
)
def test_wrong_lists_of_classes_are_explained(text, complaint, tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_classes(path)
