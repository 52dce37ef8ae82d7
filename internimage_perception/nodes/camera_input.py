"""One camera's topics: an image subscription that follows its publishers, and its CameraInfo."""

from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from internimage_perception.errors import PerceptionError
from internimage_perception.geometry import CameraModel, camera_from_info
from internimage_perception.inference.frames import Frame
from internimage_perception.inference.messages import frame_from_message
from internimage_perception.inference.parameters import PerceptionParameters
from internimage_perception.inference.sources import CameraSource
from internimage_perception.nodes.quality import all_latched, profile, publishers_of

_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}


class CameraInput:
    """Subscribes one camera and hands its frames on; nothing that arrives can raise out of it.

    Subscribes best-effort first, which any publisher can serve, and changes to what the publishers offer
    once they are discovered; likewise between Image and CompressedImage.

    Args:
        node: the node that owns the subscriptions.
        source: the camera's name and topics.
        parameters: reliability, depth and conversion of the subscription.
        on_frame: takes every frame.
        on_bad_frame: takes (camera, reason) of what cannot become one.
        on_model: takes the camera model of every new CameraInfo.
        complain: takes (key, message) of what is wrong.
    """

    def __init__(
        self,
        node: LifecycleNode,
        source: CameraSource,
        parameters: PerceptionParameters,
        on_frame: Callable[[Frame], None],
        on_bad_frame: Callable[[str, str], None],
        on_model: Callable[[str, CameraModel], None],
        complain: Callable[[str, str], None],
    ) -> None:
        self.source = source
        # As `ros2 topic list` shows them: in the namespace, remapped.
        self.topic = node.resolve_topic_name(source.image_topic)
        self.info_topic = node.resolve_topic_name(source.info_topic) if source.info_topic else ""
        self.received = 0
        self.last_receive_ns: int | None = None
        self.last_age_ns = 0
        self.info_seen = False
        self._node = node
        self._parameters = parameters
        self._on_frame = on_frame
        self._on_bad_frame = on_bad_frame
        self._on_model = on_model
        self._complain = complain
        self._bridge = _bridge() if parameters.image_conversion == "cv_bridge" else None
        self._type = CompressedImage if source.image_topic.endswith("/compressed") else Image
        self._reliable = parameters.input_reliability == "reliable"
        self._images = self._subscribe()
        self._last_info: tuple[object, ...] | None = None
        self._latched_info = False
        self._info = self._subscribe_info() if source.info_topic else None

    def follow(self) -> int:
        """Adopt the type and quality of service that the publishers offer; returns how many there are."""
        self._follow_info()
        topic = self.topic
        count, reliable, types = publishers_of(self._node, topic)
        if count == 0:
            return 0
        usable = [_TYPES[name] for name in sorted(types) if name in _TYPES]
        if not usable:
            self._complain(topic, f"{topic} carries {', '.join(sorted(types))}, not images")
            return count
        wanted_type = self._type if self._type in usable else usable[0]
        wanted_reliable = (
            reliable
            if self._parameters.input_reliability == "auto"
            else self._parameters.input_reliability == "reliable"
        )
        if (wanted_type, wanted_reliable) != (self._type, self._reliable):
            self._type, self._reliable = wanted_type, wanted_reliable
            self._node.destroy_subscription(self._images)
            self._images = self._subscribe()
            kind = "reliable" if self._reliable else "best effort"
            self._node.get_logger().info(f"{topic}: following its publishers ({self._type.__name__}, {kind})")
        return count

    def close(self) -> None:
        """End both subscriptions."""
        self._node.destroy_subscription(self._images)
        if self._info is not None:
            self._node.destroy_subscription(self._info)

    def _subscribe(self) -> Subscription:
        quality = profile(reliable=self._reliable, depth=self._parameters.input_depth)
        return self._node.create_subscription(self._type, self.source.image_topic, self._take_image, quality)

    def _follow_info(self) -> None:
        if self._info is None:
            return
        latched = all_latched(self._node, self.info_topic)
        # Who says it once, latched, would never be heard otherwise.
        if latched is not None and latched != self._latched_info:
            self._latched_info = latched
            self._node.destroy_subscription(self._info)
            self._info = self._subscribe_info()

    def _subscribe_info(self) -> Subscription:
        # Best effort: any publisher of CameraInfo can serve it.
        quality = profile(reliable=self._latched_info, depth=1, latched=self._latched_info)
        return self._node.create_subscription(CameraInfo, self.source.info_topic, self._take_info, quality)

    def _take_image(self, message: Image | CompressedImage) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        self.received += 1
        self.last_receive_ns = now_ns
        try:
            frame = frame_from_message(message, self.source.name, now_ns)
            self.last_age_ns = now_ns - frame.stamp_ns
            if self._bridge is not None:
                frame = _converted(self._bridge, message, frame)
            self._on_frame(frame)
        except PerceptionError as error:
            self._on_bad_frame(self.source.name, str(error))
        except Exception as error:  # noqa: BLE001 - an exception that left a callback would end the process
            self._on_bad_frame(self.source.name, f"unexpected {type(error).__name__}: {error}")

    def _take_info(self, message: CameraInfo) -> None:
        self.info_seen = True
        # It comes with every image, and nearly always says the same.
        key = _lens_key(message)
        if key == self._last_info:
            return
        self._last_info = key
        try:
            self._on_model(self.source.name, camera_from_info(message))
        except PerceptionError as error:
            self._complain(self.info_topic, f"{self.info_topic}: {error}")
        except Exception as error:  # noqa: BLE001 - an exception that left a callback would end the process
            reason = f"unexpected {type(error).__name__}: {error}"
            self._complain(self.info_topic, f"{self.info_topic}: {reason}")


def _lens_key(info: CameraInfo) -> tuple[object, ...]:
    roi = info.roi
    return (
        info.width, info.height, info.distortion_model, info.k.tobytes(), tuple(info.d), info.binning_x,
        info.binning_y, roi.x_offset, roi.y_offset, roi.width, roi.height,
    )  # fmt: skip


def _bridge() -> object:
    try:
        from cv_bridge import CvBridge  # noqa: PLC0415 - only who chooses it needs it
    except ImportError as error:
        message = "image_conversion is cv_bridge, but that package is not installed; install it or use native"
        raise PerceptionError(message) from error
    return CvBridge()


def _converted(bridge: object, message: Image | CompressedImage, frame: Frame) -> Frame:
    """Return the frame as cv_bridge decodes it."""
    try:
        if frame.compressed:
            pixels = bridge.compressed_imgmsg_to_cv2(message, desired_encoding="rgb8")  # type: ignore[attr-defined]
        else:
            pixels = bridge.imgmsg_to_cv2(message, desired_encoding="rgb8")  # type: ignore[attr-defined]
    except Exception as error:  # cv_bridge raises its own and OpenCV's kinds
        raise PerceptionError(f"cv_bridge cannot decode it: {error}") from error
    height, width = pixels.shape[:2]
    return Frame(
        frame.camera, frame.frame_id, frame.stamp_ns, frame.receive_ns, width, height,
        "rgb8", 3 * width, np.ascontiguousarray(pixels).reshape(-1),
    )  # fmt: skip
