"""The node over real topics, in a process of its own."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from sensor_msgs.msg import CameraInfo, CompressedImage
from support.bags import T0, expected_mask, scene
from support.ros_bench import BEST_EFFORT, Bench, compressed_message, image_message, mask_of

pytestmark = pytest.mark.ros
CAMERAS = ("front", "left", "rear", "right")


def topics(cameras=CAMERAS) -> list[str]:
    return [f"{name}=cam/{name}/image_raw" for name in cameras]


def test_images_in_masks_out(bench: Bench, brightness_bundle: Path) -> None:
    for camera in CAMERAS:
        bench.listen(camera)
    publishers = {camera: bench.publisher(f"/cam/{camera}/image_raw") for camera in CAMERAS}
    bench.start(bundle=str(brightness_bundle), image_topics=topics(), queue_depth=100)
    bench.connected(*publishers.values())
    for index in range(5):
        for k, camera in enumerate(CAMERAS):
            stamp = T0 + index * 100_000_000 + k
            publishers[camera].publish(
                image_message(scene(10 * index + k), stamp, frame_id=f"{camera}_optical")
            )
    bench.wait(lambda: all(len(bench.masks[f"{camera}/mask"]) == 5 for camera in CAMERAS), "20 masks")
    for k, camera in enumerate(CAMERAS):
        for index, mask in enumerate(bench.masks[f"{camera}/mask"]):
            assert mask.encoding == "mono8" and mask.step == mask.width
            assert mask.header.frame_id == f"{camera}_optical"
            assert mask.header.stamp.sec * 10**9 + mask.header.stamp.nanosec == T0 + index * 100_000_000 + k
            np.testing.assert_array_equal(mask_of(mask), expected_mask(scene(10 * index + k)))
    bench.wait(lambda: len(bench.timings) == 5 and len(bench.labels) == 1, "timings and labels")
    assert [item.set_index for item in bench.timings] == list(range(5))
    assert all(list(item.cameras) == list(CAMERAS) and not item.missing for item in bench.timings)
    assert set(bench.timings[0].stages) == {"wait", "queue", "decode", "infer", "finish", "publish"}
    assert [label.name for label in bench.labels[0].classes] == [f"level_{i}" for i in range(13)]


def test_one_block_changes_one_mask(bench: Bench, brightness_bundle: Path) -> None:
    for camera in CAMERAS:
        bench.listen(camera)
    publishers = {camera: bench.publisher(f"/cam/{camera}/image_raw") for camera in CAMERAS}
    bench.start(bundle=str(brightness_bundle), image_topics=topics(), queue_depth=10)
    bench.connected(*publishers.values())
    images = {camera: scene(k) for k, camera in enumerate(CAMERAS)}
    changed = {**images, "rear": images["rear"].copy()}
    changed["rear"][8:16, 24:40] = 255 - changed["rear"][8:16, 24:40]
    for index, frames in enumerate((images, changed)):
        for camera, pixels in frames.items():
            publishers[camera].publish(image_message(pixels, T0 + index * 100_000_000))
    bench.wait(lambda: all(len(bench.masks[f"{camera}/mask"]) == 2 for camera in CAMERAS), "8 masks")
    for camera in CAMERAS:
        before, after = (mask_of(item) for item in bench.masks[f"{camera}/mask"])
        differing = np.argwhere(before != after)
        if camera != "rear":
            assert differing.size == 0
        else:
            assert differing.min(axis=0).tolist() >= [8, 24] and differing.max(axis=0).tolist() <= [15, 39]
            assert len(differing) > 100


def broken_encoding(good):
    good.encoding = "rgb9"
    return good


def broken_short(good):
    good.data = good.data[:100]
    return good


def broken_step(good):
    good.step = 17
    return good


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [(broken_encoding, "rgb9"), (broken_short, "100"), (broken_step, "step")],
)
def test_bad_images_are_named_and_survived(
    bench: Bench, brightness_bundle: Path, breaks, reason: str
) -> None:
    masks = bench.listen("front")
    publisher = bench.publisher("/cam/front/image_raw")
    process = bench.start(
        bundle=str(brightness_bundle), image_topics=topics(("front",)), queue_depth=100, input_depth=100
    )
    bench.connected(publisher)
    for index in range(20):
        publisher.publish(breaks(image_message(scene(1), T0 + index * 50_000_000)))
    bench.wait(lambda: len(bench.timings) == 20, "20 reports of bad images")
    assert all(not item.cameras and item.errors[0].startswith("front: ") for item in bench.timings)
    publisher.publish(image_message(scene(2), T0 + 2_000_000_000))
    bench.wait(lambda: len(masks) == 1, "the next good image's mask")
    np.testing.assert_array_equal(mask_of(masks[0]), expected_mask(scene(2)))
    lines = [
        line
        for line in process.log.splitlines()
        if f"{bench.namespace}/cam/front/image_raw" in line and reason in line
    ]
    assert 1 <= len(lines) <= 3, process.log
    assert "Traceback" not in process.log


def test_corrupted_jpeg_and_good_jpeg(bench: Bench, brightness_bundle: Path) -> None:
    masks = bench.listen("front")
    publisher = bench.publisher("/cam/front/image_raw/compressed", CompressedImage, BEST_EFFORT)
    process = bench.start(
        bundle=str(brightness_bundle), image_topics=["front=cam/front/image_raw/compressed"], queue_depth=100
    )
    bench.connected(publisher)
    smooth = cv2.resize(scene(3, 6, 8), (64, 48))
    good, data = cv2.imencode(".jpg", cv2.cvtColor(smooth, cv2.COLOR_RGB2BGR))
    assert good
    publisher.publish(compressed_message(data.tobytes()[: len(data) // 2], T0))
    publisher.publish(compressed_message(b"not a picture", T0 + 10**8))
    publisher.publish(compressed_message(data.tobytes(), T0 + 2 * 10**8))
    bench.wait(lambda: len(masks) == 1 and len(bench.timings) == 3, "the good picture's mask")
    decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(mask_of(masks[0]), expected_mask(decoded))
    assert "Traceback" not in process.log


def test_type_and_reliability_follow_the_publisher(bench: Bench, brightness_bundle: Path) -> None:
    """A name that promises Image, a publisher of CompressedImage, best effort: both are found out."""
    masks = bench.listen("front")
    process = bench.start(bundle=str(brightness_bundle), image_topics=topics(("front",)))
    publisher = bench.publisher("/cam/front/image_raw", CompressedImage, BEST_EFFORT)
    bench.connected(publisher)
    _, data = cv2.imencode(".png", scene(4))
    publisher.publish(compressed_message(data.tobytes(), T0))
    bench.wait(lambda: len(masks) == 1, "a mask")
    assert "following its publishers (CompressedImage, best effort)" in process.log


def test_camera_info_cuts_the_mask_to_the_lens(bench: Bench, brightness_bundle: Path) -> None:
    masks = bench.listen("front")
    images = bench.publisher("/cam/front/image_raw")
    infos = bench.publisher("/cam/front/camera_info", CameraInfo, BEST_EFFORT)
    process = bench.start(bundle=str(brightness_bundle), image_topics=topics(("front",)), queue_depth=10)
    bench.connected(images, infos)
    images.publish(image_message(scene(5), T0))
    bench.wait(lambda: len(masks) == 1, "the mask without a lens")
    assert 255 not in mask_of(masks[0])
    bench.wait(
        lambda: f"no CameraInfo on {bench.namespace}/cam/front/camera_info" in process.log, "the complaint"
    )
    info = CameraInfo(width=64, height=48, distortion_model="equidistant", d=[0.0] * 4)
    # An ideal f-theta lens: 180 degrees end 5 * pi / 2 = 7.85 px from the centre, pi at 15.7 px.
    info.k = [5.0, 0.0, 31.5, 0.0, 5.0, 23.5, 0.0, 0.0, 1.0]
    infos.publish(info)
    bench.wait(lambda: "lens from CameraInfo (equidistant)" in process.log, "the lens")
    images.publish(image_message(scene(5), T0 + 10**8))
    bench.wait(lambda: len(masks) == 2, "the mask with the lens")
    mask = mask_of(masks[1])
    y, x = np.mgrid[:48, :64]
    radius = np.hypot(x - 31.5, y - 23.5)
    assert (mask[radius > 5 * np.pi + 1] == 255).all()
    inside = radius < 5 * np.pi - 1
    np.testing.assert_array_equal(mask[inside], expected_mask(scene(5))[inside])


def test_dead_camera_is_reported_and_the_others_go_on(bench: Bench, brightness_bundle: Path) -> None:
    masks = bench.listen("front")
    publisher = bench.publisher("/cam/front/image_raw")
    process = bench.start(
        bundle=str(brightness_bundle),
        image_topics=topics(("front", "left")),
        queue_depth=10,
        stale_after_s=1.0,
    )
    bench.connected(publisher)
    for index in range(5):
        publisher.publish(image_message(scene(index), T0 + index * 100_000_000))
    bench.wait(lambda: len(masks) == 5, "masks of the living camera")
    bench.wait(lambda: len(bench.timings) == 5, "timings")
    assert all(list(item.missing) == ["left"] for item in bench.timings)
    bench.wait(
        lambda: f"camera left: no image on {bench.namespace}/cam/left/image_raw" in process.log, "the hint"
    )
    assert "0 publisher(s)" in process.log
    states = {
        status.name: status.message
        for item in bench.diagnostics
        for status in item.status
        if status.hardware_id.startswith(bench.namespace)
    }
    assert f"no image on {bench.namespace}/cam/left/image_raw" in states["perception: camera left"]
    assert states["perception: task segmentation"] == "keeps up"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"bundel": "x"}, ["unknown parameter 'bundel'", "did you mean bundle?"]),
        ({"deadline_ms": -5.0}, ["deadline_ms", "0 to 10000"]),
        ({"backend": "magic"}, ["backend", "onnxruntime"]),
        ({"queue_depth": "many"}, ["queue_depth", "int"]),
    ],
)
def test_wrong_parameters_refuse_to_start(
    bench: Bench, parameters: dict[str, object], words: list[str]
) -> None:
    process = bench.start(**parameters)
    assert process.process.wait(60) == 2
    for word in words:
        assert word in process.log
    assert "Traceback" not in process.log


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, ["bundle is empty"]),
        ({"bundle": "nowhere", "image_topics": ["cam/front/image_raw"]}, ["no model bundle at nowhere"]),
        ({"bundle": "nowhere"}, ["no cameras"]),
        ({"bundle": "nowhere", "rig": "rig.yaml"}, ["rig.yaml"]),
    ],
)
def test_missing_files_end_the_start(bench: Bench, parameters: dict[str, object], words: list[str]) -> None:
    process = bench.start(**parameters)
    assert process.process.wait(60) == 1
    for word in words:
        assert word in process.log
    assert "Traceback" not in process.log


def test_segmentation_node_is_the_same_with_its_own_name(bench: Bench, brightness_bundle: Path) -> None:
    masks = bench.listen("front", node="segmentation")
    publisher = bench.publisher("/cam/front/image_raw")
    bench.start("segmentation_node", bundle=str(brightness_bundle), image_topics=topics(("front",)))
    bench.connected(publisher)
    publisher.publish(image_message(scene(1), T0))
    bench.wait(lambda: len(masks) == 1, "a mask")
    np.testing.assert_array_equal(mask_of(masks[0]), expected_mask(scene(1)))


def test_the_choice_of_the_backend_is_told(bench: Bench, brightness_bundle: Path) -> None:
    publisher = bench.publisher("/cam/front/image_raw")
    process = bench.start(bundle=str(brightness_bundle), image_topics=topics(["front"]), backend="auto")
    bench.wait(lambda: publisher.get_subscription_count() == 1, "the node's subscription")
    said = [line for line in process.log.splitlines() if "backend auto took" in line]
    assert len(said) == 1 and "backend auto took onnxruntime-cpu; not tensorrt: " in said[0]
    assert "[INFO]" in said[0] or "[WARN]" in said[0]
