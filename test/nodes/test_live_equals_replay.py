"""Given the same sets, the node over real topics and the replay answer the same, byte for byte."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from support.bags import write_bag
from support.ros_bench import Bench, image_message, mask_of

from internimage_perception.bags.reader import open_bags
from internimage_perception.bags.replay import Replay, ReplayOptions

pytestmark = pytest.mark.ros
CAMERAS = ("front", "left", "rear", "right")


def stamp_of(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def publish_in_lockstep(bench: Bench, bag: Path, publishers: dict, rounds: int) -> None:
    """Publish a bag's images in its order; before the next round, wait for the answer to this one."""
    with open_bags(bag) as reader:
        images = [
            (item.topic, item.message) for item in reader.messages() if item.topic.endswith("image_raw")
        ]
    stamps = sorted({stamp_of(message) // 100_000_000 for _, message in images})
    assert len(stamps) == rounds
    for done, moment in enumerate(stamps, 1):
        for topic, message in images:
            if stamp_of(message) // 100_000_000 == moment:
                pixels = message.data.reshape(message.height, message.width, 3)
                publishers[topic].publish(
                    image_message(pixels, stamp_of(message), message.encoding, message.header.frame_id)
                )
        bench.wait(lambda: len(bench.timings) == done, f"the answer to round {done}")  # noqa: B023


@pytest.mark.parametrize("model", ["brightness", "network"])
def test_live_equals_replay(
    bench: Bench, tmp_path: Path, model: str, brightness_bundle: Path, request: pytest.FixtureRequest
) -> None:
    bundle = brightness_bundle if model == "brightness" else request.getfixturevalue("tiny_bundle")
    rounds = 8
    # The rear camera dies half-way: both ways must name it and go on.
    bag = write_bag(
        tmp_path / "in",
        cameras=CAMERAS,
        frames=rounds,
        skip=lambda name, i: name == "rear" and i > 4,
        focal=20.0,
    )
    with open_bags(bag) as reader:
        topics = {f"/cam/{name}/image_raw": name for name in CAMERAS}
        info = {item.topic: item.message for item in reader.messages() if item.topic.endswith("camera_info")}
    rig = tmp_path / "rig.yaml"
    write_rig(rig, info)
    for name in CAMERAS:
        bench.listen(name)
    publishers = {topic: bench.publisher(topic) for topic in topics}
    log = tmp_path / "sets.jsonl"
    bench.start(
        bundle=str(bundle), rig=str(rig), set_log=str(log), queue_depth=50, input_depth=50,
        image_topics=[f"{name}={topic[1:]}" for topic, name in topics.items()],
        input_reliability="reliable", output_depth=50, backend="onnxruntime",
    )  # fmt: skip
    bench.connected(*publishers.values())
    publish_in_lockstep(bench, bag, publishers, rounds)
    bench.wait(lambda: sum(map(len, bench.masks.values())) == 4 * rounds - 3, "all masks")
    live = {
        (name.split("/")[0], stamp_of(item)): mask_of(item)
        for name, items in bench.masks.items()
        for item in items
    }
    for words in ({"set_log": log}, {}):
        out = tmp_path / f"out_{len(words)}"
        report = Replay(
            ReplayOptions(bags=[bag], bundle=bundle, out=out, rig=rig, backend="onnxruntime", **words)
        ).run()
        assert report["frames_out"] == len(live)
        replayed = {}
        with open_bags(out / "bag") as reader:
            for item in reader.messages():
                if item.topic.endswith("/mask"):
                    message = item.message
                    mask = message.data.reshape(message.height, message.width)
                    replayed[item.topic.split("/")[3], stamp_of(message)] = mask
        assert set(replayed) == set(live)
        for key, mask in live.items():
            np.testing.assert_array_equal(replayed[key], mask)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [item["missing"] for item in records] == [[]] * 5 + [["rear"]] * 3
    assert any((mask == 255).any() for mask in live.values())


def write_rig(path: Path, infos: dict[str, object]) -> None:
    from internimage_perception.geometry import Rig, RigCamera, camera_from_info  # noqa: PLC0415

    Rig(
        {
            name: RigCamera(
                name=name, image_topic=f"/cam/{name}/image_raw",
                camera=camera_from_info(infos[f"/cam/{name}/camera_info"], theta_max=1.4),
            )
            for name in CAMERAS
        }
    ).save(path)  # fmt: skip
