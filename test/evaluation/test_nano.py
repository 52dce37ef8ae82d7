"""What the shipped model sees: held-out streets, through lenses inside and outside the training ranges."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the street needs the extra `sim`")
pytest.importorskip("onnxruntime", reason="the model runs in ONNX Runtime")

from internimage_perception.cli.main import main
from internimage_perception.evaluation.confusion import ConfusionMatrix
from internimage_perception.inference.bundle import Bundle, sha256_of
from internimage_perception.resources import share_path, shipped_bundles
from internimage_perception.training.config_file import load_training

ROOT = Path(__file__).resolve().parents[2]
# What the model is for: see docs/models.md for what it scores.
LIMIT13, LIMIT12 = 0.70, 0.65
SEEDS = (700, 701, 702)
FRAMES = 6


def sights(rig, folder):
    """Record held-out streets through a rig, evaluate each, and return all their pixels together."""
    total = ConfusionMatrix(13)
    for seed in SEEDS:
        out = folder / f"street_{seed}"
        # Far apart in time, so that few images show much.
        words = ["scene", "--rig", str(rig), "--frames", str(FRAMES), "--rate", "0.4", "--seed", str(seed)]
        assert main([*words, "--split", "test", "--workers", "2", "--out", str(out)]) == 0
        words = ["evaluate", str(out / "bag"), "--model", "nano", "--rig", str(out / "rig.yaml")]
        assert main([*words, "--out", str(out / "scores")]) == 0
        found = json.loads((out / "scores" / "evaluation.json").read_text())
        total += ConfusionMatrix(13, np.array(found["confusion"]))
    return total


@pytest.mark.parametrize(
    "rig",
    [share_path("config/rigs/four_fisheye.yaml"), *sorted((ROOT / "test/rigs").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_sees_held_out_streets_through_any_lens(rig, tmp_path):
    found = sights(rig, tmp_path)
    assert found.miou(range(13)) >= LIMIT13, found.iou()
    assert found.miou(range(12)) >= LIMIT12, found.iou()


def test_bundle_is_small_and_says_where_it_comes_from():
    folder = shipped_bundles()["nano"]
    bundle = Bundle.load("nano")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 4_000_000
    assert len(bundle.classes) == 13
    config = ROOT / str(bundle.provenance["config"])
    assert bundle.provenance["config_sha256"] == sha256_of(config)
    assert bundle.provenance["seed"] == load_training(config).seed
    assert (ROOT / "config/training/nano.csv").is_file()


def test_sight_of_real_pictures_is_kept(shared_data, monkeypatch):
    """Within two points of what was measured, either way: nobody loses it, or gains it, unnoticed."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location("real_sight", ROOT / "bench" / "real_sight.py")
    real_sight = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real_sight)
    pinned = json.loads((ROOT / "bench/results/real_sight.json").read_text())
    eyes = real_sight.Eyes(Bundle.load("nano"), "onnxruntime", None)
    camvid = real_sight.camvid(eyes, shared_data / "camvid_seq")
    assert camvid["miou11"] == pytest.approx(pinned["camvid"]["miou11"], abs=0.02)
    roads = real_sight.opencalib(eyes, shared_data / "fisheye" / "opencalib_surround")
    assert roads["road_iou"] == pytest.approx(pinned["opencalib"]["road_iou"], abs=0.02)
