"""message_filters and cv_bridge: used when asked for, asked for by name when missing."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from support.bags import T0, expected_mask, scene
from support.ros_bench import Bench, image_message, mask_of

pytestmark = pytest.mark.ros
TOPICS = ["front=cam/front/image_raw", "left=cam/left/image_raw"]


def has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@pytest.mark.parametrize(
    ("option", "package"),
    [({"sync_policy": "approximate"}, "message_filters"), ({"image_conversion": "cv_bridge"}, "cv_bridge")],
)
def test_missing_package_is_named(
    bench: Bench, brightness_bundle: Path, option: dict[str, object], package: str
) -> None:
    if has(package):
        pytest.skip(f"{package} is installed")
    process = bench.start(bundle=str(brightness_bundle), image_topics=TOPICS, **option)
    assert process.process.wait(60) == 1
    assert package in process.log and "Traceback" not in process.log


@pytest.mark.parametrize(
    ("option", "package"),
    [({"sync_policy": "approximate"}, "message_filters"), ({"image_conversion": "cv_bridge"}, "cv_bridge")],
)
def test_masks_with_the_package(
    bench: Bench, brightness_bundle: Path, option: dict[str, object], package: str
) -> None:
    if not has(package):
        pytest.skip(f"{package} is not installed")
    masks = {name: bench.listen(name) for name in ("front", "left")}
    publishers = [bench.publisher(f"/cam/{name}/image_raw") for name in masks]
    bench.start(bundle=str(brightness_bundle), image_topics=TOPICS, queue_depth=10, **option)
    bench.connected(*publishers)
    for index in range(3):
        for k, publisher in enumerate(publishers):
            publisher.publish(image_message(scene(10 * index + k), T0 + index * 10**8 + k * 10**6))
    bench.wait(lambda: all(len(found) == 3 for found in masks.values()), "6 masks")
    for k, found in enumerate(masks.values()):
        for index, message in enumerate(found):
            np.testing.assert_array_equal(mask_of(message), expected_mask(scene(10 * index + k)))
