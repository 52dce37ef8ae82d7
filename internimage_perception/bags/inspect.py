"""Say what a bag holds and what will go wrong with it, before hours are spent on a replay."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from statistics import median

from internimage_perception.bags.reader import BagReader, TopicInfo, open_bags
from internimage_perception.errors import PerceptionError
from internimage_perception.geometry import CameraModel, camera_from_info
from internimage_perception.inference.frames import Frame
from internimage_perception.inference.messages import frame_from_message
from internimage_perception.inference.sources import info_topic_of

_SAMPLE = 50
"""Images per topic that are looked at: enough for a rate, little enough for any length of bag."""

_SCAN_FACTOR = 4
_FEW = 0.8
_FAR_NS = 1_000_000_000
_FIRST_WALL_CLOCK_NS = 10**17  # Before 1973: a simulation's time, or none.


@dataclass(frozen=True, slots=True)
class CameraDescription:
    """An image topic.

    Attributes:
        topic: its name.
        encoding: of sensor_msgs/Image, or the format of a CompressedImage; "" when nothing could be read.
        width: columns; 0 when the first image cannot be decoded.
        height: rows; 0 likewise.
        frame_id: the header's.
        count: number of images.
        rate_hz: images per second at the start of the bag; None with fewer than two.
        stamp_age_ns: median time from an image's stamp to its recording, nanoseconds; None without stamps.
        info_topic: the CameraInfo topic that belongs to it by name, "" if the bag lacks it.
        info_count: number of its messages.
        lens: the camera model in words, "" if unknown.
    """

    topic: str
    encoding: str
    width: int
    height: int
    frame_id: str
    count: int
    rate_hz: float | None
    stamp_age_ns: int | None
    info_topic: str
    info_count: int
    lens: str


@dataclass(frozen=True, slots=True)
class BagDescription:
    """What a bag holds.

    Attributes:
        paths: the bags.
        start_ns: receive time of the first message, nanoseconds.
        duration_ns: time to the last one, nanoseconds.
        message_count: number of messages.
        topics: all topics.
        cameras: the image topics among them.
        warnings: what will disturb a replay, in words.
    """

    paths: tuple[str, ...]
    start_ns: int
    duration_ns: int
    message_count: int
    topics: tuple[TopicInfo, ...]
    cameras: tuple[CameraDescription, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


@dataclass(slots=True)
class _Sample:
    """The first images of a topic."""

    first: Frame | None = None
    receive_ns: list[int] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def rate_hz(self) -> float | None:
        if len(self.receive_ns) < 2 or self.receive_ns[-1] <= self.receive_ns[0]:
            return None
        return (len(self.receive_ns) - 1) * 1e9 / (self.receive_ns[-1] - self.receive_ns[0])

    @property
    def stamp_age_ns(self) -> int | None:
        pairs = zip(self.receive_ns, self.stamps_ns, strict=True)
        ages = [receive - stamp for receive, stamp in pairs if stamp]
        return round(median(ages)) if ages else None


def describe_bag(paths: str | Path | Sequence[str | Path]) -> BagDescription:
    """Describe a bag (or several as one) from its index, its first images and its CameraInfo.

    Raises BagError when it cannot be opened.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    with open_bags(given) as bag:
        samples = _sample(bag)
        warnings = list(bag.warnings)
        cameras = []
        for topic in bag.image_topics():
            sample = samples[topic.name]
            cameras.append(_describe_camera(bag, topic, sample))
            warnings += [f"{topic.name}: {warning}" for warning in sample.warnings]
        warnings += _imbalance(cameras)
        if not cameras:
            warnings.append("no images: neither sensor_msgs/Image nor CompressedImage")
        if bag.damaged:
            warnings.append(f"{bag.damaged} messages or places that were looked at are damaged")
        return BagDescription(
            paths=tuple(map(str, given)),
            start_ns=bag.start_ns,
            duration_ns=bag.duration_ns,
            message_count=bag.message_count(),
            topics=tuple(bag.topics.values()),
            cameras=tuple(cameras),
            warnings=tuple(warnings),
        )


def _sample(bag: BagReader) -> dict[str, _Sample]:
    """Look at the first images of every image topic, and not for long at those of rare ones."""
    wanted = {topic.name: min(topic.count, _SAMPLE) for topic in bag.image_topics()}
    samples = {name: _Sample() for name in wanted}
    if not wanted:
        return samples
    left = _SCAN_FACTOR * _SAMPLE * len(wanted)
    for item in bag.messages(wanted):
        sample = samples[item.topic]
        if wanted[item.topic]:
            wanted[item.topic] -= 1
            try:
                frame = frame_from_message(item.message, item.topic, item.receive_ns)
            except PerceptionError as error:
                sample.warnings.append(f"a message cannot be read: {error}")
                continue
            sample.first = sample.first or frame
            sample.receive_ns.append(frame.receive_ns)
            sample.stamps_ns.append(frame.stamp_ns)
        left -= 1
        if not left or not any(wanted.values()):
            break
    return samples


