"""Replays of awkward input: lenses told late, torn images, logs and disks that do not serve."""

import errno
import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.bags import PERIOD, T0, camera_info, compressed, image, scene, write_bag

from internimage_perception.bags.interrupt import uninterrupted
from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.replay import Replay, ReplayOptions
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.cli.main import main
from internimage_perception.errors import BagError
from internimage_perception.geometry import KannalaBrandtCamera, Rig, RigCamera


def replay(bags: list[Path], bundle: Path, out: Path, **options) -> dict:
    return Replay(ReplayOptions(bags=bags, bundle=bundle, out=out, backend="null", **options)).run()


def only_mask(out: Path) -> np.ndarray:
    with open_bags(out / "bag") as reader:
        (item,) = reader.messages(["/perception/segmentation/front/mask"])
        return item.message.data.reshape(item.message.height, item.message.width)


def test_the_rig_narrows_the_lens_of_camera_info(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in", cameras=("front",), frames=1, focal=30.0)
    camera = RigCamera(name="front", image_topic="/cam/front/image_raw", theta_max=0.5)
    Rig({"front": camera}).save(tmp_path / "rig.yaml")
    replay([bag], brightness_bundle, tmp_path / "out", rig=tmp_path / "rig.yaml")
    mask = only_mask(tmp_path / "out")
    rows, columns = np.mgrid[:48, :64]
    theta = np.hypot(columns - 31.5, rows - 23.5) / 30.0
    np.testing.assert_array_equal(mask == 255, theta > 0.5)


def test_the_first_usable_camera_info_counts(tmp_path: Path, brightness_bundle: Path) -> None:
    with SegmentedBagWriter(tmp_path / "in") as writer:
        writer.add_topic("/front/camera_info", "sensor_msgs/msg/CameraInfo")
        writer.add_topic("/front/image_raw", "sensor_msgs/msg/Image")
        # Drivers publish zeros until somebody calibrates them.
        writer.write("/front/camera_info", camera_info(64, 48, 0.0), T0)
        writer.write("/front/camera_info", camera_info(64, 48, 12.0), T0 + 1)
        writer.write("/front/image_raw", image(scene(0), T0), T0 + 2)
    report = replay([tmp_path / "in"], brightness_bundle, tmp_path / "out")
    assert report["warnings"] == []
    mask = only_mask(tmp_path / "out")
    np.testing.assert_array_equal(mask == 255, ~KannalaBrandtCamera(
        width=64, height=48, fx=12.0, fy=12.0, cx=31.5, cy=23.5, d=(0.0, 0.0, 0.0, 0.0)
    ).valid_mask())  # fmt: skip


def test_a_camera_of_the_rig_that_the_bag_lacks_is_in_the_report(
    tmp_path: Path, brightness_bundle: Path
) -> None:
    bag = write_bag(tmp_path / "in", cameras=("front",), frames=2, focal=30.0)
    cameras = {name: RigCamera(name=name, image_topic=f"/cam/{name}/image_raw") for name in ("front", "rear")}
    Rig(cameras).save(tmp_path / "rig.yaml")
    report = replay([bag], brightness_bundle, tmp_path / "out", rig=tmp_path / "rig.yaml")
    assert "camera rear: /cam/rear/image_raw is not in the bag" in report["warnings"]
    assert report["cameras"]["rear"]["missing_in_sets"] == 2


def test_another_ego_mask_is_another_replay(tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in", cameras=("front",), frames=1)
    mask = np.zeros((48, 64), np.bool_)
    for rows in (10, 20):
        mask[-rows:] = True
        camera = RigCamera(name="front", image_topic="/cam/front/image_raw", ego_mask=mask)
        Rig({"front": camera}).save(tmp_path / "rig.yaml")
        options = {"rig": tmp_path / "rig.yaml"}
        if rows == 20:
            with pytest.raises(BagError, match="another replay"):
                replay([bag], brightness_bundle, tmp_path / "out", **options)
            options["overwrite"] = True
        replay([bag], brightness_bundle, tmp_path / "out", **options)
        assert (only_mask(tmp_path / "out") == 255).sum() == rows * 64


def test_many_reasons_are_summed_up(tmp_path: Path, brightness_bundle: Path) -> None:
    good, data = cv2.imencode(".jpg", scene(0))
    assert good
    with SegmentedBagWriter(tmp_path / "in") as writer:
        writer.add_topic("/front/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
        for index in range(40):
            torn = data.tobytes()[: len(data) - 10 - index]
            stamp = T0 + index * PERIOD
            writer.write("/front/image_raw/compressed", compressed(torn, stamp), stamp)
    report = replay([tmp_path / "in"], brightness_bundle, tmp_path / "out")
    assert len(report["errors"]) <= 21
    assert sum(report["errors"].values()) == 40
    assert report["cameras"]["front"]["dropped"]["undecodable"] == 40


def test_a_set_log_that_cannot_serve_is_refused(
    tmp_path: Path, brightness_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "in", frames=1)
    words = ["replay", str(bag), "--model", str(brightness_bundle), "--out", str(tmp_path / "out")]
    assert main([*words, "--set-log", str(tmp_path / "nowhere")]) == 1
    assert "cannot read set log" in capsys.readouterr().err
    log = tmp_path / "sets.jsonl"
    log.write_text(
        json.dumps({"index": 0, "stamp_ns": 0, "frames": {"front": 0}, "missing": ["left"]}) + "\n"
    )
    assert main([*words, "--set-log", str(log)]) == 1
    assert "without a stamp" in capsys.readouterr().err
    # Nothing came of it, so another replay may have the folder.
    assert main(words) == 0


def test_a_report_that_cannot_be_written_does_not_hide_the_cause(
    tmp_path: Path, brightness_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    bag = write_bag(tmp_path / "in", frames=3)
    monkeypatch.setattr("internimage_perception.bags.replay.write_reports", full)
    with pytest.raises(BagError, match=r"cannot write the report .*No space left.*bag/ is whole"):
        replay([bag], brightness_bundle, tmp_path / "out")
    said: list[str] = []
    monkeypatch.setattr("internimage_perception.bags.sink.ResultSink.write", full)
    options = ReplayOptions(bags=[bag], bundle=brightness_bundle, out=tmp_path / "o2", backend="null")
    with pytest.raises(OSError, match="No space left") as raised:
        Replay(options, say=said.append).run()
    assert raised.traceback[-1].name == "full"
    assert any("no report in" in line for line in said)


def test_a_second_ctrl_c_waits_for_what_the_first_saves() -> None:
    steps: list[str] = []

    def save() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("saved")
        steps.append("went on")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        save()
    assert steps == ["saved"]
    assert signal.getsignal(signal.SIGINT) is before
