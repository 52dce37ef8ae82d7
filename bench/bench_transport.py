"""How many large best-effort images arrive, with Fast DDS's own settings and with `config/fastdds.xml`.

40 images of 1920x1080 at 10 Hz from one process to another. Writes `results/transport.json`.
"""

import os
import subprocess
import sys
import time
from array import array
from pathlib import Path

from results import save

from internimage_perception.resources import share_path

WIDTH, HEIGHT = 1920, 1080
IMAGES, RATE_HZ = 40, 10.0
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
TOPIC = "/bench/images"
_PATIENCE_S = 30.0


def publish() -> None:
    """Publish the images once somebody listens; the work of the second process."""
    import rclpy  # noqa: PLC0415 - the settings are read when it starts
    from rclpy.qos import qos_profile_sensor_data  # noqa: PLC0415
    from sensor_msgs.msg import Image  # noqa: PLC0415

    rclpy.init()
    node = rclpy.create_node("bench_transport_camera")
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    deadline = time.monotonic() + _PATIENCE_S
    while not publisher.get_subscription_count() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    image = Image(width=WIDTH, height=HEIGHT, encoding="bgr8", step=3 * WIDTH)
    image.data = array("B", bytes(3 * WIDTH * HEIGHT))
    for _ in range(IMAGES):
        publisher.publish(image)
        time.sleep(1.0 / RATE_HZ)
    time.sleep(2.0)
    rclpy.shutdown()


def listen() -> None:
    """Print how many images arrive until the camera is gone; the work of a third process."""
    import rclpy  # noqa: PLC0415 - the settings are read when it starts
    from rclpy.qos import qos_profile_sensor_data  # noqa: PLC0415
    from sensor_msgs.msg import Image  # noqa: PLC0415

    rclpy.init()
    node = rclpy.create_node("bench_transport_listener")
    sizes: list[int] = []

    def take(image: Image) -> None:
        sizes.append(len(image.data))

    node.create_subscription(Image, TOPIC, take, qos_profile_sensor_data)
    deadline, heard = time.monotonic() + _PATIENCE_S, False
    while time.monotonic() < deadline and not (heard and not node.count_publishers(TOPIC)):
        heard = heard or node.count_publishers(TOPIC) > 0
        rclpy.spin_once(node, timeout_sec=0.05)
    print(sum(size == 3 * WIDTH * HEIGHT for size in sizes))
    rclpy.shutdown()


def arrived(profile: Path | None) -> int:
    """Return how many images arrive with a profile, or with none."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if profile is not None:
        environment |= dict.fromkeys(VARIABLES, str(profile))
    listener = subprocess.Popen(
        [sys.executable, __file__, "listen"], env=environment, stdout=subprocess.PIPE, text=True
    )
    camera = subprocess.run([sys.executable, __file__, "publish"], env=environment, check=False)
    said, _ = listener.communicate(timeout=2 * _PATIENCE_S)
    if camera.returncode or listener.returncode:
        sys.exit("a process failed; its message stands above")
    return int(said.split()[-1])


def main() -> int:
    """Measure both."""
    if sys.argv[1:] in (["publish"], ["listen"]):
        publish() if sys.argv[1] == "publish" else listen()
        return 0
    found = {
        "fastdds_defaults": arrived(None),
        "config/fastdds.xml": arrived(share_path("config/fastdds.xml")),
    }
    save(
        "transport",
        {"images": IMAGES, "size": f"{WIDTH}x{HEIGHT}", "rate_hz": RATE_HZ, "arrived": found},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
