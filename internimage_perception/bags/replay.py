"""The replay: bags in, a bag of results and a report out, through the node's own task.

Reading, decoding, inference and writing overlap; every queue between them is bounded.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from internimage_perception.bags.handover import Handover
from internimage_perception.bags.reader import BagReader, open_bags
from internimage_perception.bags.report import Progress, build_report, write_reports
from internimage_perception.bags.sets import SetSource, learn_lenses, read_set_log
from internimage_perception.bags.sink import ResultSink
from internimage_perception.bags.state import ReplayState
from internimage_perception.errors import BagError
from internimage_perception.geometry import Rig
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.collector import CollectorConfig
from internimage_perception.inference.frames import FrameSet
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.results import SegmentationResult
from internimage_perception.inference.sources import CameraSource, absolute, camera_sources
from internimage_perception.inference.tasks import DecodedSet, SegmentationTask

BAG_FOLDER = "bag"


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, with what, and how.

    Attributes:
        bags: bags, read as one, by receive time.
        bundle: folder of the model.
        out: folder of the results.
        rig: rig file; None takes the bag's image topics and CameraInfo.
        topics: `name=/topic` entries, or topics alone; empty takes the rig's or all image topics.
        backend: name of the backend.
        threads: CPU threads of the graph; 0 leaves it to the backend.
        real_time: feed frames at the pace they were recorded; what comes too late gives way, as live.
        collector: how frames are grouped.
        set_log: a node's set log, to form exactly its sets.
        overlay_width: columns of overlay pictures; 0 writes none.
        confidence: write confidence images too.
        segment_sets: sets per segment of the output bag.
        overwrite: replace another replay's results in `out`.
    """

    bags: Sequence[Path]
    bundle: Path
    out: Path
    rig: Path | None = None
    topics: Sequence[str] = ()
    backend: str = "auto"
    threads: int = 0
    real_time: bool = False
    collector: CollectorConfig = field(default_factory=CollectorConfig)
    set_log: Path | None = None
    overlay_width: int = 640
    confidence: bool = False
    segment_sets: int = 100
    overwrite: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Finished:
    position: int
    decoded: DecodedSet
    result: SegmentationResult
    latency_ns: int


class Replay:
    """One replay, from opening the bags to the report.

    Args:
        options: what to do.
        on_progress: called after every set, for a progress bar.
        say: takes lines for people (warnings, what is resumed).
    """

    def __init__(
        self,
        options: ReplayOptions,
        on_progress: Callable[[Progress], None] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._on_progress = on_progress or (lambda _: None)
        self._say = say

    def run(self) -> dict[str, object]:
        """Replay and return the report.

        Raises PerceptionError for what cannot be read, matched or written; KeyboardInterrupt after the
        finished parts were closed and marked as incomplete.
        """
        options = self._options
        bundle = Bundle.load(options.bundle)
        rig = Rig.load(options.rig) if options.rig else None
        with open_bags(options.bags) as reader:
            sources = self._sources(reader, rig)
            lenses = LensMasks(rig)
            warnings = learn_lenses(reader, sources, lenses)
            state = ReplayState.open(options, bundle, sources)
            if state.complete is not None:
                self._say(f"{options.out} holds this replay already, complete; nothing to do")
                return state.complete
            for line in warnings:
                self._say(f"warning: {line}")
            report = self._execute(reader, sources, bundle, lenses, warnings)
            state.finish()
            return report

    def _execute(
        self,
        reader: BagReader,
        sources: Sequence[CameraSource],
        bundle: Bundle,
        lenses: LensMasks,
        warnings: Sequence[str],
    ) -> dict[str, object]:
        options = self._options
        backend = create_backend(options.backend, bundle, threads=options.threads or None)
        logged = read_set_log(options.set_log) if options.set_log else None
        sink = ResultSink(
            options.out / BAG_FOLDER,
            [item.name for item in sources],
            bundle,
            overlay_width=options.overlay_width,
            confidence=options.confidence,
            segment_sets=options.segment_sets,
        )
        if sink.next_set:
            self._say(f"resuming after {sink.next_set} sets: finished segments are kept")
        with ThreadPoolExecutor(max(2, min(4, len(sources))), "decode") as decoders:
            pipeline = _Pipeline(
                SegmentationTask(bundle, backend, lenses),
                lambda pace: SetSource(reader, sources, options.collector, logged, pace),
                sink,
                decoders,
                self._on_progress,
                options.real_time,
            )
            complete = False
            try:
                pipeline.run()
                complete = True
            finally:
                # Also after a failure or Ctrl-C: what is finished is kept, and marked as a part.
                sink.close()
                report = build_report(
                    options.out / BAG_FOLDER,
                    sources=sources,
                    stats=pipeline.source.stats,
                    unreadable=pipeline.source.unreadable,
                    overrun=pipeline.overrun,
                    facts={
                        "complete": complete,
                        "bags": [str(path) for path in options.bags],
                        "model": bundle.name,
                        "bundle": bundle.identity(),
                        "backend": backend.name,
                        "wall_s": round(pipeline.wall_s, 3),
                        "throughput": pipeline.throughput(),
                        "warnings": [*reader.warnings, *warnings, *pipeline.source.warnings],
                    },
                )
                write_reports(options.out, report, bundle)
        return report

    def _sources(self, reader: BagReader, rig: Rig | None) -> list[CameraSource]:
        available = [topic.name for topic in reader.image_topics()]
        topics = list(self._options.topics)
        if rig is None and not topics:
            topics = _prefer_raw(available)
            if not topics:
                known = ", ".join(sorted(reader.topics)) or "none"
                raise BagError(f"no image topics in {_names(self._options.bags)}; topics there: {known}")
        sources = [
            CameraSource(item.name, absolute(item.image_topic), absolute(item.info_topic))
            for item in camera_sources(rig, topics)
        ]
        missing = [item for item in sources if item.image_topic not in available]
        if len(missing) == len(sources) or (missing and topics):
            names = ", ".join(item.image_topic for item in missing)
            message = (
                f"{names} not in {_names(self._options.bags)}; image topics there: "
                f"{', '.join(available) or 'none'}; choose with --topics name=/topic"
            )
            raise BagError(message)
        for item in missing:
            self._say(f"warning: camera {item.name}: {item.image_topic} is not in the bag")
        return sources


def _names(bags: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in bags)


def _prefer_raw(topics: Sequence[str]) -> list[str]:
    """Leave out the compressed twin of a raw topic."""
    return [
        topic
        for topic in topics
        if topic.removesuffix("/compressed") == topic or topic.removesuffix("/compressed") not in topics
    ]


_Waiting = tuple[int, FrameSet, "Future[DecodedSet] | None"]


class _Pipeline:
    """Three stages: read and group, infer (the caller's thread), write."""

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
