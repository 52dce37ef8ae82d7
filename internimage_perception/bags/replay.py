"""The replay: bags in, a bag of results and a report out, through the node's own task.

Reading, decoding, inference and writing overlap; every queue between them is bounded.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from internimage_perception.bags.interrupt import uninterrupted
from internimage_perception.bags.pipeline import Pipeline
from internimage_perception.bags.reader import BagReader, open_bags
from internimage_perception.bags.report import Progress, build_report, write_reports
from internimage_perception.bags.sets import SetSource, learn_lenses, read_set_log
from internimage_perception.bags.sink import ResultSink
from internimage_perception.bags.state import ReplayState
from internimage_perception.errors import BagError, PerceptionError
from internimage_perception.geometry import Rig
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import SEGMENTATION, Bundle
from internimage_perception.inference.collector import CollectorConfig, RigCollector
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.sources import CameraSource, absolute, camera_sources
from internimage_perception.inference.tasks import SegmentationTask

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
        bundle.require_task(SEGMENTATION)
        rig = Rig.load(options.rig) if options.rig else None
        logged = read_set_log(options.set_log) if options.set_log else None
        with open_bags(options.bags) as reader:
            sources, absent = self._sources(reader, rig)
            # Checks the anchor before anything is written.
            RigCollector([item.name for item in sources], options.collector)
            lenses = LensMasks(rig)
            warnings = [*absent, *learn_lenses(reader, sources, lenses)]
            state = ReplayState.open(options, bundle, sources)
            if state.complete is not None:
                self._say(f"{options.out} holds this replay already, complete; nothing to do")
                return state.complete
            for line in warnings:
                self._say(f"warning: {line}")
            backend = create_backend(options.backend, bundle, threads=options.threads or None)
            if backend.frame_sizes is not None and (odd := backend.frame_sizes.misfits(lenses.models)):
                warnings.append(f"the cameras are {odd}")
                self._say(f"warning: {warnings[-1]}")
            # Not before: a backend that cannot start leaves nothing behind.
            state.claim()
            task = SegmentationTask(bundle, backend, lenses)
            report = self._execute(reader, sources, task, logged, warnings)
            state.finish()
            return report

    def _execute(
        self,
        reader: BagReader,
        sources: Sequence[CameraSource],
        task: SegmentationTask,
        logged: Sequence[Mapping[str, object]] | None,
        warnings: Sequence[str],
    ) -> dict[str, object]:
        options, bundle = self._options, task.bundle
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
            pipeline = Pipeline(
                task,
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
                with uninterrupted():
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
                            "backend": task.backend.name,
                            "wall_s": round(pipeline.wall_s, 3),
                            "throughput": pipeline.throughput(),
                            "warnings": [*reader.warnings, *warnings, *pipeline.source.warnings],
                        },
                    )
                    self._write_reports(report, bundle)
        return report

    def _write_reports(self, report: Mapping[str, object], bundle: Bundle) -> None:
        out = self._options.out
        try:
            write_reports(out, report, bundle)
        except (OSError, PerceptionError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            if report["complete"]:
                message = f"cannot write the report to {out}: {reason}; {BAG_FOLDER}/ is whole"
                raise BagError(message) from error
            # What ended the replay is the news; a full disk may have stopped the report too.
            self._say(f"warning: no report in {out}: {reason}")

    def _sources(self, reader: BagReader, rig: Rig | None) -> tuple[list[CameraSource], list[str]]:
        """Return the cameras, and warnings for those that the bags lack."""
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
        return sources, [f"camera {item.name}: {item.image_topic} is not in the bag" for item in missing]


def _names(bags: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in bags)


def _prefer_raw(topics: Sequence[str]) -> list[str]:
    """Leave out the compressed twin of a raw topic."""
    return [
        topic
        for topic in topics
        if topic.removesuffix("/compressed") == topic or topic.removesuffix("/compressed") not in topics
    ]