def _describe_camera(bag: BagReader, topic: TopicInfo, sample: _Sample) -> CameraDescription:
    frame, width, height = sample.first, 0, 0
    if frame is not None:
        try:
            height, width = frame.decode().shape[:2]
        except PerceptionError as error:
            sample.warnings.append(f"the first image cannot be decoded: {error}")
    else:
        sample.warnings.append("no image was found where the bag begins")
    name = info_topic_of(topic.name)
    info = bag.topics.get(name)
    camera = _lens(bag, name, sample) if info is not None and info.count else None
    if info is None or not info.count:
        sample.warnings.append(f"no CameraInfo on {name}: without a rig file its lens is unknown")
    elif info.count > 2 * topic.count:
        sample.warnings.append(f"{info.count} CameraInfo, but {topic.count} images: images were lost")
    if camera is not None and width and (camera.width, camera.height) != (width, height):
        sizes = f"{camera.width}x{camera.height} but the images {width}x{height}"
        sample.warnings.append(f"CameraInfo is for {sizes}: calibration and camera do not fit")
    sample.warnings += _stamp_warnings(sample)
    return CameraDescription(
        topic=topic.name,
        encoding=frame.encoding if frame else "",
        width=width,
        height=height,
        frame_id=frame.frame_id if frame else "",
        count=topic.count,
        rate_hz=sample.rate_hz,
        stamp_age_ns=sample.stamp_age_ns,
        info_topic=name if info is not None else "",
        info_count=info.count if info is not None else 0,
        lens=f"{camera.model} {camera.width}x{camera.height}, fx {camera.fx:.1f} px" if camera else "",
    )


def _lens(bag: BagReader, info_topic: str, sample: _Sample) -> CameraModel | None:
    try:
        for item in bag.messages([info_topic]):
            return camera_from_info(item.message)
    except PerceptionError as error:
        sample.warnings.append(f"its CameraInfo is of no use: {error}")
    return None


def _stamp_warnings(sample: _Sample) -> Iterator[str]:
    stamps = sample.stamps_ns
    if zeros := stamps.count(0):
        share = "no image has" if zeros == len(stamps) else f"{zeros} of {len(stamps)} images lack"
        yield f"{share} a stamp (it is 0): such images cannot be matched with other cameras'"
    elif back := sum(after <= before for before, after in pairwise(stamps)):
        yield f"{back} of {len(stamps)} images are not stamped later than the one before"
    age = sample.stamp_age_ns
    if age is not None and abs(age) > _FAR_NS:
        side = "before" if age > 0 else "after"
        apart = f"{abs(age) / 1e9:.1f} s"
        yield f"images are stamped {apart} {side} they were recorded: clocks differ, or the link is slow"


def _imbalance(cameras: Sequence[CameraDescription]) -> Iterator[str]:
    most = max((camera.count for camera in cameras), default=0)
    for camera in cameras:
        if camera.count < _FEW * most:
            yield f"{camera.topic}: {camera.count} images where another camera has {most}: sets will lack it"


def _lines(bag: BagDescription) -> Iterator[str]:
    seconds = bag.duration_ns / 1e9
    yield f"{', '.join(bag.paths)}: {bag.message_count} messages in {seconds:.3f} s, from {_when(bag)}"
    width = max((len(topic.name) for topic in bag.topics), default=0)
    for topic in bag.topics:
        latched = ", latched" if topic.latched else ""
        yield f"  {topic.name:<{width}}  {topic.count:>7}  {topic.msgtype}{latched}"
    for camera in bag.cameras:
        rate = f"{camera.rate_hz:.1f} Hz" if camera.rate_hz is not None else "rate unknown"
        age = (
            f"{camera.stamp_age_ns / 1e6:.1f} ms after its stamp"
            if camera.stamp_age_ns is not None
            else "no stamp"
        )
        size = f"{camera.width}x{camera.height}" if camera.width else "size unknown"
        yield f"camera {camera.topic}: {size} {camera.encoding or 'unknown'}, {rate}, recorded {age}"
        yield f"  frame {camera.frame_id or '(none)'}, lens {camera.lens or 'unknown'}"
    for warning in bag.warnings:
        yield f"warning: {warning}"


def _when(bag: BagDescription) -> str:
    if bag.start_ns < _FIRST_WALL_CLOCK_NS:
        return f"{bag.start_ns / 1e9:.3f} s (no wall clock)"
    return datetime.fromtimestamp(bag.start_ns / 1e9, tz=timezone.utc).isoformat(sep=" ", timespec="seconds")
