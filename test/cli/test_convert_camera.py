"""The command convert-camera: reports, rig files to go on with, pictures, complaints."""

import dataclasses
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from internimage_perception.cli import convert_camera
from internimage_perception.cli.main import main
from internimage_perception.geometry import Rig, load_calibration

ROOT = Path(__file__).resolve().parents[2]
RIG = ROOT / "config" / "rigs" / "four_fisheye.yaml"

KALIBR = """
cam0:
  camera_model: ds
  intrinsics: [-0.2, 0.59, 190.0, 191.0, 319.0, 241.0]
  distortion_model: none
  distortion_coeffs: []
  resolution: [640, 480]
  rostopic: /left/image
cam1:
  camera_model: pinhole
  intrinsics: [190.0, 191.0, 320.0, 240.0]
  distortion_model: equidistant
  distortion_coeffs: [-0.02, 0.003, -0.002, 0.0004]
  resolution: [640, 480]
  rostopic: /right/image
  T_cn_cnm1: [[1.0, 0.0, 0.0, -0.3], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
"""


def test_a_rig_in_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, picture = tmp_path / "rig.yaml", tmp_path / "errors.png"
    words = [
        "convert-camera",
        str(RIG),
        "--to",
        "double_sphere",
        "--out",
        str(out),
        "--picture",
        str(picture),
    ]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "camera rear: equidistant to double_sphere, fitted up to 95.0 degrees" in text
    old, new = Rig.load(RIG), Rig.load(out)
    assert list(new.cameras) == list(old.cameras) and new.base_frame == old.base_frame
    for name, camera in new.cameras.items():
        before = old.cameras[name]
        assert camera.camera.model == "double_sphere"
        assert (camera.image_topic, camera.info_topic) == (before.image_topic, before.info_topic)
        np.testing.assert_allclose(camera.base_from_camera, before.base_from_camera, atol=1e-12)
        pixels = before.camera.pixel_grid()[::7, ::7]
        rays, valid = before.camera.unproject(pixels)
        distance = np.hypot(*np.moveaxis(camera.camera.project(rays)[0] - pixels, -1, 0))
        assert np.nanmax(distance[valid]) < 0.5
    image = cv2.imread(str(picture))
    assert image.shape == (4 * 480, 640, 3) and len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_a_calibration_becomes_a_rig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "camchain.yaml", tmp_path / "rig.yaml"
    path.write_text(KALIBR)
    assert main(["convert-camera", str(path), "--to", "equidistant", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "conversion" and list(report["cameras"]) == ["cam0", "cam1"]
    assert report["cameras"]["cam1"]["worst_px"] < 1e-4 < report["cameras"]["cam0"]["worst_px"] < 0.5
    assert len(report["cameras"]["cam0"]["ring_deg"]) == len(report["cameras"]["cam0"]["ring_worst_px"])
    rig = Rig.load(out)
    assert rig.base_frame == "cam0"
    assert rig.cameras["cam1"].image_topic == "/right/image"
    np.testing.assert_allclose(rig.cameras["cam1"].base_from_camera[:3, 3], (0.3, 0.0, 0.0), atol=1e-12)


def test_without_a_model_the_lenses_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fitted: the numbers are the file's, narrowed where asked for."""
    monkeypatch.setattr(convert_camera, "convert_camera", lambda *_, **__: pytest.fail("a lens was fitted"))
    path, out = tmp_path / "camchain.yaml", tmp_path / "rig.yaml"
    path.write_text(KALIBR)
    assert main(["convert-camera", str(path), "--out", str(out)]) == 0
    assert "camera cam0: double_sphere, up to" in capsys.readouterr().out
    lenses = {name: item.camera for name, item in load_calibration(path).cameras.items()}
    assert {name: item.camera for name, item in Rig.load(out).cameras.items()} == lenses
    words = ["--camera", "cam1", "--theta-max-deg", "95", "--out", str(out), "--json"]
    assert main(["convert-camera", str(path), *words]) == 0
    (report,) = json.loads(capsys.readouterr().out)["cameras"].values()
    assert report["theta_max_deg"] == 95.0 and "rms_px" not in report
    (camera,) = Rig.load(out).cameras.values()
    assert camera.camera == dataclasses.replace(lenses["cam1"], theta_max=math.radians(95.0))
    assert report["to"] == camera.camera.to_dict() != report["from"] == lenses["cam1"].to_dict()


def test_cameras_without_a_lens_stay_in_the_rig(tmp_path: Path) -> None:
    path, out = tmp_path / "rig.yaml", tmp_path / "out.yaml"
    lens = "{model: ucm, xi: 1, width: 64, height: 48, fx: 30, fy: 30, cx: 31.5, cy: 23.5}"
    path.write_text(
        f"cameras: {{a: {{image_topic: /a, info_topic: /i}}, b: {{image_topic: /b, camera: {lens}}}}}"
    )
    assert main(["convert-camera", str(path), "--to", "equidistant", "--out", str(out)]) == 0
    cameras = Rig.load(out).cameras
    assert (cameras["a"].info_topic, cameras["a"].camera) == ("/i", None)
    assert cameras["b"].camera.model == "equidistant"


def test_a_narrow_fit_says_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert-camera", str(RIG), "--to", "pinhole", "--camera", "left", "--theta-max-deg", "45"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "fitted up to 45.0 degrees" in text and "the new camera sees nothing" in text
    assert "model: pinhole" in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([str(RIG), "--to", "fish"], "unknown camera model"),
        ([str(RIG), "--to", "mei", "--camera", "top"], "there are front, left, rear, right"),
        ([str(ROOT / "no_such.yaml"), "--to", "mei"], "no_such.yaml"),
        ([str(ROOT / "setup.py"), "--to", "mei"], "setup.py"),
        ([str(RIG), "--to", "mei", "--source-size", "640"], "--source-size"),
        ([str(RIG), "--picture", "p.png"], "name the new one by --to"),
        ([str(RIG), "--theta-max-deg", "-3"], "camera 'front': theta_max"),
    ],
)
def test_complaints(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert-camera", *words]) == 1
    assert reason in capsys.readouterr().err


@pytest.mark.shared
def test_a_file_that_leaves_the_model_open(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(shared_data / "fisheye" / "neozhaoliang_surround" / "front.yaml")
    assert main(["convert-camera", path, "--to", "mei"]) == 1
    assert "fisheye" in capsys.readouterr().err
    out = tmp_path / "rig.yaml"
    assert main(["convert-camera", path, "--to", "mei", "--source-model", "fisheye", "--out", str(out)]) == 0
    camera = Rig.load(out).cameras["front"].camera
    assert camera.model == "mei" and math.degrees(camera.theta_max) > 95.0
