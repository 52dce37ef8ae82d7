"""Replays of images that the model does not take, and of backends that cannot start."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.bags import PERIOD, T0, expected_mask, image, scene, write_bag
from support.sized_bundles import fixed_export

from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.replay import Replay, ReplayOptions
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.cli.main import main
from internimage_perception.errors import BackendError, BagError
from internimage_perception.inference.bundle import Bundle

CAMERAS = ("front", "left", "rear", "right")


def write_mixed(path: Path, frames: int = 4) -> Path:
    """Write four cameras of 64x48, of which `left` turns to 32x24 in the second round."""
    with SegmentedBagWriter(path) as writer:
        for camera in CAMERAS:
            writer.add_topic(f"/cam/{camera}/image_raw", "sensor_msgs/msg/Image")
        for index in range(frames):
            for k, camera in enumerate(CAMERAS):
                size = (24, 32) if camera == "left" and index else (48, 64)
                stamp = T0 + index * PERIOD
                message = image(scene(10 * index + k, *size), stamp, camera)
                writer.write(f"/cam/{camera}/image_raw", message, stamp + k)
    return path


@pytest.mark.parametrize("backend", ["onnxruntime-cpu", "null"])
def test_images_of_another_size_are_their_cameras_errors(
    tmp_path: Path, brightness_bundle: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    bundle = fixed_export(brightness_bundle, tmp_path / "fixed")
    bag, out = write_mixed(tmp_path / "in"), tmp_path / "out"
    words = ["replay", str(bag), "--model", str(bundle), "--out", str(out), "--backend", backend]
    assert main(words) == 0
    assert "3 image(s) could not be used: left: images of 32x24 pixels" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert report["complete"] is True and report["sets"] == 4
    (reason,) = report["errors"]
    assert report["errors"][reason] == 3
    assert "which takes 64x48; export the bundle anew with --height 24 --width 32" in reason
    counts = {name: (item["frames_out"], item["dropped"]) for name, item in report["cameras"].items()}
    for camera, (masks, dropped) in counts.items():
        assert (masks, dropped["undecodable"]) == ((1, 3) if camera == "left" else (4, 0))
    if backend == "null":
        return
    with open_bags(out / "bag") as reader:
        rear = list(reader.messages(["/perception/segmentation/rear/mask"]))
    for index, item in enumerate(rear):
        mask = item.message.data.reshape(item.message.height, item.message.width)
        np.testing.assert_array_equal(mask, expected_mask(scene(10 * index + 2)))


def test_cameras_calibrated_for_another_size_are_named(tmp_path: Path, brightness_bundle: Path) -> None:
    bundle = fixed_export(brightness_bundle, tmp_path / "fixed", height=24, width=32)
    bag = write_bag(tmp_path / "in", cameras=("front",), frames=1, focal=30.0)
    options = ReplayOptions(bags=[bag], bundle=bundle, out=tmp_path / "out", backend="null")
    report = Replay(options).run()
    (warning,) = report["warnings"]
    assert "which takes 32x24: front (64x48);" in warning
    assert report["frames_out"] == 0


@pytest.fixture
def no_backend(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let no backend start; returns the names that were asked for."""
    asked: list[str] = []

    def refuse(name: str, _: Bundle, **__: object) -> None:
        asked.append(name)
        raise BackendError("there is no GPU here")

    monkeypatch.setattr("internimage_perception.bags.replay.create_backend", refuse)
    return asked


def test_a_backend_that_cannot_start_leaves_nothing_behind(
    tmp_path: Path, brightness_bundle: Path, no_backend: list[str]
) -> None:
    bag, out = write_bag(tmp_path / "in", frames=1), tmp_path / "out"
    options = ReplayOptions(bags=[bag], bundle=brightness_bundle, out=out, backend="tensorrt")
    with pytest.raises(BackendError, match="no GPU"):
        Replay(options).run()
    assert no_backend == ["tensorrt"] and not out.exists()


def test_a_backend_that_cannot_start_costs_no_earlier_results(
    tmp_path: Path, brightness_bundle: Path, request: pytest.FixtureRequest
) -> None:
    bag, out = write_bag(tmp_path / "in", frames=1), tmp_path / "out"
    options = {"bags": [bag], "bundle": brightness_bundle, "out": out}
    Replay(ReplayOptions(**options, backend="null")).run()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    asked = request.getfixturevalue("no_backend")
    with pytest.raises(BackendError, match="no GPU"):
        Replay(ReplayOptions(**options, backend="tensorrt", overwrite=True)).run()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    # What needs no backend starts none, and what is refused is refused first.
    asked.clear()
    Replay(ReplayOptions(**options, backend="null")).run()
    with pytest.raises(BagError, match="another replay"):
        Replay(ReplayOptions(**options, backend="tensorrt")).run()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(BagError, match="other files beside a replay"):
        Replay(ReplayOptions(**options, backend="null", overwrite=True)).run()
    assert asked == []
    assert (out / "report.json").exists()
