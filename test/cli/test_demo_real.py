"""`demo-real`: recordings and image sets of a folder through a model, one after the other."""

import cv2
import numpy as np
import pytest

from internimage_perception.bags.reader import open_bags
from internimage_perception.cli.main import main
from internimage_perception.data.camera_bag import CameraBagWriter
from internimage_perception.data.image_sets import rig_camera
from internimage_perception.geometry import Rig


def messages(bag, topic):
    with open_bags(bag) as reader:
        return [item.message for item in reader.messages([topic])]


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
