"""Rig files: every notation, and errors that name file, line, camera and key."""

import re
from pathlib import Path

import numpy as np
import pytest

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import KannalaBrandtCamera, Rig
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL, rpy_to_matrix

LENS = "{model: equidistant, width: 320, height: 240, fx: 70, fy: 71, cx: 158, cy: 121.5, d: [0.02, 0, 0, 0]}"
COMPLETE = f"""\
base_frame: base_link
cameras:
  front:
    image_topic: /front/image_raw
    camera: {LENS}
    base_from_camera:
      translation: [3.6, 0.0, 0.7]
      rpy_deg: [0, 20, 0]
      optical: false
  rear:
    image_topic: /rear/image_raw
"""


def load(folder: Path, text: str) -> Rig:
    (folder / "rig.yaml").write_text(text, encoding="utf-8")
    return Rig.load(folder / "rig.yaml")


def test_names_and_topics_are_enough(tmp_path: Path) -> None:
    rig = load(tmp_path, "cameras:\n  front:\n    image_topic: front/image_raw\n")
    assert rig.base_frame == "base_link"
    front = rig.cameras["front"]
    assert front.image_topic == "front/image_raw"
    assert (front.frame_id, front.info_topic) == ("", "")
    assert front.camera is None
    assert front.base_from_camera is None
    assert front.ego_mask is None


def test_body_pose_looks_where_its_x_axis_points(tmp_path: Path) -> None:
    front = load(tmp_path, COMPLETE).cameras["front"]
    axis = front.base_from_camera[:3, 2]
    np.testing.assert_allclose(axis, (np.cos(np.radians(20)), 0.0, -np.sin(np.radians(20))), atol=1e-12)
    np.testing.assert_allclose(front.base_from_camera[:3, 3], (3.6, 0.0, 0.7))
    np.testing.assert_allclose(front.base_from_camera[:3, 0], (0, -1, 0), atol=1e-12)


def test_all_notations_of_one_pose_agree(tmp_path: Path) -> None:
    optical = rpy_to_matrix(0, np.radians(20), 0) @ BODY_FROM_OPTICAL[:3, :3]
    rows = np.eye(4)
    rows[:3, :3], rows[:3, 3] = optical, (3.6, 0.0, 0.7)
    # Half angle 10 degrees about y.
    body = [0.0, np.sin(np.radians(10)), 0.0, np.cos(np.radians(10))]
    notations = [
        f"{{translation: [3.6, 0, 0.7], rotation: {[float(value) for value in body]}, optical: false}}",
        f"{{matrix: {rows.tolist()}}}",
        f"{{matrix: {rows.ravel().tolist()}, optical: true}}",
        "{translation: [3.6, 0, 0.7], rpy_deg: [-110, 0, -90]}",
    ]
    for notation in notations:
        text = f"cameras:\n  a:\n    image_topic: /a\n    base_from_camera: {notation}\n"
        np.testing.assert_allclose(load(tmp_path, text).cameras["a"].base_from_camera, rows, atol=1e-12)


def test_field_of_view_in_the_lens_or_for_later(tmp_path: Path) -> None:
    text = COMPLETE.replace("d: [0.02", "theta_max_deg: 95, d: [0.02") + "    theta_max_deg: 100\n"
    rig = load(tmp_path, text)
    assert np.degrees(rig.cameras["front"].camera.theta_max) == pytest.approx(95)
    assert np.degrees(rig.cameras["rear"].theta_max) == pytest.approx(100)


def test_merge_keys_share_a_lens(tmp_path: Path) -> None:
    text = (
        f"cameras:\n  front:\n    image_topic: /f\n    camera: &lens {LENS}\n"
        "  rear:\n    image_topic: /r\n    camera: {<<: *lens, cx: 160}\n"
    )
    rig = load(tmp_path, text)
    assert isinstance(rig.cameras["front"].camera, KannalaBrandtCamera)
    assert rig.cameras["front"].camera.cx == 158.0
    assert rig.cameras["rear"].camera.cx == 160.0
    assert rig.cameras["rear"].camera.fx == 70.0


