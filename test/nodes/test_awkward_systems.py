"""The node among systems as they are: latched calibration, no clock, signals at bad moments."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rcl_interfaces.srv import DescribeParameters
from sensor_msgs.msg import CameraInfo
from support.bags import T0, scene
from support.ros_bench import LATCHED, Bench, image_message, mask_of

pytestmark = pytest.mark.ros


def lens(focal: float) -> CameraInfo:
    info = CameraInfo(width=64, height=48, distortion_model="equidistant", d=[0.0] * 4)
    info.k = [focal, 0.0, 31.5, 0.0, focal, 23.5, 0.0, 0.0, 1.0]
    return info


def test_calibration_that_was_said_once_is_heard(bench: Bench, brightness_bundle: Path) -> None:
    bench.publisher("/cam/front/camera_info", CameraInfo, LATCHED).publish(lens(10.0))
    images, masks = bench.publisher("/cam/front/image_raw"), bench.listen("front")
    process = bench.start(
        bundle=str(brightness_bundle), backend="null", image_topics=["front=cam/front/image_raw"]
    )
    bench.connected(images)
    bench.wait(lambda: "lens from CameraInfo" in process.log, "the lens")
    images.publish(image_message(scene(0), T0))
    bench.wait(lambda: bool(masks), "a mask")
    rows, columns = np.mgrid[:48, :64]
    outside = np.hypot(columns - 31.5, rows - 23.5) / 10.0 > np.pi
    np.testing.assert_array_equal(mask_of(masks[0]) == 255, outside)


def test_given_parameters_are_described_and_cannot_be_changed_to_no_effect(
    bench: Bench, brightness_bundle: Path
) -> None:
    # A whole number in the file serves as a float.
    bench.start(
        bundle=str(brightness_bundle), image_topics=["front=cam/x"], tolerance_ms=30, auto_start=False
    )
    client = bench.node.create_client(DescribeParameters, f"{bench.namespace}/perception/describe_parameters")
    assert client.wait_for_service(20)
    answer = client.call_async(DescribeParameters.Request(names=["tolerance_ms", "bundle", "image_topics"]))
    bench.wait(answer.done, "the descriptions")
    for descriptor in answer.result().descriptors:
        assert descriptor.read_only
        assert descriptor.description
    (limits,) = answer.result().descriptors[0].floating_point_range
    assert (limits.from_value, limits.to_value) == (0.0, 10000.0)


def test_an_empty_list_is_refused_in_words(bench: Bench, brightness_bundle: Path) -> None:
    process = bench.start(bundle=str(brightness_bundle), image_topics=[])
    assert process.process.wait(60) == 2
    assert "as an empty list; leave it out" in process.log
    assert "Traceback" not in process.log


def test_simulated_time_without_a_clock_is_named(bench: Bench, brightness_bundle: Path) -> None:
    process = bench.start(
        bundle=str(brightness_bundle), backend="null", image_topics=["front=cam/x"], use_sim_time=True
    )
    bench.wait(lambda: "nothing came on /clock" in process.log, "the hint")
    assert process.stop() == 0


def test_ending_amid_images_is_no_error(bench: Bench, brightness_bundle: Path) -> None:
    images, masks = bench.publisher("/cam/front/image_raw"), bench.listen("front")
    process = bench.start(bundle=str(brightness_bundle), image_topics=["front=cam/front/image_raw"])
    bench.connected(images)
    message = image_message(scene(0, 1080, 1920), T0)
    signalled, index = 0.0, 0
    while not signalled or time.monotonic() < signalled + 0.3:
        index += 1
        message.header.stamp.sec = T0 // 10**9 + index
        images.publish(message)
        time.sleep(0.005)
        if len(masks) >= 3 and not signalled:
            process.process.send_signal(signal.SIGTERM)
            signalled = time.monotonic()
    assert process.process.wait(60) == 0
    assert "segmentation failed" not in process.log
    assert "Traceback" not in process.log


def test_a_signal_while_the_node_starts_is_no_failure(tmp_path: Path) -> None:
    # The constructor then finds its context gone.
    script = (
        "import sys, rclpy\n"
        "from internimage_perception.nodes import perception_node\n"
        "class Late(perception_node.PerceptionNode):\n"
        "    def __init__(self, *words):\n"
        "        rclpy.shutdown()\n"
        "        super().__init__(*words)\n"
        "perception_node.PerceptionNode = Late\n"
        "sys.exit(perception_node.main([]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
