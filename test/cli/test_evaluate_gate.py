"""The evaluation's gate, and what the evaluation refuses."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.bags import expected_mask
from support.evaluation import CAMERAS, Bench, pixels, stamp, write_truth

from internimage_perception.cli.classes import read_classes
from internimage_perception.cli.main import main
from internimage_perception.evaluation.gate import Gate
from internimage_perception.geometry import Rig, RigCamera
from internimage_perception.inference.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(tmp_path: Path, brightness_bundle: Path) -> Bench:
    return Bench(tmp_path, brightness_bundle)


GATES = {
    "means": ("miou: 1\nmiou12: 1.0\nmiou13: 1\naccuracy: 1\n", 0),
    "classes": ("per_class: {LEVEL_3: 0.99, level_12: 1}\n", 0),
    "cameras": ("per_camera: {front: 1, left: {miou12: 1, per_class: {level_0: 1}}}\n", 0),
    "frames": ("scored_frames: 8\nlatency_ms: {p95: 60000}\n", 0),
    "latency": ("latency_ms: {p50: 0.000001}\n", 3),
    "too few frames": ("scored_frames: 9\n", 3),
    "not measured": ("per_ring: {0-15: 0.1}\n", 3),
    "one of many": ("miou13: 1\nper_ring: {90+: {miou12: 0}}\n", 3),
}


@pytest.mark.parametrize("name", GATES)
def test_gate_decides_the_exit_code(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    text, code = GATES[name]
    assert main(bench.words("--gate", bench.gate(text))) == code
    report = bench.report()
    assert report["gate"]["passed"] is (code == 0)
    said = capsys.readouterr().out
    assert ("thresholds met" if code == 0 else "thresholds missed") in said
    if name == "one of many":
        assert "1 of 2 thresholds missed" in said
        assert "per_ring.90+.miou12" in said and "not measured" in said


def test_gate_fails_on_a_score_just_below(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def corrupt(ids: np.ndarray, camera: str, index: int) -> np.ndarray:
        if (camera, index) == ("front", 0):
            ids[0, 0] = (ids[0, 0] + 1) % 13
        return ids

    write_truth(bench.truth, corrupt)
    assert main(bench.words("--gate", bench.gate("miou13: 1\nper_camera: {left: 1.0}"))) == 3
    report = bench.report()
    (missed,) = [item for item in report["gate"]["checks"] if not item["passed"]]
    assert missed["name"] == "miou13" and 0.99 < missed["value"] < 1 and missed["at_least"] == 1
    assert "1 of 2 thresholds missed" in capsys.readouterr().out
    assert "gate.yaml: failed" in (bench.out / "evaluation.html").read_text()


def test_the_gate_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text()
    (tmp_path / "gate.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    names = [spec.name for spec in read_classes(ROOT / "config" / "classes.yaml")]
    gate = Gate.load(tmp_path / "gate.yaml", names)
    assert {limit.name: (limit.limit, limit.at_most) for limit in gate.limits} == {
        "miou13": (0.70, False),
        "per_class.Road": (0.90, False),
        "per_ring.75-90.miou": (0.50, False),
        "per_ring.90+.miou12": (0.40, False),
        "per_ring.90+.per_class.Road": (0.60, False),
        "per_camera.front.miou13": (0.72, False),
        "per_camera.front.per_ring.0-15.miou": (0.75, False),
        "latency_ms.p95": (80, True),
        "frames.scored": (100, False),
    }


def label(bench: Bench) -> Path:
    return bench.truth / "classes" / "left" / f"{stamp('left', 2)}.png"


def damaged(bench: Bench, content: np.ndarray) -> list[str]:
    """Replace one truth file; return the command line."""
    cv2.imwrite(str(label(bench)), content)
    return bench.words()


def unknown_id(bench: Bench, ids: np.ndarray) -> list[str]:
    ids[5, 9] = 13
    return damaged(bench, ids)


def empty_file(bench: Bench, _: np.ndarray) -> list[str]:
    label(bench).write_bytes(b"")
    return bench.words()


def no_folder(bench: Bench, _: np.ndarray) -> list[str]:
    shutil.rmtree(bench.truth)
    return bench.words()


def other_stamps(bench: Bench, _: np.ndarray) -> list[str]:
    for path in sorted(bench.truth.rglob("*.png")):
        path.rename(path.with_name(f"{int(path.stem) + 1}.png"))
    return bench.words()


def other_cameras(bench: Bench, _: np.ndarray) -> list[str]:
    (bench.truth / "classes" / "front").rename(bench.truth / "classes" / "Front")
    shutil.rmtree(bench.truth / "classes" / "left")
    return bench.words()


def nothing_labelled(bench: Bench, _: np.ndarray) -> list[str]:
    write_truth(bench.truth, lambda ids, *_: np.full_like(ids, 255))
    return bench.words()


def foreign_output(bench: Bench, _: np.ndarray) -> list[str]:
    bench.out.mkdir()
    (bench.out / "evaluation.json").write_text("{}")
    return bench.words()


def another_model(bench: Bench, _: np.ndarray) -> list[str]:
    copy = bench.folder / "copy"
    shutil.copytree(bench.bundle, copy)
    manifest = (copy / "model.yaml").read_text()
    (copy / "model.yaml").write_text(manifest.replace("name: brightness", "name: other"))
    assert main(["replay", str(bench.bag), "--model", str(copy), "--out", str(bench.folder / "r")]) == 0
    return bench.words("--replayed", str(bench.folder / "r"))


def another_rig(bench: Bench, _: np.ndarray) -> list[str]:
    assert main(["replay", *bench.words()[1:]]) == 0
    cameras = {name: RigCamera(name=name, image_topic=f"/cam/{name}/image_raw") for name in CAMERAS}
    Rig(cameras).save(bench.folder / "rig.yaml")
    return bench.words("--replayed", str(bench.out), "--rig", str(bench.folder / "rig.yaml"))


def too_few_classes(bench: Bench, _: np.ndarray) -> list[str]:
    copy = bench.folder / "copy"
    shutil.copytree(bench.bundle, copy)
    bundle = Bundle.load(copy)
    dataclasses.replace(bundle, classes=bundle.classes[:12]).write_manifest()
    bench.bundle = copy
    write_truth(bench.truth, lambda ids, *_: np.minimum(ids, 11))
    return bench.words()


REFUSED: dict[str, tuple[Callable[[Bench, np.ndarray], list[str]], list[str]]] = {
    "unknown id": (unknown_id, ["{label}", "id 13", "row 5, column 9", "0 to 12"]),
    "wrong size": (lambda bench, ids: damaged(bench, ids[:47]), ["{label}", "64x47", "64x48"]),
    "colours": (
        lambda bench, ids: damaged(bench, np.dstack([ids] * 3)),
        ["{label}", "3 channel(s) of uint8"],
    ),
    "16 bits": (lambda bench, ids: damaged(bench, ids.astype(np.uint16)), ["{label}", "uint16"]),
    "damaged file": (empty_file, ["{label}", "damaged"]),
    "no folder": (no_folder, ["{bag}/truth/classes", "{truth}/classes", "--truth"]),
    "given folder is wrong": (
        lambda bench, _: bench.words("--truth", str(bench.bag)),
        ["{bag}/classes", "CAMERA/STAMP_NS.png"],
    ),
    "other stamps": (other_stamps, ["no mask has truth", "{truth}/classes", "front (4)", "nanoseconds"]),
    "other cameras": (other_cameras, ["masks are of front, left", "truth is of Front (4)", "--topics"]),
    "nothing labelled": (nothing_labelled, ["8 image(s) have truth, but no pixel", "255"]),
    "out holds other things": (foreign_output, ["which evaluate did not make"]),
    "replay of another model": (another_model, ["another model"]),
    "replay with another rig": (another_rig, ["{folder}/out", "another rig", "--rig"]),
    "too few classes": (too_few_classes, ["mask of front", "id 12", "0 to 11"]),
    "replay that is none": (
        lambda bench, _: bench.words("--replayed", str(bench.truth)),
        ["{truth}", "holds no replay"],
    ),
    "negative worst": (lambda bench, _: bench.words("--worst", "-1"), ["--worst"]),
    "too many threads": (
        lambda bench, _: bench.words("--threads", "100000"),
        ["--threads is 100000", "0 to 256"],
    ),
    "missing gate": (lambda bench, _: bench.words("--gate", "no.yaml"), ["no.yaml", "cannot be read"]),
}

REFUSED_GATES = {
    "unknown key": ("miuo13: 0.7\n", ["gate.yaml:1", "miuo13", "did you mean 'miou13'"]),
    "unknown class": ("per_class: {Dragon: 0.7}\n", ["per_class.Dragon", "level_12"]),
    "unknown ring": ("per_ring: {0-90: 0.7}\n", ["per_ring.0-90", "75-90"]),
    "unknown camera": ("per_camera: {roof: 0.7}\n", ["roof", "front, left"]),
    "unknown inner key": ("per_camera: {left: {iou: 0.7}}\n", ["per_camera.left.iou", "unknown key"]),
    "percent": ("miou13: 70\n", ["miou13", "from 0 to 1", "70"]),
    "no number": ("miou13: high\n", ["miou13", "must be a number"]),
    "twice": ("miou13: 0.7\nmiou13: 0.1\n", ["gate.yaml:2", "appears twice"]),
    "empty gate": ("{}\n", ["gate.yaml", "no threshold"]),
    "unknown time": ("latency_ms: {p95_ms: 3}\n", ["latency_ms.p95_ms", "p95"]),
    "no frames": ("scored_frames: 0\n", ["scored_frames", "greater than 0"]),
}


def check_refusal(
    words: list[str], expected: list[str], bench: Bench, said: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    text = said.readouterr().err
    for word in expected:
        assert word.format(label=label(bench), bag=bench.bag, truth=bench.truth, folder=bench.folder) in text
    assert "Traceback" not in text
    assert not (bench.out / "evaluation.html").exists()


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_says_what_and_where(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    make, expected = REFUSED[name]
    check_refusal(make(bench, expected_mask(pixels("left", 2))), expected, bench, capsys)


@pytest.mark.parametrize("name", REFUSED_GATES)
def test_bad_gate_says_what_and_where(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    text, expected = REFUSED_GATES[name]
    check_refusal(bench.words("--gate", bench.gate(text)), expected, bench, capsys)
