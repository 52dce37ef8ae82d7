"""The stages of a replay: read and group, decode, infer, write; they overlap, every queue is bounded."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from internimage_perception.bags.handover import Handover
from internimage_perception.bags.interrupt import uninterrupted
from internimage_perception.bags.report import Progress
from internimage_perception.bags.sets import SetSource
from internimage_perception.bags.sink import ResultSink
from internimage_perception.inference.frames import FrameSet
from internimage_perception.inference.results import SegmentationResult
from internimage_perception.inference.tasks import DecodedSet, SegmentationTask


@dataclass(frozen=True, slots=True, eq=False)
class _Finished:
    position: int
    decoded: DecodedSet
    result: SegmentationResult
    latency_ns: int


_Waiting = tuple[int, FrameSet, "Future[DecodedSet] | None"]


class Pipeline:
    """Passes sets from a source through a task into a sink; inference runs in the caller's thread.

    Args:
        task: what to compute.
        make_source: makes the source, given the function that paces it.
        sink: takes the results.
        decoders: threads that decode ahead.
        on_progress: called after every set.
        real_time: keep the recorded pace; sets that come too fast give way.
    """

    def __init__(
        self,
        task: SegmentationTask,
        make_source: Callable[[Callable[[int], None]], SetSource],
        sink: ResultSink,
        decoders: ThreadPoolExecutor,
        on_progress: Callable[[Progress], None],
        real_time: bool,
    ) -> None:
        self._task = task
        self.source = make_source(self.pace)
        self._sink = sink
        self._decoders = decoders
        self._on_progress = on_progress
        self._real_time = real_time
        self._to_infer: Handover[_Waiting] = Handover(1, on_drop=self._give_way) if real_time else Handover(3)
        self._to_write: Handover[_Finished] = Handover(3)
        self._write_failure: BaseException | None = None
        self._pace_offset: float | None = None
        self.overrun: dict[str, int] = {}
        self.finished = self.images = 0
        self.wall_s = 0.0

    def pace(self, recorded_ns: int) -> None:
        """Sleep until a recorded moment comes round (real time only)."""
        if not self._real_time:
            return
        if self._pace_offset is None:
            self._pace_offset = time.monotonic() - recorded_ns * 1e-9
        while (left := recorded_ns * 1e-9 + self._pace_offset - time.monotonic()) > 0:
            if self._to_infer.closed:
                return
            time.sleep(min(left, 0.1))

    def throughput(self) -> dict[str, float]:
        """Return sets and images per second of this run, from the first frame read to the last written."""
        seconds = max(self.wall_s, 1e-9)
        return {
            "sets": self.finished,
            "images": self.images,
            "sets_per_s": round(self.finished / seconds, 3),
            "images_per_s": round(self.images / seconds, 3),
        }

    def _give_way(self, waiting: _Waiting) -> None:
        for camera in waiting[1].frames:
            self.overrun[camera] = self.overrun.get(camera, 0) + 1

    def run(self) -> None:
        """Run to the end, or to the first failure of any stage."""
        start = time.monotonic()
        reader = threading.Thread(target=self._read, name="replay-read", daemon=True)
        writer = threading.Thread(target=self._write, name="replay-write", daemon=True)
        reader.start()
        writer.start()
        try:
            for position, frame_set, future in self._to_infer:
                decoded = future.result() if future is not None else self._task.decode(frame_set)
                began = time.monotonic_ns()
                result = self._task.infer(decoded)
                # Decoding ran ahead in another thread; a vehicle would have waited for it.
                latency = time.monotonic_ns() - began + decoded.decode_ns
                if not self._to_write.put(_Finished(position, decoded, result, latency)):
                    break
        finally:
            # The sink belongs to the writer until it has ended, however impatient somebody is.
            with uninterrupted():
                self._to_infer.abandon()
                reader.join()
                self._to_write.close()
                writer.join()
                self.wall_s = time.monotonic() - start
        if self._write_failure is not None:
            raise self._write_failure

    def _read(self) -> None:
        try:
            for position, frame_set in enumerate(self.source.sets()):
                if position < self._sink.next_set:
                    continue
                future = None if self._real_time else self._decoders.submit(self._task.decode, frame_set)
                if not self._to_infer.put((position, frame_set, future)):
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for sets
            self._to_infer.close(error)
        else:
            self._to_infer.close()

    def _write(self) -> None:
        frames = 0
        try:
            for item in self._to_write:
                self._sink.write(
                    item.position, item.decoded.frame_set, item.decoded.images, item.result, item.latency_ns
                )
                self.finished += 1
                self.images += len(item.result.masks)
                frames = sum(stats.received for stats in self.source.stats.values())
                self._on_progress(Progress(frames, self.source.total, self.finished))
        except BaseException as error:  # noqa: BLE001 - raised by the thread that infers
            self._write_failure = error
            self._to_write.abandon()
