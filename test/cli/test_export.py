"""`internimage-perception export`: options, the frames it reads, and one export from beginning to end."""

import argparse

import cv2
import numpy as np
import pytest
from support.bags import write_bag
from support.exports import SEGMENTOR, bundle_of, pictures

from internimage_perception.cli import export
from internimage_perception.cli.export_frames import held_out, hold_out, read_frames, street_frames
from internimage_perception.cli.main import main
from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_of(tmp_path_factory.mktemp("bundle") / "model", SEGMENTOR)


def options(bundle, *words):
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    return parser.parse_args([str(bundle.root), "--out", "out", *words])


@pytest.mark.parametrize(
    ("words", "ranges"),
    [
        ((), [(1, 1, 1), (64, 64, 64), (96, 96, 96)]),
        (
            ("--height", "480", "--width", "640", "--batch", "4"),
            [(4, 4, 4), (480, 480, 480), (640, 640, 640)],
        ),
        (("--dynamic",), [(1, 1, 8), (32, 64, 192), (48, 96, 288)]),
        (("--dynamic", "--height", "960", "--batch", "12"), [(1, 12, 12), (480, 960, 2880), (48, 96, 288)]),
        (("--dynamic", "--height", "10000"), [(1, 1, 8), (5000, 10000, 16384), (48, 96, 288)]),
        (("--height", "540:960:1080"), [(1, 1, 1), (540, 960, 1080), (96, 96, 96)]),
        (("--dynamic", "--width", "20:30:30"), [(1, 1, 8), (32, 64, 192), (20, 30, 30)]),
    ],
)
def test_sizes(bundle, words, ranges):
    spec = export._spec(options(bundle, *words), bundle)
    assert [spec.batch, spec.height, spec.width] == ranges
    assert spec.precision == "fp32"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--height", "tall"), "--height is 'tall'; write a number"),
        (("--height", "1:2"), "LEAST:USUAL:MOST"),
        (("--width", "0"), "from 1 to 16384"),
        (("--width", "3:2:1"), "none falling"),
        (("--batch", "5000"), "from 1 to 4096"),
        (("--precision", "int8"), "add --calibrate"),
        (("--frames", "1"), "--frames is 1"),
    ],
)
def test_what_is_wrong_is_said_at_once(bundle, tmp_path, capsys, words, complaint):
    assert main(["export", str(bundle.root), "--out", str(tmp_path / "out"), *words]) == 1
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_frames_of_a_bag_are_spread_over_it_and_all_cameras(tmp_path):
    bag = write_bag(tmp_path / "bag", frames=10)
    everything = read_frames(bag, 100, (48, 64), "rgb")
    assert len(everything) == 20
    few = read_frames(bag, 4, (48, 64), "rgb")
    places = [next(k for k, item in enumerate(everything) if np.array_equal(item, frame)) for frame in few]
    assert places == [0, 6, 13, 19]
    turned = read_frames(bag, 4, (48, 64), "bgr")
    assert np.array_equal(turned[0], few[0][..., ::-1])
    assert read_frames(bag, 2, (24, 100), "rgb")[0].shape == (24, 100, 3)


def test_frames_of_a_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    images = pictures(3, 30, 40)
    for name, image in zip(("a.png", "deep/b.PNG", "c.png"), images, strict=True):
        cv2.imwrite(str(tmp_path / name), image[..., ::-1])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    found = read_frames(tmp_path, 10, (30, 40), "rgb")
    assert len(found) == 3
    assert all(any(np.array_equal(image, item) for item in found) for image in images)


def test_sources_without_frames_are_refused(tmp_path):
    with pytest.raises(PerceptionError, match="nothing"):
        read_frames(tmp_path / "nothing", 4, (48, 64), "rgb")
    with pytest.raises(ConfigError, match=r"holds neither a bag nor pictures \(\.png, "):
        read_frames(tmp_path, 4, (48, 64), "rgb")
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="holds 1 frames"):
        read_frames(tmp_path, 4, (48, 64), "rgb")


