"""The transport profile lets best-effort camera images through; Fast DDS's own settings lose most of them."""

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from internimage_perception.resources import share_path

IMAGE_BYTES = 1920 * 1080 * 3
IMAGES = 12

# The subscriber answers every image; the publisher waits for the answer, so that speed does not matter.
COMMON = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32
size, images = int(sys.argv[1]), int(sys.argv[2])
rclpy.init()
node = rclpy.create_node("profile_" + sys.argv[3])
best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
deadline = time.monotonic() + 40
"""
SUBSCRIBER = """
answers = node.create_publisher(UInt32, "answers", 10)
seen = []
def on_image(image):
    seen.append(len(image.data) == size)
    answers.publish(UInt32(data=len(seen)))
node.create_subscription(Image, "images", on_image, best_effort)
while len(seen) < images and time.monotonic() < deadline:
    rclpy.spin_once(node, timeout_sec=0.1)
time.sleep(0.5)
rclpy.shutdown()
sys.exit(0 if seen == [True] * images else 1)
"""
PUBLISHER = """
answered = [0]
node.create_subscription(UInt32, "answers", lambda answer: answered.__setitem__(0, answer.data), 10)
publisher = node.create_publisher(Image, "images", best_effort)
def connected():
    return publisher.get_subscription_count() and node.count_publishers("answers")
while not connected() and time.monotonic() < deadline:
    rclpy.spin_once(node, timeout_sec=0.1)
time.sleep(0.5)
image = Image(width=1920, height=1080, encoding="bgr8", step=1920 * 3, data=array.array("B", bytes(size)))
for number in range(1, images + 1):
    publisher.publish(image)
    patience = time.monotonic() + 10
    while answered[0] < number and time.monotonic() < patience:
        rclpy.spin_once(node, timeout_sec=0.1)
    if answered[0] < number:
        print("image", number, "was lost")
        sys.exit(1)
rclpy.shutdown()
"""


def test_profile_holds_full_hd_images():
    name = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ET.parse(share_path("config/fastdds.xml")).getroot()  # noqa: S314 - our own file
    [shared] = [
        transport
        for transport in root.iterfind(".//dds:transport_descriptor", name)
        if transport.findtext("dds:type", namespaces=name) == "SHM"
    ]
    assert int(shared.findtext("dds:maxMessageSize", namespaces=name)) > 2 * IMAGE_BYTES
    assert int(shared.findtext("dds:segment_size", namespaces=name)) > 16 * IMAGE_BYTES
    assert root.findtext(".//dds:useBuiltinTransports", namespaces=name) == "false"


@pytest.mark.ros
def test_best_effort_images_arrive():
    pytest.importorskip("rclpy", reason="ROS 2 is not available")
    arguments = [str(IMAGE_BYTES), str(IMAGES)]
    subscriber = subprocess.Popen([sys.executable, "-c", COMMON + SUBSCRIBER, *arguments, "subscriber"])
    try:
        command = [sys.executable, "-c", COMMON + PUBLISHER, *arguments, "publisher"]
        done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert subscriber.wait(timeout=30) == 0
    finally:
        subscriber.kill()
        subscriber.wait()