def test_aliases_lead_to_one_mapping_many_times(tmp_path: Path) -> None:
    """A mapping that replaces merged keys is no mapping with keys twice, however often it is read."""
    text = (
        f"cameras:\n  front: &front\n    image_topic: /f\n    camera: &lens {LENS}\n"
        "  left: &left\n    <<: *front\n    image_topic: /l\n    camera: &wide {<<: *lens, cx: 160}\n"
        "  rear: {<<: [{image_topic: /r}, *left, *front]}\n"
        "  right: {<<: *left, image_topic: /x, camera: {<<: *wide, cx: 161, fx: 71}}\n"
        "  top: {image_topic: /t, camera: *wide}\n"
    )
    cameras = load(tmp_path, text).cameras
    assert [camera.image_topic for camera in cameras.values()] == ["/f", "/l", "/r", "/x", "/t"]
    assert [camera.camera.cx for camera in cameras.values()] == [158.0, 160.0, 160.0, 161.0, 160.0]
    assert [camera.camera.fx for camera in cameras.values()] == [70.0, 70.0, 70.0, 71.0, 70.0]
    with pytest.raises(CalibrationError, match=r"8: camera 'left': camera\.cx: appears twice"):
        load(tmp_path, text.replace("cx: 160}", "cx: 160, cx: 160}"))


def test_numbers_that_yaml_reads_as_text(tmp_path: Path) -> None:
    rig = load(tmp_path, COMPLETE.replace("fx: 70", "fx: 7e1").replace("[0.02, 0", "[2e-2, 0"))
    assert rig.cameras["front"].camera.fx == 70.0
    assert rig.cameras["front"].camera.d[0] == 0.02


def test_polygons_and_image_add_up(tmp_path: Path) -> None:
    polygons = "[[[0, 200], [319, 200], [319, 239], [0, 239]], [[-50, -50], [20, -50], [-50, 20]]]"
    rig = load(tmp_path, COMPLETE.replace("  rear:", f"    ego_polygons: {polygons}\n  rear:"))
    mask = rig.cameras["front"].ego_mask
    assert mask.shape == (240, 320)
    assert mask[200:].all()
    assert not mask[:199].any()
    single = load(
        tmp_path, COMPLETE.replace("  rear:", "    ego_polygons: [[[3, 2], [3, 8], [9, 8], [9, 2]]]\n  rear:")
    )
    assert single.cameras["front"].ego_mask.sum() == 49