def test_a_recordings_truth_is_not_taken_for_frames(tmp_path):
    """What `scene` writes: the bag, and beside it masks and depth as pictures."""
    bag = write_bag(tmp_path / "drive" / "bag", frames=3)
    (tmp_path / "drive" / "truth").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / "drive" / "truth" / name), np.zeros((8, 8), np.uint8))
    with pytest.raises(ConfigError, match=f"name which to read, for example {bag}"):
        read_frames(tmp_path / "drive", 4, (48, 64), "rgb")
    (tmp_path / "drives").mkdir()
    bag.rename(tmp_path / "drives" / "bag")
    with pytest.raises(PerceptionError, match="holds some: name them"):
        read_frames(tmp_path / "drives", 4, (48, 64), "rgb")


def test_nothing_is_read_for_an_export_that_cannot_be_written(bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "read_frames", lambda *_: pytest.fail("frames are read"))
    monkeypatch.setattr(export, "street_frames", lambda *_: pytest.fail("streets are rendered"))
    words = ["export", str(bundle.root), "--calibrate", "bag", "--out"]
    (tmp_path / "there").mkdir()
    assert main([*words, str(tmp_path / "there")]) == 1
    assert (
        "there already exists; choose another folder or overwrite it (--overwrite)" in capsys.readouterr().err
    )
    assert main([*words, str(tmp_path / "there"), "--overwrite"]) == 1
    assert "there is no bundle" in capsys.readouterr().err


@pytest.mark.parametrize("count", [2, 4, 31, 32, 100])
def test_held_out_frames_lie_in_between(count):
    frames = [np.full((1, 1, 3), k % 256, np.uint8) for k in range(held_out(count))]
    calibrated, checked = hold_out(frames)
    assert count <= len(calibrated) <= count + 1
    assert checked
    assert len(calibrated) + len(checked) == len(frames)
    assert not {id(item) for item in calibrated} & {id(item) for item in checked}


def test_streets_are_of_the_size_asked_for():
    frames = street_frames((40, 60), "rgb")
    assert [frame.shape for frame in frames] == [(40, 60, 3)] * 2
    assert np.array_equal(street_frames((40, 60), "bgr")[0], frames[0][..., ::-1])


def test_from_bundle_to_answers(bundle, tmp_path, capsys):
    """A bag of other sizes calibrates; the export says what it is, and runs."""
    bag = write_bag(tmp_path / "bag", frames=4)
    out = tmp_path / "out"
    words = ["export", str(bundle.root), "--out", str(out), "--precision", "int8", "--frames", "4"]
    assert main([*words, "--calibrate", str(bag)]) == 0
    printed = capsys.readouterr().out
    assert f"{bag}: 5 frames: 4 to calibrate with, 1 to check with" in printed
    assert "int8, for 1 frames of 64 rows and 96 columns" in printed
    assert "against PyTorch on rendered streets: logits" in printed
    assert "against PyTorch on the frames given: logits" in printed
    assert main(["inspect", str(out)]) == 0
    described = capsys.readouterr().out
    assert "export  int8, for 1 frames of 64 rows and 96 columns" in described
    assert "weights inside the graphs" in described
    assert "plugin.onnx" in described
    answer = create_backend("onnxruntime", Bundle.load(out)).run(np.stack(pictures(3, 64, 96)))
    assert answer["class_ids"].shape == (3, 64, 96)
    assert main([*words, "--calibrate", str(bag)]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["export", str(out), "--out", str(tmp_path / "again")]) == 1
    assert "take the bundle it was exported from" in capsys.readouterr().err
    (out / "notes.txt").write_text("mine")
    assert main([*words, "--calibrate", str(bag), "--overwrite"]) == 1
    assert "notes.txt" in capsys.readouterr().err
