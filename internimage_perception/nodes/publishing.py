"""Results as messages: masks, confidence, overlays, label info, timings."""

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.overlay import OverlayPainter
from internimage_perception.inference.parameters import PerceptionParameters
from internimage_perception.inference.results import INVALID_ID, SemanticMask
from internimage_perception.msg import LabelClass, LabelInfo, StageTimings
from internimage_perception.nodes.quality import profile

Pixels = npt.NDArray[np.uint8]


def time_message(stamp_ns: int) -> Time:
    """Return nanoseconds as a ROS time."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def image_message(header: Header, encoding: str, pixels: Pixels) -> Image:
    """Return uint8 (h, w) or (h, w, 3) pixels as an Image."""
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = width * (pixels.shape[2] if pixels.ndim == 3 else 1)
    # An array('B') is taken as it is; any other type is checked byte by byte, half a second per image.
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    message.data = data
    return message


class SegmentationPublishers:
    """The topics of the segmentation task under `~/segmentation`.

    Args:
        node: the owner.
        cameras: names in the rig's order.
        bundle: classes and colours.
        parameters: QoS and overlay width.
    """

    def __init__(
        self, node: LifecycleNode, cameras: Sequence[str], bundle: Bundle, parameters: PerceptionParameters
    ) -> None:
        quality = profile(reliable=parameters.output_reliability == "reliable", depth=parameters.output_depth)
        self._node = node
        self._painter = OverlayPainter(bundle.classes, parameters.overlay_width)
        self._order = bundle.input.channel_order
        self._topics: dict[str, Mapping[str, LifecyclePublisher]] = {
            camera: {
                kind: node.create_lifecycle_publisher(Image, f"~/segmentation/{camera}/{kind}", quality)
                for kind in ("mask", "confidence", "overlay")
            }
            for camera in cameras
        }
        self._timings = node.create_lifecycle_publisher(StageTimings, "~/segmentation/timings", quality)
        latched = profile(reliable=True, depth=1, latched=True)
        # Not a lifecycle publisher: latched data must be out before anyone activates the node.
        self._labels = node.create_publisher(LabelInfo, "~/segmentation/label_info", latched)
        self._labels.publish(label_info(bundle, node.get_clock().now().nanoseconds))

    def publish(self, mask: SemanticMask, image: Pixels) -> None:
        """Publish one camera's mask; confidence and overlay only for who listens."""
        topics = self._topics[mask.camera]
        header = Header(stamp=time_message(mask.stamp_ns), frame_id=mask.frame_id)
        topics["mask"].publish(image_message(header, "mono8", mask.class_ids))
        if topics["confidence"].get_subscription_count():
            topics["confidence"].publish(image_message(header, "mono8", mask.confidence))
        if topics["overlay"].get_subscription_count():
            picture = self._painter.paint(image, mask.class_ids, self._order)
            topics["overlay"].publish(image_message(header, f"{self._order}8", picture))

    def publish_timings(self, message: StageTimings) -> None:
        """Publish where one set's time went."""
        self._timings.publish(message)

    def close(self) -> None:
        """Withdraw all topics."""
        for topics in self._topics.values():
            for publisher in topics.values():
                self._node.destroy_lifecycle_publisher(publisher)
        self._node.destroy_lifecycle_publisher(self._timings)
        self._node.destroy_publisher(self._labels)


def label_info(bundle: Bundle, stamp_ns: int) -> LabelInfo:
    """Return a bundle's classes as a message."""
    classes = [
        LabelClass(id=spec.id, name=spec.name, r=spec.color[0], g=spec.color[1], b=spec.color[2])
        for spec in bundle.classes
    ]
    header = Header(stamp=time_message(stamp_ns))
    return LabelInfo(header=header, model=bundle.name, classes=classes, invalid_id=INVALID_ID)