POSE = "      translation: [3.6, 0.0, 0.7]\n      rpy_deg: [0, 20, 0]\n"
SKEWED = "      matrix: [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]\n"
REAR = "    image_topic: /rear"
# What is replaced in COMPLETE, by what, and the place (line, camera, key) and words of the error.
PROBLEMS = {
    "unknown top key": ("base_frame", "bse_frame", "1: bse_frame", "unknown key (did you mean 'base_frame'"),
    "unknown key": ("image_topic: /f", "topic: /f", "4: front: topic", "unknown key"),
    "no topic": (REAR, "    frame_id: /rear", "11: rear: image_topic", "this key is missing"),
    "empty entry": (f"{REAR}/image_raw\n", "", "10: rear", "must be a mapping"),
    "duplicate name": ("  rear:", "  front:", "10: cameras.front", "appears twice"),
    "duplicate topic": ("/rear", "/front", "11: rear: image_topic", "is already the image_topic of"),
    "bad name": ("  rear:", "  rear cam:", "11: rear cam", "name it with letters"),
    "lens key": ("fx: 70,", "focal: 70,", "5: front: camera.focal", "unknown key"),
    "lens key missing": ("fx: 70,", "", "5: front: camera.fx", "the key 'fx'"),
    "lens value": ("fx: 70,", "fx: -70,", "5: front: camera.fx", "must be greater than 0"),
    "lens text": ("fx: 70,", "fx: wide,", "5: front: camera.fx", "must be a number, not 'wide'"),
    "lens bool": ("fx: 70,", "fx: true,", "5: front: camera.fx", "must be a finite number"),
    "lens infinite": ("fx: 70,", "fx: .inf,", "5: front: camera.fx", "must be a finite number"),
    "lens overflowing": ("fx: 70,", f"fx: 1{'0' * 400},", "5: front: camera.fx", "must be a finite number"),
    "lens nothing": ("fx: 70,", "fx: ,", "5: front: camera.fx", "must be a finite number, not None"),
    "lens model": ("equidistant", "equidistent", "5: front: camera.model", "did you mean 'equidistant'"),
    "lens coefficients": ("0.02, 0, 0, 0", "0.02, 0", "5: front: camera.d", "must be the 4 numbers"),
    "lens nested": ("0.02, 0, 0, 0", "[0.02], 0, 0, 0", "5: front: camera.d", "must be a finite number"),
    "unsafe tag": ("fx: 70,", "fx: !!python/name:os.system x,", "5: front: camera.fx", "cannot be read"),
    "no rotation": ("      rpy_deg: [0, 20, 0]\n", "", "7: front: base_from_camera", "give exactly one"),
    "two rotations": (
        "optical: false", "rotation: [0, 0, 0, 1]", "8: front: base_from_camera.rpy_deg", "give exactly one"
    ),
    "no translation": (
        "      translation: [3.6, 0.0, 0.7]\n", "", "7: front: base_from_camera.translation", "is missing"
    ),
    "bad quaternion": (
        "rpy_deg: [0, 20, 0]", "rotation: [0, 0, 0, 2]",
        "8: front: base_from_camera.rotation", "has length 2; it must be 1",
    ),
    "angles": ("[0, 20, 0]", "[0, 20]", "8: front: base_from_camera.rpy_deg", "a list of 3 numbers"),
    "not a rotation": (POSE, SKEWED, "7: front: base_from_camera.matrix", "is not a rotation"),
    "matrix shape": (
        POSE, "      matrix: [[1, 0], [0, 1]]\n", "7: front: base_from_camera.matrix", "must be 4 rows"
    ),
    "matrix and translation": (
        "      rpy_deg: [0, 20, 0]\n", SKEWED, "7: front: base_from_camera.translation", "already contains"
    ),
    "optical": (
        "optical: false", "optical: maybe", "9: front: base_from_camera.optical", "must be true"
    ),
    "field of view beside a lens": (
        "    base_from_camera:", "    theta_max_deg: 90\n    base_from_camera:",
        "6: front: theta_max_deg", "is for a calibration from info_topic",
    ),
    "field of view": (REAR, f"    theta_max_deg: -1\n{REAR}", "11: rear: theta_max_deg", "greater than 0"),
    "no mask": (REAR, f"    ego_mask: nowhere.png\n{REAR}", "11: rear: ego_mask", "cannot read"),
    "mask is no image": (REAR, f"    ego_mask: rig.yaml\n{REAR}", "11: rear: ego_mask", "is not an image"),
    "polygons without size": (
        REAR, f"    ego_polygons: []\n{REAR}", "11: rear: ego_polygons", "needs the camera block"
    ),
    "polygon": (
        "    base_from_camera:", "    ego_polygons: [[[1, 2], [3, 4]]]\n    base_from_camera:",
        "6: front: ego_polygons", "must be a list of polygons",
    ),
    "ragged polygon": (
        "    base_from_camera:", "    ego_polygons: [[[1, 2], [3, 4], [5]]]\n    base_from_camera:",
        "6: front: ego_polygons", "must be a list of polygons",
    ),
    "far polygon": (
        "    base_from_camera:", "    ego_polygons: [[[1, 2], [3, 4], [5, 9e9]]]\n    base_from_camera:",
        "6: front: ego_polygons", "pixels away",
    ),
}  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_problems_name_file_line_camera_and_key(tmp_path: Path, problem: str) -> None:
    old, new, place, words = PROBLEMS[problem]
    assert old in COMPLETE
    place = re.sub(r"(?<= )(front|rear.*?):", r"camera '\1':", f"{place}:")[:-1]
    start, end = (re.escape(text) for text in (f"{tmp_path / 'rig.yaml'}:{place}: ", words))
    with pytest.raises(CalibrationError, match=f"^{start}.*{end}"):
        load(tmp_path, COMPLETE.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("- front\n", "must be a mapping"),
        ("cameras: {}\n", "name at least one camera"),
        ("base_frame: base_link\n", "cameras: this key is missing"),
        ("cameras: [front]\n", "cameras: must be a mapping"),
        ("cameras: &a\n  <<: *a\n", "1: cameras: << must name a mapping"),
        ("cameras:\n  front:\n    <<: 3\n", "3: camera 'front': << must name a mapping"),
        ("a: &a {x: 1}\ncameras:\n  <<: [*a, no]\n", "1: a: unknown key"),
        ("cameras: [\n", "2: is not valid YAML"),
    ],
)
def test_files_that_are_no_rig(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=re.escape(message)):
        load(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read: No such file"):
        Rig.load(tmp_path / "absent.yaml")
    with pytest.raises(CalibrationError, match="cannot be read: Is a directory"):
        Rig.load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"cameras: \xe9\xe9\n")
    with pytest.raises(CalibrationError, match="is not UTF-8"):
        Rig.load(tmp_path / "latin.yaml")


def test_mask_of_another_size_names_its_line(tmp_path: Path) -> None:
    from_lens = load(
        tmp_path, COMPLETE.replace("  rear:", "    ego_polygons: [[[0, 0], [9, 0], [9, 9]]]\n  rear:")
    )
    from_lens.save(tmp_path / "saved.yaml")
    text = (tmp_path / "saved.yaml").read_text().replace("width: 320", "width: 300")
    (tmp_path / "saved.yaml").write_text(text)
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "ego_mask" in row)
    with pytest.raises(
        CalibrationError, match=f"saved.yaml:{line}: camera 'front': ego_mask: is 320 x 240 pixels"
    ):
        Rig.load(tmp_path / "saved.yaml")
