"""The evaluation of bags from end to end: exact scores, reports, what is counted and named."""

import base64
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.bags import camera_info, compressed, expected_mask
from support.evaluation import CAMERAS, FRAMES, SCHEMA, Bench, pixels, stamp, write_truth
from support.json_schema import violations

from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.cli.main import main
from internimage_perception.geometry import KannalaBrandtCamera, Rig, RigCamera

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(tmp_path: Path, brightness_bundle: Path) -> Bench:
    return Bench(tmp_path, brightness_bundle)


def reference(pairs: list[tuple[np.ndarray, np.ndarray]], num_classes: int = 13) -> dict[str, float | None]:
    """Return IoU per class by sets of pixels, as slowly as the definition reads."""
    found: dict[str, float | None] = {}
    for index in range(num_classes):
        both = sum(int(((t == index) & (a == index)).sum()) for t, a in pairs)
        either = sum(int((((t == index) | (a == index)) & (t != 255)).sum()) for t, a in pairs)
        found[f"level_{index}"] = both / either if either else None
    return found


def check_means(score: Mapping, ious: Mapping[str, float | None]) -> None:
    known = [value for value in ious.values() if value is not None]
    twelve = [ious[f"level_{index}"] for index in range(12) if ious[f"level_{index}"] is not None]
    assert score["per_class"] == pytest.approx(ious)
    assert score["miou13"] == score["miou"] == pytest.approx(np.mean(known))
    assert score["miou12"] == pytest.approx(np.mean(twelve))


