"""Lifecycle transitions, and topics that exist only for who listens."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from support.bags import T0, expected_mask, scene
from support.ros_bench import Bench, image_message, mask_of

from internimage_perception.inference.bundle import (
    CLASS_NAMES,
    CLASSIFICATION,
    Bundle,
    ClassSpec,
    InputSpec,
    OutputSpec,
    sha256_of,
)
from internimage_perception.inference.class_names import write_names

pytestmark = pytest.mark.ros


class Manager:
    """Drives a node's lifecycle by its services."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        name = f"{bench.namespace}/perception"
        self._change = bench.node.create_client(ChangeState, f"{name}/change_state")
        self._get = bench.node.create_client(GetState, f"{name}/get_state")
        assert self._change.wait_for_service(20.0) and self._get.wait_for_service(20.0)

    def change(self, transition: int) -> bool:
        return self._call(self._change, ChangeState.Request(transition=Transition(id=transition))).success

    @property
    def state(self) -> int:
        return self._call(self._get, GetState.Request()).current_state.id

    def _call(self, client, request):
        future = client.call_async(request)
        self.bench.wait(future.done, "a lifecycle service")
        return future.result()


def test_every_transition_and_masks_only_while_active(bench: Bench, brightness_bundle: Path) -> None:
    masks = bench.listen("front")
    publisher = bench.publisher("/cam/front/image_raw")
    log = bench.folder / "sets.jsonl"
    process = bench.start(
        bundle=str(brightness_bundle),
        image_topics=["front=cam/front/image_raw"],
        auto_start=False,
        set_log=str(log),
    )
    manager = Manager(bench)
    assert manager.state == State.PRIMARY_STATE_UNCONFIGURED
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.state == State.PRIMARY_STATE_INACTIVE
    bench.wait(lambda: len(bench.labels) == 1, "label info, latched, before activation")
    assert publisher.get_subscription_count() == 0
    for round_number in range(2):
        assert manager.change(Transition.TRANSITION_ACTIVATE)
        bench.connected(publisher)
        publisher.publish(image_message(scene(round_number), T0 + round_number))
        answers = round_number + 1
        bench.wait(lambda: len(masks) == len(bench.timings) == answers, "a mask and its timings")  # noqa: B023
        np.testing.assert_array_equal(mask_of(masks[-1]), expected_mask(scene(round_number)))
        assert bench.timings[-1].set_index == 0
        assert manager.change(Transition.TRANSITION_DEACTIVATE)
        bench.wait(lambda: publisher.get_subscription_count() == 0, "the end of the subscription")
    # The log of an earlier activation is not lost.
    assert [json.loads(line)["frames"]["front"] for line in log.read_text().splitlines()] == [T0, T0 + 1]
    assert manager.change(Transition.TRANSITION_CLEANUP)
    assert manager.state == State.PRIMARY_STATE_UNCONFIGURED
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.change(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    assert manager.state == State.PRIMARY_STATE_FINALIZED
    assert process.process.poll() is None
    assert "Traceback" not in process.log


def test_failed_configuration_leaves_a_living_node(bench: Bench) -> None:
    process = bench.start(bundle="nowhere", image_topics=["front=cam/front/image_raw"], auto_start=False)
    manager = Manager(bench)
    for _ in range(2):
        assert not manager.change(Transition.TRANSITION_CONFIGURE)
        assert manager.state == State.PRIMARY_STATE_UNCONFIGURED
    assert process.log.count("no model bundle at nowhere") == 2
    assert process.process.poll() is None


def test_a_model_that_makes_no_masks_is_refused(bench: Bench, tmp_path: Path) -> None:
    write_names(tmp_path / CLASS_NAMES, ["cat", "dog"])
    Bundle(
        tmp_path, "pets", CLASSIFICATION, {"kind": "none"}, (ClassSpec(0, "cat"), ClassSpec(1, "dog")),
        InputSpec(224, 224), OutputSpec(), files={CLASS_NAMES: sha256_of(tmp_path / CLASS_NAMES)},
    ).write_manifest()  # fmt: skip
    process = bench.start(
        bundle=str(tmp_path), image_topics=["front=cam/front/image_raw"], backend="null", auto_start=False
    )
    assert not Manager(bench).change(Transition.TRANSITION_CONFIGURE)
    assert "is for classification, not for segmentation; `internimage-perception classify`" in process.log


def test_overlay_and_confidence_for_who_listens(bench: Bench, brightness_bundle: Path) -> None:
    masks = bench.listen("front")
    publisher = bench.publisher("/cam/front/image_raw")
    bench.start(bundle=str(brightness_bundle), image_topics=["front=cam/front/image_raw"], overlay_width=32)
    bench.connected(publisher)
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[..., 0] = 240
    publisher.publish(image_message(pixels, T0))
    bench.wait(lambda: len(masks) == 1, "a mask")
    overlays, confidences = bench.listen("front", "overlay"), bench.listen("front", "confidence")
    bench.connected(publisher)
    publisher.publish(image_message(pixels, T0 + 10**8))
    bench.wait(lambda: len(overlays) == 1 and len(confidences) == 1, "overlay and confidence")
    picture = np.frombuffer(overlays[0].data, np.uint8).reshape(overlays[0].height, overlays[0].width, 3)
    assert picture.shape == (24, 32, 3) and overlays[0].encoding == "rgb8"
    # Class 4 (mean 80) is painted (80, 175, 40) at half strength.
    np.testing.assert_allclose(picture[12, 16], (160, 88, 20), atol=2)
    np.testing.assert_array_equal(mask_of(confidences[0]), 240)
    assert confidences[0].header.stamp == masks[1].header.stamp
