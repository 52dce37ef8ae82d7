"""The demonstrations: generated street and real data, through the command."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from internimage_perception.bags.reader import open_bags
from internimage_perception.cli import demo
from internimage_perception.cli.main import main
from internimage_perception.cli.outputs import claim_folder
from internimage_perception.data.camera_bag import CameraBagWriter
from internimage_perception.data.image_sets import rig_camera
from internimage_perception.errors import PerceptionError
from internimage_perception.geometry import Rig
from internimage_perception.inference.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = ("front", "left", "rear", "right")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder and output of one small demonstration."""
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "internimage_perception.cli.main", "demo", "--out", str(out), "--small"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return out, done.stdout


def messages(bag, topic):
    with open_bags(bag) as reader:
        return [item.message for item in reader.messages([topic])]


def test_the_first_line_is_honest_and_the_last_say_where_to_look(small):
    out, said = small
    lines = said.splitlines()
    assert lines[0].startswith("The model's weights are random")
    assert lines[-2:] == [f"report: {out / 'replay' / 'report.html'}", f"pictures: {out / 'strip.jpg'}"]
    assert (out / "replay" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_every_image_becomes_a_mask(small):
    out, _ = small
    report = json.loads((out / "replay" / "report.json").read_text(encoding="utf-8"))
    assert (report["frames_in"], report["frames_out"]) == (16, 16)
    assert report["complete"] is True
    assert report["warnings"] == []
    assert report["backend"].startswith("onnxruntime")
    assert Bundle.load(out / "model").provenance["weights"].startswith("random, seed 0")


def test_masks_are_cut_to_the_lens_and_have_many_classes(small):
    out, _ = small
    rig = Rig.load(out / "rig" / "rig.yaml")
    seen = set()
    for name in CAMERAS:
        for message in messages(out / "replay" / "bag", f"/perception/segmentation/{name}/mask"):
            mask = message.data.reshape(message.height, message.width)
            blind = ~rig.visible_mask(name, message.width, message.height)
            np.testing.assert_array_equal(mask == 255, blind)
            seen |= set(np.unique(mask[~blind]).tolist())
            assert message.header.frame_id == f"camera_{name}_optical"
    # A random network, yet no picture of one colour: whoever looks can judge where masks lie.
    assert len(seen) >= 8
    assert seen <= set(range(13))


def test_overlays_are_the_image_half_way_to_the_class_colour(small):
    out, _ = small
    classes = Bundle.load(out / "model").classes
    colors = np.zeros((256, 3))
    for spec in classes:
        colors[spec.id] = spec.color
    name = "left"
    overlay = messages(out / "replay" / "bag", f"/perception/segmentation/{name}/overlay/compressed")[1]
    mask = messages(out / "replay" / "bag", f"/perception/segmentation/{name}/mask")[1]
    image = next(
        item
        for item in messages(out / "scene", f"/camera/{name}/image_raw")
        if item.header.stamp == overlay.header.stamp
    )
    rgb = image.data.reshape(image.height, image.width, 3)[..., ::-1].astype(float)
    ids = cv2.resize(
        mask.data.reshape(mask.height, mask.width),
        (image.width, image.height),
        interpolation=cv2.INTER_NEAREST,
    )
    painted = cv2.imdecode(overlay.data, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    # JPEG smears colours across edges; on the whole they agree, and not with channels swapped.
    assert np.abs(painted - (rgb + colors[ids]) / 2).mean() < 6
    assert np.abs(painted[..., ::-1] - (rgb + colors[ids]) / 2).mean() > 15


def test_the_strip_shows_each_camera_beside_its_overlay(small):
    out, _ = small
    strip = cv2.imread(str(out / "strip.jpg")).astype(int)
    rows = np.array_split(strip, 4)
    for row in rows:
        left, right = row[:480, :640], row[:480, 646:1286]
        assert np.abs(left - right).mean() > 10
        # The same picture: its structure goes through the paint.
        correlation = np.corrcoef(left.mean(axis=-1).ravel(), right.mean(axis=-1).ravel())[0, 1]
        assert correlation > 0.7


def test_a_second_run_replaces_the_first(small, tmp_path, monkeypatch, capsys):
    first, _ = small
    out = tmp_path / "out"
    shutil.copytree(first, out)
    (out / "mine.txt").write_text("keep me")

    def same_model(folder: Path, seed: int) -> Bundle:
        assert not folder.exists()
        assert seed == 5
        shutil.copytree(first / "model", folder)
        return Bundle.load(folder)

    monkeypatch.setattr(demo, "make_demo_bundle", same_model)
    assert main(["demo", "--out", str(out), "--frames", "2", "--size", "96x64", "--seed", "5"]) == 0
    assert "2 images of 96x64" in capsys.readouterr().out
    assert json.loads((out / "replay" / "report.json").read_text(encoding="utf-8"))["frames_out"] == 8
    assert (out / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--size", "640"], "--size is '640'; write WIDTHxHEIGHT"),
        (["--size", "16x9"], "each from 32 to 2048"),
        (["--frames", "0"], "--frames is 0"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_options_that_cannot_work_are_named(words, complaint, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "out"), *words]) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["demo", "demo-real"])
def test_without_torch_it_says_what_to_install(command, tmp_path):
    words = [command, "--out", str(tmp_path / "out")]
    if command == "demo-real":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "x.mcap").write_bytes(b"")
        words.append(str(tmp_path / "data"))
    start = "import sys; sys.modules['torch'] = None; from internimage_perception.cli.main import main"
    code = f"{start}; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "torch is missing" in done.stderr
    assert "pip install 'internimage_perception[deploy]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_others_made_is_left_alone(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").write_text("1")
    with pytest.raises(PerceptionError, match="holds model, which demo did not make"):
        claim_folder(tmp_path, "demo", ("scene", "model"))
    assert (tmp_path / "model" / "precious").exists()
    with pytest.raises(PerceptionError, match="is a file"):
        claim_folder(tmp_path / "model" / "precious", "demo", ("scene",))


