"""Results into a bag: the same topics and messages that the node publishes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.bags.types import make_header, make_message
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.errors import BagError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.frames import FrameSet
from internimage_perception.inference.overlay import OverlayPainter
from internimage_perception.inference.results import INVALID_ID, SegmentationResult, SemanticMask

PREFIX = "/perception/segmentation"
TIMINGS = f"{PREFIX}/timings"
_JPEG_QUALITY = 80


class ResultSink:
    """Writes masks, overlays, label info and timings, one segment after another.

    Args:
        folder: the bag's folder; an unfinished one of the same replay is continued.
        cameras: names in the rig's order.
        bundle: classes and colours.
        overlay_width: columns of the overlay pictures; 0 writes none.
        confidence: write confidence images too.
        segment_sets: sets per segment; a kill loses at most the last, unfinished segment.
    """

    def __init__(
        self,
        folder: Path,
        cameras: Sequence[str],
        bundle: Bundle,
        *,
        overlay_width: int = 640,
        confidence: bool = False,
        segment_sets: int = 100,
    ) -> None:
        self._order = bundle.input.channel_order
        self._painter = OverlayPainter(bundle.classes, overlay_width) if overlay_width else None
        self._confidence = confidence
        self._segment_sets = segment_sets
        self._in_segment = 0
        self._labels_pending = True
        self._bundle = bundle
        self._writer = SegmentedBagWriter(folder)
        self._dirty = False
        self._next_set = max((json.loads(note)["next_set"] for note in self._writer.notes if note), default=0)
        for camera in cameras:
            self._writer.add_topic(f"{PREFIX}/{camera}/mask", "sensor_msgs/msg/Image")
            if confidence:
                self._writer.add_topic(f"{PREFIX}/{camera}/confidence", "sensor_msgs/msg/Image")
            if overlay_width:
                name = f"{PREFIX}/{camera}/overlay/compressed"
                self._writer.add_topic(name, "sensor_msgs/msg/CompressedImage")
        self._writer.add_topic(TIMINGS, "internimage_perception/msg/StageTimings")
        labels = f"{PREFIX}/label_info"
        self._writer.add_topic(labels, "internimage_perception/msg/LabelInfo", latched=True)

    @property
    def next_set(self) -> int:
        """Position of the first set that no finished segment holds."""
        return self._next_set

    def write(
        self,
        position: int,
        frame_set: FrameSet,
        images: Mapping[str, npt.NDArray[np.uint8]],
        result: SegmentationResult,
        latency_ns: int,
    ) -> None:
        """Write one set's results with the stamps of its images.

        Args:
            position: running number of the set in this replay.
            frame_set: the set.
            images: the decoded images, for overlays.
            result: what the task answered.
            latency_ns: time from decoding to result, nanoseconds.
        """
        self._dirty = True
        receive_ns = max(frame.receive_ns for frame in frame_set.frames.values())
        if self._labels_pending:
            self._writer.write(f"{PREFIX}/label_info", self._label_info(frame_set.stamp_ns), receive_ns)
            self._labels_pending = False
        for mask in result.masks.values():
            self._write_mask(mask, images[mask.camera], receive_ns)
        self._writer.write(TIMINGS, _timings(frame_set, result, latency_ns), receive_ns)
        self._next_set = position + 1
        self._dirty = False
        self._in_segment += 1
        if self._in_segment >= self._segment_sets:
            self.roll()

    def roll(self) -> None:
        """Finish the current segment: what it holds is safe from now on."""
        if self._in_segment:
            self._writer.roll(json.dumps({"next_set": self._next_set}))
            self._in_segment = 0

    def close(self) -> None:
        """Finish the last segment and the bag; one that ends amid a set is discarded."""
        if self._dirty:
            self._writer.abort()
            return
        self.roll()
        self._writer.close()

    def _write_mask(self, mask: SemanticMask, image: npt.NDArray[np.uint8], receive_ns: int) -> None:
        base = f"{PREFIX}/{mask.camera}"
        header = make_header(mask.stamp_ns, mask.frame_id)
        self._writer.write(f"{base}/mask", _image(header, mask.class_ids), receive_ns)
        if self._confidence:
            self._writer.write(f"{base}/confidence", _image(header, mask.confidence), receive_ns)
        if self._painter is not None:
            picture = self._painter.paint(image, mask.class_ids, self._order)
            if self._order == "rgb":
                picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8)
            good, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            if not good:
                raise BagError(f"camera {mask.camera}: the overlay cannot be encoded as JPEG")
            message = make_message(
                "sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=data.reshape(-1)
            )
            self._writer.write(f"{base}/overlay/compressed", message, receive_ns)

    def _label_info(self, stamp_ns: int) -> object:
        kind = "internimage_perception/msg/LabelClass"
        classes = [
            make_message(kind, id=spec.id, name=spec.name, r=spec.color[0], g=spec.color[1], b=spec.color[2])
            for spec in self._bundle.classes
        ]
        return make_message(
            "internimage_perception/msg/LabelInfo",
            header=make_header(stamp_ns, ""),
            model=self._bundle.name,
            classes=classes,
            invalid_id=INVALID_ID,
        )


def _timings(frame_set: FrameSet, result: SegmentationResult, latency_ns: int) -> object:
    return make_message(
        "internimage_perception/msg/StageTimings",
        header=make_header(frame_set.stamp_ns, "base_link"),
        task="segmentation",
        set_index=frame_set.index % 2**32,
        cameras=list(result.masks),
        errors=[f"{camera}: {reason}" for camera, reason in result.errors.items()],
        missing=list(frame_set.missing),
        stages=list(result.stages_ns),
        durations_ns=np.array(list(result.stages_ns.values()), np.uint64),
        latency_ns=latency_ns,
    )


def _image(header: object, pixels: npt.NDArray[np.uint8]) -> object:
    height, width = pixels.shape
    return make_message(
        "sensor_msgs/msg/Image",
        header=header,
        height=height,
        width=width,
        encoding="mono8",
        is_bigendian=0,
        step=width,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )
