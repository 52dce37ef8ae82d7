"""The replay: right answers, whole accounts, and nothing lost when it is cut short."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.bags import PERIOD, T0, compressed, expected_mask, image, scene, write_bag

from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.replay import Replay, ReplayOptions
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.cli.main import main
from internimage_perception.errors import BagError, ConfigError
from internimage_perception.geometry import KannalaBrandtCamera, Rig, RigCamera
from internimage_perception.inference.collector import CollectorConfig

PREFIX = "/perception/segmentation"


def replay(bags: list[Path], bundle: Path, out: Path, **options) -> dict:
    options.setdefault("backend", "onnxruntime")
    return Replay(ReplayOptions(bags=bags, bundle=bundle, out=out, **options)).run()


def results(out: Path, topic: str) -> list:
    with open_bags(out / "bag") as reader:
        return [(item.receive_ns, item.message) for item in reader.messages([topic])]


def masks(out: Path, camera: str) -> dict[int, np.ndarray]:
    return {
        message.header.stamp.sec * 10**9 + message.header.stamp.nanosec: message.data.reshape(
            message.height, message.width
        )
        for _, message in results(out, f"{PREFIX}/{camera}/mask")
    }


def test_masks_stamps_and_accounts(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in")
    report = replay([bag], brightness_bundle, tmp_path / "out")
    for k, camera in enumerate(("front", "left")):
        found = masks(tmp_path / "out", camera)
        assert sorted(found) == [T0 + i * PERIOD + k * 1_000_000 for i in range(6)]
        for index, mask in enumerate(found.values()):
            np.testing.assert_array_equal(mask, expected_mask(scene(100 * index + k)))
    for receive, message in results(tmp_path / "out", f"{PREFIX}/left/mask"):
        assert message.header.frame_id == "left_optical" and message.encoding == "mono8"
        assert receive - (message.header.stamp.sec * 10**9 + message.header.stamp.nanosec) == 5_000_000
    (label,) = results(tmp_path / "out", f"{PREFIX}/label_info")
    assert [item.name for item in label[1].classes] == [f"level_{i}" for i in range(13)]
    timings = [message for _, message in results(tmp_path / "out", f"{PREFIX}/timings")]
    assert [item.set_index for item in timings] == list(range(6))
    assert report["complete"] is True
    assert (report["frames_in"], report["frames_out"], report["sets"]) == (12, 12, 6)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6 and "<svg" in page


def test_overlay_shows_the_image_in_its_colours(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = tmp_path / "in"
    red = np.zeros((48, 64, 3), np.uint8)
    red[:, :32] = (250, 0, 0)
    with SegmentedBagWriter(bag) as writer:
        writer.add_topic("/cam/front/image_raw", "sensor_msgs/msg/Image")
        writer.write("/cam/front/image_raw", image(red, T0), T0)
    replay([bag], brightness_bundle, tmp_path / "out")
    ((_, message),) = results(tmp_path / "out", f"{PREFIX}/front/overlay/compressed")
    picture = cv2.cvtColor(cv2.imdecode(message.data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    # Class 4 (mean 83) is painted (80, 175, 40), class 0 (0, 255, 40); both at half strength.
    np.testing.assert_allclose(picture[24, 10], (165, 88, 20), atol=12)
    np.testing.assert_allclose(picture[24, 54], (0, 128, 20), atol=12)


def test_lens_of_camera_info_and_of_a_rig(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in", focal=5.0, frames=2)
    replay([bag], brightness_bundle, tmp_path / "info")
    y, x = np.mgrid[:48, :64]
    radius = np.hypot(x - 31.5, y - 23.5)
    mask = next(iter(masks(tmp_path / "info", "front").values()))
    assert (mask[radius > 5 * np.pi + 1] == 255).all()
    assert (mask[radius < 5 * np.pi - 1] != 255).all()
    lens = KannalaBrandtCamera(width=64, height=48, fx=8.0, fy=8.0, cx=31.5, cy=23.5, theta_max=1.2)
    cameras = {
        name: RigCamera(name=name, image_topic=f"/cam/{name}/image_raw", camera=lens) for name in ("front",)
    }
    Rig(cameras).save(tmp_path / "rig.yaml")
    replay([bag], brightness_bundle, tmp_path / "rig", rig=tmp_path / "rig.yaml")
    mask = next(iter(masks(tmp_path / "rig", "front").values()))
    assert (mask[radius > 8 * 1.2 + 1] == 255).all()
    assert (mask[radius < 8 * 1.2 - 1] != 255).all()


def test_dead_camera_bad_frames_and_compressed_ones(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = tmp_path / "in"
    _, jpeg = cv2.imencode(".jpg", scene(1))
    with SegmentedBagWriter(bag) as writer:
        writer.add_topic("/a/image_raw", "sensor_msgs/msg/Image")
        writer.add_topic("/b/image/compressed", "sensor_msgs/msg/CompressedImage")
        for index in range(8):
            stamp = T0 + index * PERIOD
            encoding = "rgb9" if index == 3 else "rgb8"
            writer.write("/a/image_raw", image(scene(index), stamp, encoding=encoding), stamp)
            if index < 4:
                data = jpeg.tobytes() if index != 2 else jpeg.tobytes()[:200]
                writer.write("/b/image/compressed", compressed(data, stamp), stamp + 1000)
    report = replay([bag], brightness_bundle, tmp_path / "out")
    a, b = report["cameras"]["a"], report["cameras"]["b"]
    assert (a["frames_in"], a["frames_out"], a["dropped"]["undecodable"]) == (8, 7, 1)
    assert (b["frames_in"], b["frames_out"], b["dropped"]["undecodable"]) == (4, 3, 1)
    assert b["missing_in_sets"] == 4
    assert any("rgb9" in reason for reason in report["errors"])
    assert sorted(masks(tmp_path / "out", "b")) == [T0 + i * PERIOD for i in (0, 1, 3)]


def test_logged_sets_are_formed_exactly(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in")
    log = tmp_path / "sets.jsonl"
    stamp = [T0 + i * PERIOD for i in range(6)]
    lines = [
        {"index": 0, "stamp_ns": stamp[0], "frames": {"front": stamp[0]}, "missing": ["left"]},
        {
            "index": 1,
            "stamp_ns": stamp[2],
            "frames": {"front": stamp[2], "left": stamp[1] + 1_000_000},
            "missing": [],
        },
        {"index": 2, "stamp_ns": stamp[5], "frames": {"left": stamp[5] + 1_000_000}, "missing": ["front"]},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"index": 3, "sta')
    report = replay([bag], brightness_bundle, tmp_path / "out", set_log=log)
    assert report["sets"] == 3
    assert sorted(masks(tmp_path / "out", "front")) == [stamp[0], stamp[2]]
    assert sorted(masks(tmp_path / "out", "left")) == [stamp[1] + 1_000_000, stamp[5] + 1_000_000]
    lines[1]["frames"]["front"] += 7
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(BagError, match="set 1 needs the image of camera front"):
        replay([bag], brightness_bundle, tmp_path / "out2", set_log=log)


def test_real_time_keeps_the_pace_and_counts_what_gave_way(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in", frames=8)
    start = time.monotonic()
    report = replay([bag], brightness_bundle, tmp_path / "out", real_time=True)
    assert 0.6 < time.monotonic() - start < 10
    for item in report["cameras"].values():
        assert item["frames_in"] == 8
        assert item["frames_out"] + item["dropped"]["overrun"] == 8


def test_fixed_rate(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in", frames=20)
    config = CollectorConfig(rate_hz=5.0)
    report = replay([bag], brightness_bundle, tmp_path / "out", collector=config)
    assert 9 <= report["sets"] <= 11
    for item in report["cameras"].values():
        assert item["frames_out"] + item["dropped"]["skipped"] == 20


RUN = "import sys; from internimage_perception.cli.main import main; sys.exit(main())"


def start_replay(
    bag: Path, bundle: Path, out: Path, interrupt: signal.Handlers = signal.SIG_DFL
) -> subprocess.Popen:
    """Start the command in a process that begins with that way of taking SIGINT, however the tests began."""
    command = [sys.executable, "-c", RUN, "replay", str(bag), "--model", str(bundle), "--out", str(out)]
    command += ["--backend", "onnxruntime", "--segment-sets", "5"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, cwd=out.parent,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),  # noqa: PLW1509 - no threads run yet
    )  # fmt: skip


def wait_for_segments(process: subprocess.Popen, out: Path, count: int) -> None:
    """Wait until so many are finished, which means listed, a moment after their files appear."""
    end = time.monotonic() + 180
    listing = out / "bag" / "metadata.yaml"
    while not listing.exists() or listing.read_text().count("path: ") < count:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="module")
def long_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("long") / "in", frames=120, size=(640, 480))


def test_kill_and_resume_equal_an_uninterrupted_run(
    tmp_path: Path, brightness_bundle: Path, long_bag: Path
) -> None:
    whole = replay([long_bag], brightness_bundle, tmp_path / "whole", segment_sets=5)
    out = tmp_path / "out"
    process = start_replay(long_bag, brightness_bundle, out)
    wait_for_segments(process, out, 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = results(out, f"{PREFIX}/timings")
    assert 15 <= len(kept) < 120 and len(kept) % 5 == 0
    assert json.loads((out / "replay.json").read_text())["complete"] is False
    resumed = start_replay(long_bag, brightness_bundle, out)
    _, said = resumed.communicate(timeout=120)
    assert resumed.returncode == 0 and f"resuming after {len(kept)} sets" in said
    report = json.loads((out / "report.json").read_text())
    assert report["complete"] is True
    assert report["cameras"] == whole["cameras"] and report["sets"] == whole["sets"] == 120
    for camera in ("front", "left"):
        one, other = masks(tmp_path / "whole", camera), masks(out, camera)
        assert list(one) == list(other)
        assert all(np.array_equal(one[stamp], other[stamp]) for stamp in one)
    assert not list(out.rglob("*.part*"))


@pytest.mark.parametrize(
    ("end", "interrupt"),
    [
        (signal.SIGINT, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
        # A job that a script runs in the background ignores SIGINT.
        (signal.SIGTERM, signal.SIG_IGN),
    ],
)
def test_ctrl_c_keeps_and_marks_what_is_finished(
    tmp_path: Path,
    brightness_bundle: Path,
    long_bag: Path,
    end: signal.Signals,
    interrupt: signal.Handlers,
) -> None:
    out = tmp_path / "out"
    process = start_replay(long_bag, brightness_bundle, out, interrupt)
    wait_for_segments(process, out, 2)
    process.send_signal(end)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said and "Traceback" not in said
    report = json.loads((out / "report.json").read_text())
    assert report["complete"] is False
    assert report["sets"] == len(results(out, f"{PREFIX}/timings")) >= 10
    assert "Interrupted" in (out / "report.html").read_text()
    assert not list(out.rglob("*.part*"))


def test_the_same_again_is_done_another_is_refused(
    tmp_path: Path, brightness_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "in", frames=2)
    words = ["replay", str(bag), "--model", str(brightness_bundle), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    before = (tmp_path / "out" / "report.json").stat().st_mtime_ns
    assert main(words) == 0
    assert "complete; nothing to do" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.json").stat().st_mtime_ns == before
    assert main([*words, "--rate-hz", "3"]) == 1
    assert "holds another replay" in capsys.readouterr().err
    assert main([*words, "--rate-hz", "3", "--overwrite"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert main([*words[:-1], str(tmp_path / "mine")]) == 1
    assert "is not empty and holds no replay" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def failing(name: str, folder: Path, bundle: Path) -> tuple[list[str], list[str]]:
    """Return a command line that must fail, and words of its message."""
    bag = write_bag(folder / "in", frames=2)
    good = ["replay", str(bag), "--model", str(bundle), "--out", str(folder / "out")]
    if name == "missing bag":
        return ["replay", str(folder / "no"), *good[2:]], ["there is no bag at", "no"]
    if name == "empty bag":
        SegmentedBagWriter(folder / "empty").close()
        return ["replay", str(folder / "empty"), *good[2:]], ["holds no messages"]
    if name == "truncated bag":
        data = next(bag.glob("*.mcap")).read_bytes()
        (folder / "cut.mcap").write_bytes(data[: len(data) // 2])
        return ["replay", str(folder / "cut.mcap"), *good[2:]], ["cut.mcap"]
    if name == "missing topic":
        return [*good, "--topics", "front=/nowhere"], ["/nowhere", "/cam/front/image_raw"]
    if name == "missing model":
        return [*good[:3], str(folder / "nobody"), *good[4:]], ["no model bundle", "nobody"]
    if name == "damaged model":
        copy = folder / "bundle"
        copy.mkdir()
        for file in bundle.iterdir():
            (copy / file.name).write_bytes(
                file.read_bytes()[:-1] if file.suffix == ".onnx" else file.read_bytes()
            )
        return [*good[:3], str(copy), *good[4:]], ["portable.onnx", "checksum"]
    if name == "rig of another shape":
        lens = KannalaBrandtCamera(width=640, height=640, fx=80.0, fy=80.0, cx=320.0, cy=320.0)
        names = ("front", "left")
        Rig({n: RigCamera(name=n, image_topic=f"/cam/{n}/image_raw", camera=lens) for n in names}).save(
            folder / "rig.yaml"
        )
        return [*good, "--rig", str(folder / "rig.yaml")], ["64x48", "640x640", "no image became a mask"]
    if name == "missing rig":
        return [*good, "--rig", str(folder / "rig.yaml")], ["rig.yaml"]
    if name == "output is a file":
        (folder / "file").write_text("x")
        return [*good[:-1], str(folder / "file")], ["is a file"]
    if name == "output below a file":
        (folder / "file").write_text("x")
        return [*good[:-1], str(folder / "file" / "out")], ["cannot write"]
    if name == "bad value":
        return [*good, "--tolerance-ms", "-1"], ["tolerance_ms"]
    return [*good, "--anchor", "top"], ["anchor", "top", "front"]


@pytest.mark.parametrize(
    "name",
    [
        "missing bag", "empty bag", "truncated bag", "missing topic", "missing model", "damaged model",
        "rig of another shape", "missing rig", "output is a file", "output below a file", "bad value",
        "bad anchor",
    ],
)  # fmt: skip
def test_bad_input_says_what_and_where(
    name: str, tmp_path: Path, brightness_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, expected = failing(name, tmp_path, brightness_bundle)
    assert main(words) == 1
    said = capsys.readouterr().err
    for word in expected:
        assert word in said
    assert "Traceback" not in said


def test_images_without_names_to_tell_apart(tmp_path: Path, brightness_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        replay([write_bag(tmp_path / "in")], brightness_bundle, tmp_path / "out", topics=["a=/x", "b=x"])
