"""`internimage-perception inspect`: recognises what it is given, and says what is in it."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from internimage_perception.cli.inspect import recognize
from internimage_perception.cli.main import main
from internimage_perception.data.camera_bag import CameraBagWriter
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera, Rig, RigCamera
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL, pose, rpy_to_matrix
from internimage_perception.inference.bundle import MANIFEST, PORTABLE, WEIGHTS, Bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rig_file(tmp_path):
    ego = np.zeros((100, 200), bool)
    ego[80:] = True
    fisheye = KannalaBrandtCamera(
        width=200, height=100, fx=50.0, fy=50.0, cx=99.5, cy=49.5, theta_max=math.radians(80.0)
    )
    mounted = pose((2.0, 0.5, 1.0), rpy_to_matrix(0.1, 0.2, 0.3)) @ BODY_FROM_OPTICAL
    cameras = [
        RigCamera(name="front", image_topic="/front/image", frame_id="front_optical", camera=fisheye,
                  base_from_camera=mounted, ego_mask=ego),
        RigCamera(name="rear", image_topic="/rear/image", info_topic="/rear/camera_info"),
        RigCamera(name="far", image_topic="/far/image",
                  camera=PinholeCamera(width=200, height=100, fx=100.0, fy=50.0, cx=99.5, cy=49.5)),
    ]  # fmt: skip
    Rig({camera.name: camera for camera in cameras}).save(tmp_path / "rig.yaml")
    return tmp_path / "rig.yaml"


@pytest.fixture
def bag(rig_file):
    rig = Rig.load(rig_file)
    folder = rig_file.parent / "recorded"
    with CameraBagWriter(folder, Rig({"front": rig.camera("front")})) as writer:
        for index in range(3):
            writer.write(
                "front", np.zeros((100, 200, 3), np.uint8), 10**18 + index * 10**8, 10**18 + index * 10**8
            )
    return folder


def inspect(capsys, *words):
    code = main(["inspect", *map(str, words)])
    return code, capsys.readouterr()


def test_a_rig_says_what_its_cameras_see(rig_file, capsys):
    code, said = inspect(capsys, rig_file, "--json")
    assert code == 0
    values = json.loads(said.out)
    assert (values["kind"], values["base_frame"]) == ("rig", "base_link")
    front, rear, far = values["cameras"]
    # 80 degrees reach 69.8 px: the rows end before, at 50 px.
    assert front["field_of_view_deg"] == pytest.approx((160.0, math.degrees(100 / 50)), abs=1e-6)
    assert front["theta_max_deg"] == pytest.approx(80.0)
    radius = 50 * math.radians(80)
    columns, rows = np.meshgrid(np.arange(200) - 99.5, np.arange(100) - 49.5)
    assert front["valid_share"] == pytest.approx((np.hypot(columns, rows) <= radius).mean())
    assert front["ego_share"] == pytest.approx(0.2)
    assert front["position_m"] == pytest.approx((2.0, 0.5, 1.0))
    assert front["rpy_deg"] == pytest.approx(np.degrees((0.1, 0.2, 0.3)).tolist())
    assert (rear["model"], rear["position_m"], rear["info_topic"]) == (None, None, "/rear/camera_info")
    assert far["field_of_view_deg"] == pytest.approx((90.0, 90.0))


def test_a_rig_reads_well(rig_file, capsys):
    _, said = inspect(capsys, rig_file)
    assert "camera front: /front/image, frame front_optical" in said.out
    assert "equidistant, 200x100, sees 160.0 x 114.6 degrees, up to 80.0 off its axis" in said.out
    assert "20.0% show the vehicle itself" in said.out
    assert "at (2.000, 0.500, 1.000) m, roll, pitch, yaw (5.7, 11.5, 17.2) degrees" in said.out
    assert "lens     from /rear/camera_info" in said.out


def test_a_bag_is_described(bag, capsys):
    code, said = inspect(capsys, bag, "--json")
    values = json.loads(said.out)
    assert code == 0
    assert values["kind"] == "bag"
    assert values["message_count"] == 4
    assert [camera["topic"] for camera in values["cameras"]] == ["/front/image"]
    _, said = inspect(capsys, bag)
    assert "camera /front/image: 200x100 bgr8, 10.0 Hz" in said.out


def test_a_bundle_is_described(tiny_bundle, capsys):
    from safetensors.numpy import load_file  # noqa: PLC0415 - comes with torch only

    count = sum(value.size for value in load_file(tiny_bundle / WEIGHTS).values() if value.dtype.kind == "f")
    code, said = inspect(capsys, tiny_bundle, "--json")
    values = json.loads(said.out)
    assert code == 0
    assert (values["kind"], values["name"], values["task"]) == ("bundle", "tiny", "segmentation")
    assert values["parameters"] == {"F16": count}
    assert values["identity"] == Bundle.load(tiny_bundle).identity()
    assert {item["name"]: item["state"] for item in values["files"]} == {
        WEIGHTS: "intact",
        PORTABLE: "intact",
    }
    _, said = inspect(capsys, tiny_bundle / MANIFEST)
    assert "input   96x64, frames handed over as rgb" in said.out
    assert f"weights {count / 1e6:.2f} M parameters (F16)" in said.out
    assert "weights from random, seed 0" in said.out


def test_damaged_and_missing_files_are_told(tiny_bundle, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bundle, copy)
    (copy / PORTABLE).write_bytes((copy / PORTABLE).read_bytes()[:-1])
    (copy / WEIGHTS).unlink()
    code, said = inspect(capsys, copy)
    assert code == 1
    assert f"{PORTABLE}, {(copy / PORTABLE).stat().st_size} bytes, damaged" in said.out
    assert f"{WEIGHTS}, 0 bytes, missing" in said.out
    assert "weights unreadable" in said.out


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]", b'\x08\0\0\0\0\0\0\0{"a": 1}']
)
def test_weights_of_any_bytes_are_survived(tiny_bundle, tmp_path, content, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bundle, copy)
    (copy / WEIGHTS).write_bytes(content)
    code, said = inspect(capsys, copy, "--json")
    assert code == 1
    assert json.loads(said.out)["parameters"] == {}


def test_everything_is_recognised(rig_file, bag, tiny_bundle):
    assert recognize(rig_file)[:2] == ("rig", rig_file)
    assert recognize(bag) == recognize(bag / "metadata.yaml") == ("bag", bag, None)
    mcap = next(bag.glob("*.mcap"))
    assert recognize(mcap) == ("bag", mcap, None)
    assert recognize(tiny_bundle) == recognize(tiny_bundle / MANIFEST) == ("bundle", tiny_bundle, None)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.yaml", None, "there is no"),
        ("empty_folder/x.txt", "", "is not known"),
        ("other.yaml", "a: 1", "is no calibration of a known format"),
        ("rig.yaml", "cameras: {front: {image_topic: 5}}", "rig.yaml:1: camera 'front': image_topic"),
        ("rig.yaml", "cameras: [", "rig.yaml:1: is not valid YAML"),
        ("x.mcap", "nothing", "x.mcap is not an MCAP file"),
    ],
)
def test_what_cannot_be_shown_is_explained(tmp_path, name, content, complaint, capsys):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_text(content)
    code, said = inspect(capsys, path)
    assert code == 1
    assert complaint in said.err
    assert said.err.count("\n") == 1


def test_a_folder_of_something_else_is_explained(tmp_path, capsys):
    code, said = inspect(capsys, tmp_path)
    assert code == 1
    assert "holds neither model.yaml nor a bag" in said.err


def test_it_needs_no_torch(rig_file, bag, tiny_bundle):
    paths = [str(rig_file), str(bag), str(tiny_bundle)]
    absent = ("torch", "pydantic", "typer", "rich", "onnx", "onnxruntime", "safetensors", "scipy", "rclpy")
    code = (
        "import sys\n"
        f"for name in {absent}:\n"
        "    sys.modules[name] = None\n"
        "from internimage_perception.cli.main import main\n"
        f"sys.exit(max(main(['inspect', path]) for path in {paths}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("camera") >= 4


OPENCV = """%YAML:1.0
---
image_width: 200
image_height: 100
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 60., 0., 99.5, 0., 60., 49.5, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 4
   cols: 1
   dt: d
   data: [ 0., 0., 0., 0. ]
