"""OpenCV's calibration files: what FileStorage writes, the spellings in use, which model is meant."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import (
    Calibration,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    load_calibration,
)
from internimage_perception.geometry.poses import rpy_to_matrix, transform

K = np.array([[401.12345678901234, 0.0, 319.1], [0.0, 402.98765432109876, 241.7], [0.0, 0.0, 1.0]])
D4 = (-0.031234567890123456, 0.0123, -0.0045, 6.7e-4)
D5 = (*D4, 1.2e-5)
SIZE = {"width": 640, "height": 480}
LENS = SIZE | {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
FISHEYE = KannalaBrandtCamera(**LENS, d=D4)
PLAIN = f"image_width: 640\nimage_height: 480\ncamera_matrix: {K.tolist()}\n"


def load(folder: Path, text: str, **options: object) -> Calibration:
    (folder / "front.yml").write_text(text, encoding="utf-8")
    return load_calibration(folder / "front.yml", **options)


def lens(folder: Path, text: str, **options: object) -> object:
    return load(folder, text, **options).camera("front").camera


@pytest.mark.parametrize("ending", ["yml", "xml", "json"])
def test_files_that_opencv_writes(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"front.{ending}"
    storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_WRITE)
    storage.write("calibration_time", "Tue Mar 10 11:12:13 2026")
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("fisheye_model", 1)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", np.array(D4).reshape(4, 1))
    storage.writeComment("a comment")
    storage.write("per_view_reprojection_errors", np.zeros((3, 1), np.float32))
    storage.release()
    # The content tells the format, not the name.
    renamed = file.rename(tmp_path / "front.txt")
    calibration = load_calibration(renamed)
    assert calibration.file_format == "OpenCV"
    assert list(calibration.cameras) == ["front"]
    front = calibration.camera("front")
    assert front.camera == FISHEYE
    assert front.image_topic == ""
    assert front.poses == {}
    with pytest.raises(CalibrationError, match="no camera 'rear'; it has front"):
        calibration.camera("rear")


@pytest.mark.parametrize("matrix", ["camera_matrix", "Camera_Matrix", "cameraMatrix", "K", "mtx", "M1"])
@pytest.mark.parametrize(
    ("coefficients", "size"),
    [
        ("dist_coeffs", "image_width: 640\nimage_height: 480"),
        ("Distortion_Coefficients", "image_Width: 640\nimage_Height: 480"),
        ("distCoeffs", "image_size: [640, 480]"),
        ("D", "imageSize: {rows: 2, cols: 1, dt: i, data: [640, 480]}"),
        ("distortion_coeffs", "width: 640\nheight: 480.0"),
    ],
)
def test_spellings(tmp_path: Path, matrix: str, coefficients: str, size: str) -> None:
    data = f"{{rows: 3, cols: 3, dt: d, data: {K.ravel().tolist()}}}"
    text = f"{matrix}: {data}\n{coefficients}: {list(D5)}\n{size}"
    calibration = load(tmp_path, text)
    name = "camera1" if matrix == "M1" else "front"
    assert calibration.camera(name).camera == PinholeCamera(**LENS, d=D5)


@pytest.mark.parametrize(
    "coefficients",
    [
        list(D4),
        [list(D4)],
        [[value] for value in D4],
        {"rows": 1, "cols": 4, "data": list(D4)},
        {"rows": 1, "cols": 1, "dt": '"4d"', "data": list(D4)},
    ],
)
def test_shapes_of_coefficients(tmp_path: Path, coefficients: object) -> None:
    written = str(coefficients).replace("'", "")
    assert lens(tmp_path, f"{PLAIN}D: {written}", model="fisheye") == FISHEYE


@pytest.mark.parametrize(
    ("said", "cls"),
    [
        ("fisheye_model: 1", KannalaBrandtCamera),
        ("fisheye_model: 0", PinholeCamera),
        ("is_fisheye: true", KannalaBrandtCamera),
        ("distortion_model: equidistant", KannalaBrandtCamera),
        ("distortion_model: plumb_bob", PinholeCamera),
        ("camera_model: Fisheye", KannalaBrandtCamera),
        ("camera_model: pinhole\ndistortion_model: equidistant", KannalaBrandtCamera),
        ("model: PINHOLE", PinholeCamera),
        ("flags: 41943040", KannalaBrandtCamera),
    ],
)
def test_what_files_say_about_four_coefficients(tmp_path: Path, said: str, cls: type) -> None:
    assert lens(tmp_path, f"{PLAIN}D: {list(D4)}\n{said}") == cls(**LENS, d=D4)


def test_four_coefficients_alone_are_ambiguous(tmp_path: Path) -> None:
    text = f"{PLAIN}D: {list(D4)}\nflags: 10\n"
    with pytest.raises(CalibrationError, match=r"front.yml:4: OpenCV: D: 4 coefficients .* give model="):
        load(tmp_path, text)
    assert lens(tmp_path, text, model="fisheye") == FISHEYE
    assert lens(tmp_path, text, model="plumb_bob") == PinholeCamera(**LENS, d=D4)


@pytest.mark.parametrize("count", [0, 5, 8, 12, 14])
def test_other_counts_are_pinholes(tmp_path: Path, count: int) -> None:
    d = [*D5, 0.3, 0.2, 0.1][:count] + [0.0] * max(0, count - 8)
    assert lens(tmp_path, f"{PLAIN}D: {d}") == PinholeCamera(**LENS, d=d[:8])


def test_omnidir(tmp_path: Path) -> None:
    text = f"{PLAIN}D: {list(D4)}\nxi: {{rows: 1, cols: 1, dt: d, data: [1.25]}}"
    assert lens(tmp_path, text) == MeiCamera(**LENS, xi=1.25, d=D4)
    assert lens(tmp_path, text.replace("{rows: 1, cols: 1, dt: d, data: [1.25]}", "1.25")) == lens(
        tmp_path, text
    )


def test_size_from_the_caller(tmp_path: Path) -> None:
    text = f"K: {K.tolist()}\nD: {list(D5)}\n"
    with pytest.raises(CalibrationError, match=r"image size .* is missing"):
        load(tmp_path, text)
    assert lens(tmp_path, text, size=(640, 480)) == PinholeCamera(**LENS, d=D5)


def test_stereo_pose_takes_the_second_camera_to_the_first(tmp_path: Path) -> None:
    rotation, shift = rpy_to_matrix(0.02, -0.1, 0.03), np.array([-0.12, 0.003, 0.01])
    text = (
        f"%YAML:1.0\nimage_size: [640, 480]\nM1: {K.tolist()}\nD1: {list(D5)}\nM2: {(K * 1).tolist()}\n"
        f"D2: {[*D4, 0.5]}\nR: {rotation.tolist()}\nT: {shift.tolist()}\n"
    )
    calibration = load(tmp_path, text)
    assert list(calibration.cameras) == ["camera1", "camera2"]
    np.testing.assert_array_equal(calibration.camera("camera1").poses["camera1"], np.eye(4))
    assert calibration.camera("camera2").camera.d == (*D4, 0.5)
    point = np.array([0.4, -0.3, 2.0])
    seen_by_second = rotation @ point + shift
    pose = calibration.camera("camera2").poses["camera1"]
    np.testing.assert_allclose(transform(pose, seen_by_second), point, atol=1e-12)


def test_left_and_right_keep_their_own_numbers(tmp_path: Path) -> None:
    other = [[300.0, 0, 320], [0, 301.0, 240], [0, 0, 1]]
    text = (
        f"K_left: {K.tolist()}\nD_left: {list(D5)}\nK_right: {other}\nD_right: {list(D4)}\n"
        "distortion_model: fisheye\nwidth_left: 640\nheight_left: 480\nwidth_right: 320\nheight_right: 240\n"
    )
    with pytest.raises(CalibrationError, match="takes 4 coefficients, but d has 5"):
        load(tmp_path, text)
    calibration = load(tmp_path, text.replace("fisheye", "plumb_bob"))
    assert calibration.camera("left").camera == PinholeCamera(**LENS, d=D5)
    assert (calibration.camera("right").camera.width, calibration.camera("right").camera.fx) == (320, 300.0)


def test_blocks_name_their_cameras(tmp_path: Path) -> None:
    block = f"{{image_size: [640, 480], K: {K.tolist()}, D: {list(D4)}, model: fisheye}}"
    text = f"cameras:\n  front: &lens {block}\n  rear: {{<<: *lens, image_size: [320, 240]}}\n"
    calibration = load(tmp_path, text)
    assert list(calibration.cameras) == ["front", "rear"]
    assert calibration.camera("front").camera == FISHEYE
    assert calibration.camera("rear").camera.width == 320
    calibration = load(tmp_path, f"left_cam:\n  ros__parameters: {block}\n")
    assert list(calibration.cameras) == ["left_cam"]
    calibration = load(tmp_path, f"one: {{lens: {block}}}\ntwo: {{lens: {block}, mount: {{K: 5}}}}\n")
    assert list(calibration.cameras) == ["one_lens", "two_lens"]
    with pytest.raises(CalibrationError, match=r"front.yml:2: OpenCV, camera 'side': K: must be 3 rows"):
        load(tmp_path, "side:\n  {K: [1], D: [0, 0, 0, 0, 0], image_size: [2, 2]}\n")


PROBLEMS = [
    (f"{PLAIN}D: [1, 2, 3]", ":4: OpenCV: D: distortion_model 'plumb_bob' takes 0 or 4 or 5 coefficients"),
    (f"{PLAIN}D: {[0.1] * 14}", ":4: OpenCV: D: distortion_model 'rational_polynomial' takes 8"),
    (f"{PLAIN}D: {list(D5)}\nfisheye_model: 1", "D: distortion_model 'equidistant' takes 4 coefficients"),
    (f"{PLAIN}D: [[1, 2], [3, 4]]", "D: must be one row or column, not 2 x 2"),
    (f"{PLAIN}D: {{rows: 5, cols: 1, data: [1, 2]}}", "D.data: has 2 numbers, but rows and cols say 5 x 1"),
    (f"{PLAIN}D: {{rows: -1, cols: 1, data: [1]}}", "D.rows: must be a whole number, not -1"),
    (f"{PLAIN}D: {{rows: 2, cols: 2, data: [1, 2, 3, 4]}}", "D: must be one row or column, not 2 x 2"),
    (f"{PLAIN}D: {{rows: 5, cols: 1}}", "D.data: this key is missing"),
    (f"{PLAIN}D: [1, 2, .nan, 4, 5]", "D: must be a finite number, not nan"),
    (f"{PLAIN}D: [1, 2, x, 4, 5]", "D: must be a number, not 'x'"),
    (f"{PLAIN}", "camera_matrix: its distortion coefficients .* are missing"),
    (f"{PLAIN}D: {list(D5)}\nK: {K.tolist()}", ":5: OpenCV: K: says the same as camera_matrix"),
    (f"{PLAIN}D: {list(D5)}\ndistortion_model: ftheta", "distortion_model: unknown model 'ftheta'; known: "),
    (f"{PLAIN}D: {list(D5)}\ncamera_model: 1", "camera_model: must be the name of a model, not 1"),
    (f"{PLAIN}D: {list(D4)}\nfisheye_model: 1\nmodel: mei", "contradict each other: equidistant and mei"),
    (f"{PLAIN}D: {list(D4)}\nmodel: mei", "camera_matrix: its xi is missing"),
    (f"{PLAIN}D: {list(D4)}\nxi: -1", "xi: xi of this mei camera is -1"),
    (f"{PLAIN}D: {list(D4)}\nxi: [1, 2]", "xi: must be one number, not 2"),
    (f"{PLAIN}D: {list(D5)}\nimage_size: [480, 640]", "image_width: contradicts image_size"),
    (f"{PLAIN}D: {list(D5)}\nimage_size: [480]", "image_size: must be width and height, not 1"),
    (f"K: {K.tolist()}\nD: {list(D5)}\nwidth: 640", "width: width and height are needed"),
    (
        f"K: {K.tolist()}\nD: {list(D5)}\nimage_size: [-640, 480]",
        "image_size: must be a whole number .* not -640",
    ),
    (
        f"K: {K.tolist()}\nD: {list(D5)}\nimage_size: [640.5, 480]",
        "image_size: must be a whole number .* not 640.5",
    ),
    (f"K: {K.T.tolist()}\nD: {list(D5)}\nimage_size: [640, 480]", "K: its last row .* transposed, as MATLAB"),
    (f"K: {(K * 2).tolist()}\nD: {list(D5)}\nimage_size: [640, 480]", "K: must be fx, 0, cx"),
    ("K: [[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]\nD: [0, 0, 0, 0, 0]\nimage_size: [2, 2]", "K: has the skew 0.5"),
    (
        "K: [[0, 0, 0], [0, 1, 0], [0, 0, 1]]\nD: [0, 0, 0, 0, 0]\nimage_size: [2, 2]",
        "K: fx .* greater than 0",
    ),
    ("K: [1, 2]\nD: [0, 0, 0, 0, 0]\nimage_size: [2, 2]", "K: must be 3 rows of 3 numbers"),
    (
        "K: {rows: 2, cols: 3, data: [1, 0, 0, 0, 1, 0]}\nD: [0]\nimage_size: [2, 2]",
        "K: must be 3 x 3, not 2 x 3",
    ),
]


@pytest.mark.parametrize(("text", "reason"), PROBLEMS)
def test_complaints_name_file_line_and_key(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CalibrationError, match=reason) as caught:
        load(tmp_path, text)
    assert caught.match(r"front\.yml:\d+: OpenCV: ")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": "pinhole"}, "fisheye_model: the file says 'equidistant', although model='pinhole'"),
        ({"size": (320, 240)}, "has 640 x 480 pixels, although size="),
        ({"model": "kb9"}, "unknown model 'kb9'; known: .*fisheye"),
    ],
)
def test_the_caller_contradicts_the_file(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    with pytest.raises(CalibrationError, match=reason):
        load(tmp_path, f"{PLAIN}D: {list(D4)}\nfisheye_model: 1", **options)


def test_a_device_named_as_model_can_be_disregarded(tmp_path: Path) -> None:
    text = f"{PLAIN}D: {list(D4)}\nmodel: D435i"
    with pytest.raises(CalibrationError, match=r"unknown model 'D435i'.*Give model="):
        load(tmp_path, text)
    assert lens(tmp_path, text, model="fisheye") == FISHEYE


XML = "<?xml version='1.0'?>\n<opencv_storage>\n{}</opencv_storage>\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<opencv_storage>\n<K>\n", r"front.yml:3: is not valid XML: no element found"),
        ("<a/>", "root element is <a>"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>\n<opencv_storage>&b;</opencv_storage>", "document type declaration"),
        (XML.format(""), "no calibration of a known format .XML without keys"),
        (XML.format("<K>1 2 3</K>"), "front.yml:3: OpenCV: K: its distortion"),
        (
            XML.format("<K>1 2 3</K>\n<D>0 0 0 0 0</D>\n<image_size>4 3</image_size>"),
            "front.yml:3: OpenCV: K: must be 3 rows",
        ),
    ],
)
def test_complaints_about_xml(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CalibrationError, match=reason):
        load(tmp_path, text)


def test_numbers_in_xml_are_decimal(tmp_path: Path) -> None:
    content = (
        '<image_size>0640 0480</image_size><name>"a b"</name><list><_>1</_><_>2</_></list><empty/>'
        f"<K>{' '.join(map(str, K.ravel()))}</K><D type_id='opencv-matrix'><rows>4</rows><cols>1</cols>"
        f"<dt>d</dt><data>{' '.join(map(str, D4))}</data></D><camera_model>fisheye</camera_model>"
    )
    assert lens(tmp_path, XML.format(content)) == FISHEYE
