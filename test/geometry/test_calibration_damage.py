"""Damaged and foreign files: never anything but a CalibrationError that names the file."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import load_calibration

OPENCV = """\
%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 4.1e+02, 0., 3.2e+02, 0., 4.2e+02, 2.4e+02, 0., 0., 1. ]
dist_coeffs: !!opencv-matrix {rows: 4, cols: 1, dt: d, data: [ 0.1, .2, -3.e-02, 1e-3 ]}
fisheye_model: 1
R: [1, 0, 0, 0, 1, 0, 0, 0, 1]
"""
XML = """\
<?xml version="1.0"?>
<opencv_storage>
<image_size>640 480</image_size>
<K type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>
<data>410. 0. 320. 0. 420. 240. 0. 0. 1.</data></K>
<D type_id="opencv-matrix"><rows>1</rows><cols>5</cols><dt>d</dt><data>.1 .2 0. 0. 0.</data></D>
</opencv_storage>
"""
ROS = """\
image_width: 64
image_height: 48
camera_name: a
camera_matrix: {rows: 3, cols: 3, data: [40, 0, 32, 0, 41, 24, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}
projection_matrix: {rows: 3, cols: 4, data: [40, 0, 32, 0, 0, 41, 24, 0, 0, 0, 1, 0]}
"""
KALIBR = """\
cam0: {camera_model: ds, intrinsics: [-0.2, 0.6, 160, 160, 255, 256], resolution: [512, 512]}
cam1:
  camera_model: pinhole
  distortion_model: radtan
  distortion_coeffs: [0.1, 0, 0, 0]
  intrinsics: [160, 160, 255, 256]
  resolution: [512, 512]
  rostopic: /cam1
  T_cn_cnm1: [[1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
"""
KITTI_360 = """\
%YAML:1.0
image_width: 1400
image_height: 1400
mirror_parameters: {xi: 2.2}
distortion_parameters: {k1: 0.01, k2: 1.6, p1: 0.0004, p2: 0.0004}
projection_parameters: {gamma1: 1336, gamma2: 1335, u0: 716, v0: 705}
"""
WOODSCAPE = json.dumps({
    "extrinsic": {"quaternion": [0.5, -0.5, 0.5, -0.5], "translation": [3.7, 0.0, 0.6]},
    "intrinsic": {
        "aspect_ratio": 1.0, "cx_offset": 3.9, "cy_offset": -3.1, "height": 966.0, "k1": 339.7,
        "k2": -31.9, "k3": 48.2, "k4": -7.2, "model": "radial_poly", "poly_order": 4, "width": 1280.0,
    },
    "name": "FV",
}, indent=1)  # fmt: skip
ECHO = """\
header: {frame_id: rear}
height: 96
width: 128
distortion_model: equidistant
d: [0.05, -0.01, 0.003, -0.0005]
k: [32, 0.0, 64, 0.0, 33, 48, 0.0, 0.0, 1.0]
p: [32, 0.0, 64, 0.0, 0.0, 33, 48, 0.0, 0.0, 0.0, 1.0, 0.0]
roi: {x_offset: 4, y_offset: 2, height: 90, width: 100}
---
"""
FILES = [ECHO, OPENCV, XML, ROS, KALIBR, KITTI_360, WOODSCAPE]
# What replaces a piece of a file.
JUNK = [
    b"", b"\0", b"\xff", b"-", b"[", b"]", b"{", b"}", b": ", b"\n", b"\t", b"1e999", b".nan", b"<<: ",
    b"&a ", b"*a", b"!!binary ", b"!!python/name:os.system ", b"1:2", b"2001-99-99", b"9" * 400, b"<",
    b"&b;", b'"', b"0x", b"~", b"true", b"? ", b"%", b"#", b"!!set ", b"- ",
]  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage") / "any"


@pytest.mark.parametrize("text", FILES)
def test_whole_files_load(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_calibration(file).cameras


def loads_or_complains(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    try:
        calibration = load_calibration(file)
    except CalibrationError as error:
        assert str(error).startswith(str(file))  # noqa: PT017 - most damaged files raise, some stay readable
    else:
        for camera in calibration.cameras.values():
            with contextlib.suppress(MemoryError):
                assert camera.camera.project((0.0, 0.0, 1.0))[1]


@given(st.sampled_from(FILES), st.floats(0.0, 1.0))
def test_truncated_files(file: Path, text: str, part: float) -> None:
    data = text.encode()
    loads_or_complains(file, data[: int(part * len(data))])


@given(st.sampled_from(FILES), st.floats(0.0, 1.0), st.integers(0, 12), st.sampled_from(JUNK))
def test_corrupted_files(file: Path, text: str, part: float, removed: int, junk: bytes) -> None:
    data = text.encode()
    start = int(part * len(data))
    loads_or_complains(file, data[:start] + junk + data[start + removed :])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n# nothing\n", "is empty"),
        (b"just text", "no calibration of a known format .YAML without keys"),
        (b"[1, 2]", "no calibration of a known format"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not UTF-8 text"),
        (b"\0\0\0\0", "is not valid YAML: .*not allowed"),
        (b"\x1f\x8b\x08\0", "is compressed; unpack it"),
        (b"a: " + b"[" * 100_000, "any: is nested too deeply"),
        (b"a: &a\n  <<: *a\n", "any:2: << must name a mapping"),
        (b"cam0:\n  <<: [3]\n", "any:2: << must name a mapping"),
        (b"K: " + b"9" * 400 + b"\n", "no calibration of a known format .YAML with the keys K"),
        (KALIBR.replace("255, 256]", "255, " + "9" * 400 + "]").encode(), "intrinsics: must be a finite"),
        (
            KALIBR.replace("[0.1, 0, 0, 0]", "[1.0e+10, 0, 0, 0]").encode(),
            "cam1.: distortion_coeffs: d of this",
        ),
        (b"%YAML:1.0\n---\na: [\n", "any:4: is not valid YAML"),
        (b'{"intrinsic": {"k1": 1,\n\t"k2" 2}}', "any:2: is not valid JSON"),
        (b"camera_matrix: !!opencv-matrix 3\nD: [1]\n", "known format .YAML with the keys camera_matrix, D"),
        (b"K: !!unknown [1]\nD: [0]\n", "any:1: OpenCV: K: cannot be read"),
        (b"cameras:\n  front: {image_topic: /a}\n", "is a rig file .*; use Rig.load"),
        (b"a: 1\nb: 2\n", "YAML with the keys a, b.*Known: Kalibr camera chain .*WoodScape .*OpenCV"),
    ],
)
def test_foreign_files(file: Path, data: bytes, reason: str) -> None:
    file.write_bytes(data)
    with pytest.raises(CalibrationError, match=reason) as caught:
        load_calibration(file)
    assert str(caught.value).startswith(str(file))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="missing: cannot be read: No such file"):
        load_calibration(tmp_path / "missing")
    with pytest.raises(CalibrationError, match="cannot be read: Is a directory"):
        load_calibration(str(tmp_path))
    (tmp_path / "large").write_bytes(b" " * ((16 << 20) + 1))
    with pytest.raises(CalibrationError, match="has more than 16 MiB; that is no calibration"):
        load_calibration(tmp_path / "large")