def test_links_are_removed_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("1")
    out = tmp_path / "out"
    claim_folder(out, "demo", ("model",))
    (out / "model").symlink_to(elsewhere)
    claim_folder(out, "demo", ("model",))
    assert not (out / "model").is_symlink()
    assert (elsewhere / "kept").exists()


# --- demo-real ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder of data: an image set, a bag of two cameras, and something broken."""
    root = tmp_path / "data"
    for number in (0, 30, 60):
        path = root / "camvid_seq" / f"Seq_f{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((24, 32, 3), number + 50, np.uint8))
    rig = Rig({name: rig_camera(name) for name in ("front", "rear")})
    picture = cv2.imencode(".png", np.full((24, 32, 3), 180, np.uint8))[1].tobytes()
    with CameraBagWriter(root / "drive", rig) as bag:
        for index in range(2):
            for name in rig.cameras:
                bag.write(name, picture, 10**9 * (index + 1), 10**9 * (index + 1) + 10**6)
    return root


def test_every_set_is_replayed_and_listed(folder, brightness_bundle, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["demo-real", str(folder), "--out", str(out), "--model", str(brightness_bundle)]
    for _ in range(2):
        assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    lines = said[len(said) // 2 :]
    assert lines[0].startswith("Model brightness: weights from none")
    assert lines[1].startswith(
        "ok      camvid_seq: 3 masks from 3 images; warning: camera front: no CameraInfo"
    )
    assert lines[2].startswith("ok      drive: 4 masks from 4 images")
    assert lines[3] == f"2 of 2 sets replayed; reports: {out / 'index.html'}"
    page = (out / "index.html").read_text(encoding="utf-8")
    for name in ("camvid_seq", "drive"):
        assert f'href="sets/{name}/replay/report.html"' in page
        assert (out / "sets" / name / "replay" / "report.html").is_file()
        assert cv2.imread(str(out / "sets" / name / "strip.jpg")) is not None
    masks = messages(out / "sets" / "camvid_seq" / "replay" / "bag", "/perception/segmentation/front/mask")
    assert [int(mask.data[0]) for mask in masks] == [50 // 20, 80 // 20, 110 // 20]


def test_a_failure_is_told_and_the_rest_goes_on(folder, brightness_bundle, tmp_path, capsys):
    (folder / "broken.mcap").write_bytes(b"not a bag")
    (folder / "kitti_000008").mkdir()
    out = tmp_path / "out"
    assert main(["demo-real", str(folder), "--out", str(out), "--model", str(brightness_bundle)]) == 1
    said = capsys.readouterr().out
    assert "FAILED  broken_mcap: " in said
    assert "FAILED  kitti_000008: " in said
    assert "2 of 4 sets replayed" in said
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count('class="failed"') == 2
    assert "broken_mcap" in page


def test_images_that_cannot_be_decoded_fail_their_set(brightness_bundle, tmp_path, capsys):
    with CameraBagWriter(tmp_path / "data" / "drive", Rig({"front": rig_camera("front")})) as bag:
        bag.write("front", b"\xff\xd8\xff\xe0 cut off", 10**9, 10**9)
    out = tmp_path / "out"
    words = ["demo-real", str(tmp_path / "data"), "--out", str(out), "--model", str(brightness_bundle)]
    assert main(words) == 1
    assert "FAILED  drive: " in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_named(tmp_path, brightness_bundle, capsys):
    words = ["demo-real", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert main([*words, "--model", str(brightness_bundle)]) == 1
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.shared
def test_all_real_data_goes_through(shared_data, brightness_bundle, tmp_path, capsys):
    words = ["demo-real", str(shared_data), "--out", str(tmp_path), "--model", str(brightness_bundle)]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("14 of 14 sets replayed")
    counts = {line.split()[1].rstrip(":"): line.split(": ", 1)[1].split(";")[0] for line in lines[1:-1]}
    assert counts["nuscenes_frame"] == "6 masks from 6 images"
    assert counts["camvid_seq"] == "10 masks from 10 images"
    assert counts["fisheye_jeyp4_rover_surround"] == "4 masks from 4 images"