def test_truth_equal_to_the_masks_scores_one(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    report = bench.run()
    assert report["miou"] == report["miou12"] == report["miou13"] == report["accuracy"] == 1.0
    total = len(CAMERAS) * FRAMES * 48 * 64
    assert report["pixels"] == {"scored": total, "unscored": 0, "ignored": 0, "unanswered": 0}
    assert report["frames"]["scored"] == report["frames"]["masks"] == len(CAMERAS) * FRAMES
    assert report["complete"] is True and report["model"] == "brightness" and report["gate"] is None
    assert report["truth"] == [str(bench.truth)]
    assert report["per_camera"]["left"]["resolutions"] == {
        "image": ["64x48"], "mask": ["64x48"], "truth": ["64x48"]
    }  # fmt: skip
    # No lens is known, so there is no viewing angle: that is said, not guessed.
    assert report["per_camera"]["left"]["per_ring"] is None
    assert all(ring["scored_pixels"] == 0 and ring["miou"] is None for ring in report["per_ring"].values())
    said = capsys.readouterr()
    assert "miou13 1.0000, miou12 1.0000 over 8 of 8 masks" in said.out
    assert "no CameraInfo" in said.err


def test_wrong_pixels_count_exactly(bench: Bench) -> None:
    def corrupt(ids: np.ndarray, camera: str, _: int) -> np.ndarray:
        if camera == "front":
            # A quarter of the image gets the next class (12 stays 12, and so does not count as changed).
            ids[:24, :32] = np.minimum(ids[:24, :32] + 1, 12)
        ids[40:, :] = 255
        return ids

    write_truth(bench.truth, corrupt)
    report = bench.run()
    pairs = {
        camera: [
            (corrupt(expected_mask(pixels(camera, i)).copy(), camera, i), expected_mask(pixels(camera, i)))
            for i in range(FRAMES)
        ]
        for camera in CAMERAS
    }
    both = pairs["front"] + pairs["left"]
    check_means(report, reference(both))
    check_means(report["per_camera"]["front"], reference(pairs["front"]))
    assert report["per_camera"]["left"]["miou13"] == 1.0
    right = sum(int(((t == a) & (t != 255)).sum()) for t, a in both)
    labelled = sum(int((t != 255).sum()) for t, _ in both)
    assert report["accuracy"] == pytest.approx(right / labelled)
    assert report["pixels"]["ignored"] == 8 * 8 * 64 and report["pixels"]["scored"] == labelled
    matrix = np.array(report["confusion"])
    assert matrix.shape == (13, 14) and matrix.sum() == labelled and np.trace(matrix) == right
    # The frames of the camera with wrong truth are the worst.
    worst = report["frames"]["worst"]
    assert [item["camera"] for item in worst] == ["front"] * 4 + ["left"] * 4
    assert [item["miou"] for item in worst] == sorted(item["miou"] for item in worst)
    truth, mask = pairs["front"][FRAMES - 1]
    last = next(item for item in worst if item["stamp_ns"] == stamp("front", FRAMES - 1))
    alone = [value for value in reference([(truth, mask)]).values() if value is not None]
    assert last["miou"] == pytest.approx(np.mean(alone))


def test_rings_and_pixels_outside_the_lens(bench: Bench) -> None:
    focal = 20.0
    lens = KannalaBrandtCamera(width=64, height=48, fx=focal, fy=focal, cx=31.5, cy=23.5, theta_max=1.4)
    ego = np.zeros((48, 64), np.bool_)
    ego[44:] = True
    rig = {
        n: RigCamera(name=n, image_topic=f"/cam/{n}/image_raw", camera=lens, ego_mask=ego) for n in CAMERAS
    }
    Rig(rig).save(bench.folder / "rig.yaml")
    y, x = np.mgrid[:48, :64]
    theta = np.hypot(x - 31.5, y - 23.5) / focal
    seen = (theta <= 1.4) & ~ego
    outer = (theta >= np.radians(60)) & (theta < np.radians(75))

    def corrupt(ids: np.ndarray, camera: str, index: int) -> np.ndarray:
        del camera, index
        ids[outer] = (ids[outer] + 1) % 13
        return ids

    write_truth(bench.truth, corrupt)
    report = bench.run("--rig", str(bench.folder / "rig.yaml"))
    images = len(CAMERAS) * FRAMES
    assert report["pixels"] == {
        "scored": images * int(seen.sum()), "unscored": images * int((~seen).sum()), "ignored": 0,
        "unanswered": 0,
    }  # fmt: skip
    for name, ring in report["per_ring"].items():
        low, _, high = name.rstrip("+").partition("-")
        inside = seen & (theta >= np.radians(float(low))) & (theta < np.radians(float(high or 180)))
        assert ring["scored_pixels"] == images * int(inside.sum())
        wrong = name == "60-75"
        assert ring["accuracy"] == ((0.0 if wrong else 1.0) if inside.any() else None)
    assert report["per_ring"]["90+"]["miou13"] is None
    assert report["per_camera"]["front"]["per_ring"]["60-75"]["miou13"] == 0.0


def test_masks_are_compared_at_the_size_of_the_truth(bench: Bench) -> None:
    def enlarge(ids: np.ndarray, camera: str, index: int) -> np.ndarray:
        del camera, index
        return ids.repeat(3, axis=0).repeat(3, axis=1)

    write_truth(bench.truth, enlarge)
    report = bench.run()
    assert report["miou13"] == 1.0
    assert report["pixels"]["scored"] == 8 * 9 * 48 * 64
    assert report["per_camera"]["front"]["resolutions"]["truth"] == ["192x144"]


def test_frames_without_truth_are_counted_and_named(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (1, 3):
        (bench.truth / "classes" / "left" / f"{stamp('left', index)}.png").unlink()
    other = bench.truth / "classes" / "front" / "17.png"
    cv2.imwrite(str(other), np.zeros((48, 64), np.uint8))
    cv2.imwrite(str(other.with_name("readme.png")), np.zeros((48, 64), np.uint8))
    shutil.copytree(other.parent, bench.truth / "classes" / "roof")
    report = bench.run()
    assert (report["frames"]["masks"], report["frames"]["scored"]) == (8, 6)
    missing = {"count": 2, "stamps_ns": {"left": [stamp("left", 1), stamp("left", 3)]}}
    assert report["frames"]["without_truth"] == missing
    assert report["frames"]["truth_without_mask"] == {"count": 1, "stamps_ns": {"front": [17]}}
    said = capsys.readouterr().err
    for words in (
        "2 mask(s) have no truth",
        "2 of left",
        "1 labelled image(s) have no mask",
        "roof",
        "readme.png",
    ):
        assert words in said
    assert any("2 of left" in line for line in report["warnings"])


def test_page_shows_numbers_and_worst_images(bench: Bench) -> None:
    def corrupt(ids: np.ndarray, camera: str, index: int) -> np.ndarray:
        return np.full_like(ids, 12) if (camera, index) == ("left", 2) else ids

    write_truth(bench.truth, corrupt)
    bench.run("--worst", "3", "--gate", bench.gate("miou13: 0.1\n"))
    page = (bench.out / "evaluation.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert page.count("<svg") == 1  # the rings need a lens
    assert "level_12 called level_12" in page and "gate.yaml: passed" in page
    assert page.index("<figcaption>left") < page.index("<figcaption>front")
    for tag in ("table", "svg", "figure", "div"):
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>")


def test_picture_shows_image_truth_and_mask(bench: Bench) -> None:
    write_truth(bench.truth, lambda ids, *_: np.full_like(ids, 255 if ids[0, 0] == 99 else 7))
    bench.run("--worst", "1")
    page = (bench.out / "evaluation.html").read_text()
    data = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert picture.shape == (315, 3 * 420 + 8, 3)
    np.testing.assert_allclose(picture[150, 424 + 210], (140, 115, 40), atol=6)


def test_the_same_again_and_an_earlier_replay(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    first = bench.run()
    assert bench.run() == first
    assert "nothing to do" in capsys.readouterr().err
    replay = bench.folder / "replay"
    words = ["replay", str(bench.bag), "--model", str(bench.bundle), "--out", str(replay), "--rate-hz", "5"]
    assert main(words) == 0
    report = bench.run("--replayed", str(replay))
    assert report["miou13"] == 1.0 and report["replay"] == str(replay)
    assert report["frames"]["scored"] < 8 and report["frames"]["truth_without_mask"]["count"] > 0


def test_truth_folder_may_be_given_or_lie_inside_the_bag(bench: Bench) -> None:
    moved = bench.truth.rename(bench.folder / "labels")
    assert main(bench.words()) == 1
    assert bench.run("--truth", str(moved))["truth"] == [str(moved)]
    inside = moved.rename(bench.bag / "truth")
    bench.out = bench.folder / "again"
    assert bench.run()["truth"] == [str(inside)]


def test_compressed_images_and_lenses_of_camera_info(bench: Bench) -> None:
    bag = bench.folder / "png"
    with SegmentedBagWriter(bag) as writer:
        writer.add_topic("/cam/left/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
        writer.add_topic("/cam/left/camera_info", "sensor_msgs/msg/CameraInfo")
        for index in range(FRAMES):
            when = stamp("left", index)
            _, data = cv2.imencode(".png", pixels("left", index)[..., ::-1])
            writer.write("/cam/left/camera_info", camera_info(64, 48, 15.0, when), when)
            writer.write("/cam/left/image_raw/compressed", compressed(data.tobytes(), when), when + 1)
    bench.bag = bag
    report = bench.run()
    assert report["miou13"] == 1.0 and list(report["per_camera"]) == ["left"]
    y, x = np.mgrid[:48, :64]
    inner = np.hypot(x - 31.5, y - 23.5) < 15 * np.pi / 12
    assert report["per_ring"]["0-15"]["scored_pixels"] == FRAMES * int(inner.sum())
    assert any(
        "truth of cameras that the replay lacks is left out: front" in line for line in report["warnings"]
    )
    assert (bench.out / "evaluation.html").read_text().count("<figure>") == FRAMES


def test_needs_neither_torch_nor_plotting_libraries(bench: Bench) -> None:
    code = (
        "import sys\nfrom internimage_perception.cli.main import main\n"
        f"assert main({bench.words()!r}) == 0\n"
        "print([name for name in ('torch', 'matplotlib', 'jinja2', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_schema_test_can_fail() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert any("miou13" in line for line in violations({}, schema))
    assert violations({"miou13": 1.5}, schema) and violations({"miou13": math.inf}, schema)