"""


def test_a_calibration_of_another_tool(tmp_path, capsys):
    path = tmp_path / "front.yaml"
    path.write_text(OPENCV)
    code, said = inspect(capsys, path)
    assert code == 1 and "fisheye" in said.err and "pinhole" in said.err
    code, said = inspect(capsys, path, "--source-model", "fisheye", "--json")
    values = json.loads(said.out)
    assert (code, values["kind"], values["file_format"]) == (0, "calibration", "OpenCV")
    (camera,) = values["cameras"]
    assert (camera["name"], camera["model"], camera["size"]) == ("front", "equidistant", [200, 100])
    assert camera["field_of_view_deg"][0] == pytest.approx(math.degrees(200 / 60))
    _, said = inspect(capsys, path, "--source-model", "fisheye")
    assert "OpenCV calibration of 1 camera, base frame base_link" in said.out
    path.write_text(OPENCV.replace("100\n", "-3\n"))
    code, said = inspect(capsys, path, "--source-model", "fisheye")
    assert code == 1 and "image_height" in said.err


def test_calibrations_that_group_their_cameras_are_no_rigs(tmp_path, capsys):
    lens = "{K: [60, 0, 9, 0, 60, 9, 0, 0, 1], D: [0, 0, 0, 0, 0], width: 20, height: 20}"
    path = tmp_path / "all.yaml"
    path.write_text(f"cameras:\n  front: {lens}\n  rear: {lens}\n")
    code, said = inspect(capsys, path, "--json")
    values = json.loads(said.out)
    assert (code, values["kind"], len(values["cameras"])) == (0, "calibration", 2)
    path.write_text("cameras: {front: {image_topik: /front}}")
    code, said = inspect(capsys, path)
    assert code == 1 and "did you mean 'image_topic'" in said.err


def test_files_are_parsed_once(rig_file, tmp_path, capsys, monkeypatch):
    calls = []
    compose = yaml.SafeLoader.get_single_node
    monkeypatch.setattr(yaml.SafeLoader, "get_single_node", lambda self: calls.append(1) or compose(self))
    path = tmp_path / "front.yaml"
    path.write_text(OPENCV)
    for words in ([rig_file], [path, "--source-model", "fisheye"]):
        calls.clear()
        assert inspect(capsys, *words)[0] == 0
        assert len(calls) == 1


def test_the_picture_shows_rings_masks_and_places(rig_file, tmp_path, capsys):
    path = tmp_path / "rig.png"
    assert inspect(capsys, rig_file, "--picture", path)[0] == 0
    picture = cv2.imread(str(path))
    # Two lenses side by side, the rig from above below them; the third camera has no lens.
    assert picture.shape == (240 + 4 + 240, 480 + 4 + 480, 3)
    front, layout = picture[:240, :480], picture[244:, :480]
    scale = 480 / 200
    # The lens ends 80 degrees off the axis; what lies beyond is darker, the vehicle itself reddish.
    rim = 50 * math.radians(80) * scale
    assert front[120, int(240 - rim) + 3].max() > front[120, int(240 - rim) - 3].max()
    below = front[120 + 85, 240].astype(int)
    assert below[2] > below[1] + 20
    # Rings every 15 degrees, in one colour that occurs nowhere else.
    columns = np.flatnonzero((front[121, 245:475] == (80, 160, 240)).all(axis=1)) + 245
    found = (columns.astype(float) - 239.5) / scale / 50
    np.testing.assert_allclose(
        np.unique(np.round(np.degrees(found) / 15)), np.arange(1, 6)[: len(np.unique(np.round(found / 0.26)))]
    )
    # From above, the camera half a metre left of the middle looks ahead and a little to the left.
    assert (layout == (80, 160, 240)).all(axis=2).any()
    none = tmp_path / "none.yaml"
    none.write_text("cameras: {front: {image_topic: /front}}\n")
    code, said = inspect(capsys, none, "--picture", path)
    assert code == 1 and "no camera has a lens" in said.err
