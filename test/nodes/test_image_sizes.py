"""Cameras of sizes that the model does not take, over real topics: the others go on, and people are told."""

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from support.bags import expected_mask, scene
from support.ros_bench import Bench, image_message, mask_of
from support.sized_bundles import failing_elsewhere, fixed_export

from internimage_perception.geometry import PinholeCamera, Rig, RigCamera

pytestmark = pytest.mark.ros
CAMERAS = ("front", "left", "rear", "right")
PERIOD = 100_000_000


def save_rig(path: Path) -> Path:
    """Write a rig of four cameras with lenses, of which `left` is a smaller one."""
    cameras = {}
    for name in CAMERAS:
        width, height = (32, 24) if name == "left" else (64, 48)
        lens = PinholeCamera(width=width, height=height, fx=50.0, fy=50.0, cx=width / 2, cy=height / 2)
        cameras[name] = RigCamera(name=name, image_topic=f"cam/{name}/image_raw", camera=lens)
    Rig(cameras).save(path)
    return path


def state(bench: Bench, what: str) -> DiagnosticStatus | None:
    """Return what /diagnostics said last of a camera or task."""
    found = [
        status
        for item in list(bench.diagnostics)
        for status in item.status
        if status.hardware_id.startswith(bench.namespace) and status.name.endswith(what)
    ]
    return found[-1] if found else None


def value(status: DiagnosticStatus, key: str) -> str:
    return next(item.value for item in status.values if item.key == key)


def test_one_camera_of_another_size_is_its_own_error(
    bench: Bench, brightness_bundle: Path, tmp_path: Path
) -> None:
    for camera in CAMERAS:
        bench.listen(camera)
    publishers = {camera: bench.publisher(f"/cam/{camera}/image_raw") for camera in CAMERAS}
    bundle = fixed_export(brightness_bundle, tmp_path / "fixed")
    process = bench.start(
        bundle=str(bundle), rig=str(save_rig(tmp_path / "rig.yaml")), backend="onnxruntime-cpu",
        queue_depth=100, input_depth=100, output_depth=100, stale_after_s=60.0, deadline_ms=5000.0,
    )  # fmt: skip
    bench.connected(*publishers.values())
    others = [camera for camera in CAMERAS if camera != "left"]
    now = time.time_ns()
    for index in range(6):
        for k, camera in enumerate(CAMERAS):
            size = (24, 32) if camera == "left" else (48, 64)
            publishers[camera].publish(image_message(scene(10 * index + k, *size), now + index * PERIOD))
    bench.wait(lambda: len(bench.timings) == 6, "six sets")
    bench.wait(lambda: all(len(bench.masks[f"{camera}/mask"]) == 6 for camera in others), "18 masks")
    assert not bench.masks["left/mask"]
    for item in bench.timings:
        assert list(item.cameras) == others
        assert len(item.errors) == 1 and item.errors[0].startswith("left: images of 32x24 pixels")
    for camera in others:
        k = CAMERAS.index(camera)
        for index, mask in enumerate(bench.masks[f"{camera}/mask"]):
            np.testing.assert_array_equal(mask_of(mask), expected_mask(scene(10 * index + k)))

    bench.wait(
        lambda: (found := state(bench, "camera left")) and value(found, "unusable") == "6", "the count"
    )
    left = state(bench, "camera left")
    assert left.level == DiagnosticStatus.ERROR
    assert "which takes 64x48; export the bundle anew with --height 24 --width 32" in left.message
    for what in (*(f"camera {camera}" for camera in others), "task segmentation"):
        # A busy computer may bring images late, which is a warning. That no CameraInfo comes is none: the rig
        # has the lenses.
        found = state(bench, what)
        assert found.level < DiagnosticStatus.ERROR, found.message
        assert "CameraInfo" not in found.message
    assert value(state(bench, "camera front"), "unusable") == "0"
    log = process.log
    assert f"{bench.namespace}/cam/left/image_raw: images of 32x24 pixels" in log
    assert "rig.yaml is calibrated for images that do not fit" in log and ": left (32x24);" in log
    assert "segmentation failed" not in log


def test_sets_on_which_the_backend_fails_are_an_error_of_the_task(
    bench: Bench, brightness_bundle: Path, tmp_path: Path
) -> None:
    masks, publisher = bench.listen("front"), bench.publisher("/cam/front/image_raw")
    bench.start(
        bundle=str(failing_elsewhere(brightness_bundle, tmp_path / "failing")),
        image_topics=["front=cam/front/image_raw"], backend="onnxruntime-cpu",
        queue_depth=100, input_depth=100,
    )  # fmt: skip
    bench.connected(publisher)
    now = time.time_ns()
    for index in range(3):
        publisher.publish(image_message(scene(index, 24, 32), now + index * PERIOD))
    publisher.publish(image_message(scene(3), now + 3 * PERIOD))
    bench.wait(lambda: len(masks) == 1, "the mask of the good image")
    bench.wait(
        lambda: (found := state(bench, "task segmentation")) and value(found, "processed") == "1", "the count"
    )
    task = state(bench, "task segmentation")
    assert (task.level, value(task, "failed")) == (DiagnosticStatus.ERROR, "3")
    assert task.message.startswith("3 set(s) of the last 10 s failed: BackendError: onnxruntime-cpu failed")
