"""A bag's description names what it holds and what will disturb."""

import json

import cv2
import numpy as np
import pytest

from internimage_perception.bags.inspect import describe_bag
from internimage_perception.errors import BagError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


def warnings_of(make_bag, path, events) -> str:
    return "\n".join(describe_bag(make_bag(path, "mcap", events)).warnings)


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ros1"])
def test_cameras_rates_lenses(make_bag, drive, tmp_path, kind):
    bag = describe_bag(make_bag(tmp_path / "drive", kind, drive))
    left, right = bag.cameras
    assert (left.topic, left.encoding, left.width, left.height, left.frame_id) == (
        "/left/image_raw", "rgb8", 2, 2, "optical",
    )  # fmt: skip
    assert left.rate_hz == pytest.approx(10)
    assert left.stamp_age_ns == 1_000
    assert (left.info_topic, left.info_count) == ("/left/camera_info", 10)
    assert left.lens.startswith("equidistant 2x2, fx 300.0 px")
    assert (right.info_topic, right.lens) == ("", "")
    assert bag.warnings == (
        "/right/image_raw: no CameraInfo on /right/camera_info: without a rig file its lens is unknown",
    )
    assert (bag.message_count, bag.duration_ns, len(bag.topics)) == (40, 900_002_500, 4)
    text = str(bag)
    assert "40 messages in 0.900 s, from 1.000 s (no wall clock)" in text
    assert "camera /left/image_raw: 2x2 rgb8, 10.0 Hz" in text
    assert "warning: /right/image_raw: no CameraInfo" in text
    assert json.loads(json.dumps(bag.to_dict()))["cameras"][0]["rate_hz"] == pytest.approx(10)


def test_stamps(make_bag, drive, tmp_path):
    images = [event for event in drive if event.msgtype == IMAGE]
    assert "no image has a stamp" in warnings_of(
        make_bag, tmp_path / "zero", [e._replace(stamp_ns=0) for e in images]
    )
    first = [images[0]._replace(stamp_ns=0), *images[1:]]
    assert "/left/image_raw: 1 of 10 images lack a stamp" in warnings_of(make_bag, tmp_path / "one", first)
    stuck = [event._replace(stamp_ns=5) for event in images]
    assert "9 of 10 images are not stamped later" in warnings_of(make_bag, tmp_path / "stuck", stuck)
    late = [event._replace(stamp_ns=event.receive_ns - 3 * 10**9 // 2 + 10**9 * 9) for event in images]
    assert "stamped 7.5 s after they were recorded" in warnings_of(make_bag, tmp_path / "late", late)


def test_imbalance(make_bag, drive, tmp_path):
    rights = 0
    events = []
    for event in drive:
        rights += event.topic == "/right/image_raw"
        if event.topic != "/right/image_raw" or rights <= 4:
            events.append(event)
    text = warnings_of(make_bag, tmp_path / "drive", events)
    assert "/right/image_raw: 4 images where another camera has 10: sets will lack it" in text


def test_images_that_do_not_fit(make_bag, drive, tmp_path):
    wide = np.zeros(2 * 5, dtype=np.uint8).tobytes()
    events = [event._replace(data=wide) if event.topic == "/left/image_raw" else event for event in drive]
    text = warnings_of(make_bag, tmp_path / "short", events)
    assert (
        "/left/image_raw: the first image cannot be decoded: rgb8 image of 2x2: step must be at least 6"
        in text
    )
    done, jpeg = cv2.imencode(".jpg", np.zeros((6, 8, 3), dtype=np.uint8))
    assert done
    events = [
        event._replace(topic="/left/image/compressed", msgtype=COMPRESSED, data=jpeg.tobytes())
        if event.topic == "/left/image_raw" else event
        for event in drive
    ]  # fmt: skip
    bag = describe_bag(make_bag(tmp_path / "other", "mcap", events))
    assert (bag.cameras[0].encoding, bag.cameras[0].width, bag.cameras[0].height) == ("jpeg", 8, 6)
    assert any("CameraInfo is for 2x2 but the images 8x6" in warning for warning in bag.warnings)


def test_useless_camera_info(make_bag, drive, tmp_path):
    events = [event._replace(value=0) if event.topic.endswith("camera_info") else event for event in drive]
    assert "/left/image_raw: its CameraInfo is of no use" in warnings_of(make_bag, tmp_path / "zero", events)


def test_no_images(make_bag, drive, tmp_path):
    events = [event for event in drive if event.topic == "/chatter"]
    bag = describe_bag(make_bag(tmp_path / "chatter", "mcap", events))
    assert bag.cameras == ()
    assert "no images: neither" in bag.warnings[0]


def test_only_the_beginning_is_read(make_bag, drive, tmp_path):
    many = [
        event._replace(receive_ns=index * 10**8 + offset, stamp_ns=index * 10**8 + 1)
        for index in range(300)
        for offset, event in enumerate(drive[:3])
    ]
    late = drive[2]._replace(topic="/late/image_raw", receive_ns=301 * 10**8)
    bag = describe_bag(make_bag(tmp_path / "long", "mcap", [*many, *[late] * 2]))
    by_topic = {camera.topic: camera for camera in bag.cameras}
    assert by_topic["/left/image_raw"].rate_hz == pytest.approx(10)
    assert by_topic["/late/image_raw"].width == 0
    assert "/late/image_raw: no image was found where the bag begins" in "\n".join(bag.warnings)


def test_real_synchroniser_case(shared_data):
    bag = describe_bag(shared_data / "bags" / "ubiquity_ros1" / "fiducial_board_611.bag")
    (camera,) = bag.cameras
    assert (camera.topic, camera.encoding, camera.width) == (
        "/raspicam_node/camera/image/compressed",
        "jpg",
        1280,
    )
    assert camera.lens.startswith("pinhole 1280x720")
    assert any("32 CameraInfo, but 1 images: images were lost" in warning for warning in bag.warnings)
    assert "from 2016-11-27" in str(bag)


def test_damaged_message_is_counted(make_bag, drive, tmp_path):
    folder = make_bag(tmp_path / "drive", "mcap", drive)
    file = folder / "drive.mcap"
    content = bytearray(file.read_bytes())
    at = content.index(b"optical", content.index(b"rgb8") - 60)
    content[at - 4 : at] = (10**6).to_bytes(4, "little")
    file.write_bytes(content)
    text = "\n".join(describe_bag(folder).warnings)
    assert "a message cannot be read" in text
    assert "1 messages or places that were looked at are damaged" in text


def test_no_bag(tmp_path):
    with pytest.raises(BagError, match="there is no bag"):
        describe_bag(tmp_path / "x")
