"""The segmentation task: a `FrameSet` becomes class masks. The same code live and in replay."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import PerceptionError
from internimage_perception.inference.backends import Backend
from internimage_perception.inference.bundle import SEGMENTATION, Bundle
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.results import SegmentationResult, SemanticMask

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSet:
    """A FrameSet with its pixels.

    Attributes:
        frame_set: where the pixels come from.
        images: camera name to uint8 (h, w, 3) in the bundle's channel order.
        errors: camera name to the reason its frame could not be decoded, or is of a size that the backend
            does not take.
        decode_ns: duration of decoding in nanoseconds.
    """

    frame_set: FrameSet
    images: Mapping[str, Image]
    errors: Mapping[str, str] = field(default_factory=dict)
    decode_ns: int = 0


class SegmentationTask:
    """Turns FrameSets into class masks.

    `decode` and `infer` may run in different threads, so that replay overlaps them; `run` does both.

    Args:
        bundle: the model; its task must be segmentation.
        backend: the bundle's graph, ready to run.
        lenses: what the lenses see; None leaves masks whole.
        decoders: threads that decode a set's cameras side by side; None decodes one after another.

    Raises:
        BundleError: when the bundle is for another task.
    """

    name = SEGMENTATION

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        lenses: LensMasks | None = None,
        decoders: Executor | None = None,
    ) -> None:
        bundle.require_task(self.name)
        self.bundle = bundle
        self.backend = backend
        self.lenses = lenses or LensMasks()
        self._sizes = backend.frame_sizes
        self._decoders = decoders

    def run(self, frame_set: FrameSet) -> SegmentationResult:
        """Return the masks of all cameras whose frames can be used, and the reasons for the others."""
        return self.infer(self.decode(frame_set))

    def decode(self, frame_set: FrameSet) -> DecodedSet:
        """Return the pixels of a set; frames that cannot be decoded or run end in `errors`."""
        start = time.perf_counter_ns()
        frames = list(frame_set.frames.values())
        pixels: Iterable[Image | str]
        if self._decoders is not None and len(frames) > 1:
            pixels = self._decoders.map(self._decode_one, frames)
        else:
            pixels = map(self._decode_one, frames)
        images: dict[str, Image] = {}
        errors: dict[str, str] = {}
        for frame, result in zip(frames, pixels, strict=True):
            if isinstance(result, str):
                errors[frame.camera] = result
            else:
                images[frame.camera] = result
        return DecodedSet(frame_set, images, errors, time.perf_counter_ns() - start)

    def infer(self, decoded: DecodedSet) -> SegmentationResult:
        """Return the masks of a decoded set. Raises BackendError when the graph itself fails."""
        infer_ns = finish_ns = 0
        masks: dict[str, SemanticMask] = {}
        errors = dict(decoded.errors)
        for cameras in self._batches(decoded.images):
            start = time.perf_counter_ns()
            if len(cameras) == 1:
                batch = decoded.images[cameras[0]][None]
            else:
                batch = np.stack([decoded.images[name] for name in cameras])
            outputs = self.backend.run(batch)
            infer_ns += time.perf_counter_ns() - start
            start = time.perf_counter_ns()
            for index, name in enumerate(cameras):
                frame = decoded.frame_set.frames[name]
                try:
                    masks[name] = self._finish(
                        frame, batch.shape[1:3], outputs["class_ids"][index], outputs["confidence"][index]
                    )
                except PerceptionError as error:
                    errors[name] = str(error)
            finish_ns += time.perf_counter_ns() - start
        order = decoded.frame_set.frames
        return SegmentationResult(
            masks={name: masks[name] for name in order if name in masks},
            errors=errors,
            stages_ns={"decode": decoded.decode_ns, "infer": infer_ns, "finish": finish_ns},
        )

    def _decode_one(self, frame: Frame) -> Image | str:
        try:
            image = frame.decode(self.bundle.input.channel_order)
        except PerceptionError as error:
            return str(error)
        height, width = image.shape[:2]
        # Before batching: in a batch of its own or with others, it would fail the whole set.
        if self._sizes is not None and not self._sizes.take(height, width):
            return self._sizes.refusal(height, width)
        # Rows may be padded in a view of the message; graphs want them dense.
        return np.ascontiguousarray(image)

    def _batches(self, images: Mapping[str, Image]) -> list[list[str]]:
        if not self.backend.prefers_batch:
            return [[name] for name in images]
        by_shape: dict[tuple[int, ...], list[str]] = {}
        for name, image in images.items():
            by_shape.setdefault(image.shape, []).append(name)
        return list(by_shape.values())

    def _finish(self, frame: Frame, image_hw: tuple[int, ...], ids: Image, confidence: Image) -> SemanticMask:
        height, width = image_hw
        blind = self.lenses.blind(frame.camera, (height, width), (ids.shape[0], ids.shape[1]))
        if blind is not None:
            # 255 or anything is 255; 0 leaves the class as it is.
            ids = np.bitwise_or(ids, blind)
            confidence = np.bitwise_and(confidence, np.bitwise_not(blind))
        return SemanticMask(
            camera=frame.camera,
            frame_id=frame.frame_id,
            stamp_ns=frame.stamp_ns,
            class_ids=ids,
            confidence=confidence,
            image_width=width,
            image_height=height,
        )
