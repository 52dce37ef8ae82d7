"""List the pictures of a bag once, so that each can be found again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from internimage_perception.bags.reader import BagReader
from internimage_perception.errors import BagError, CalibrationError, ConfigError, ImageError
from internimage_perception.geometry import CameraModel, Rig, camera_from_info
from internimage_perception.inference.messages import frame_from_message
from internimage_perception.inference.sources import CameraSource, absolute, camera_sources


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a bag.

    Attributes:
        name: camera and stamp.
        camera: name.
        topic: of the message.
        stamp_ns: of the picture, nanoseconds; that of receiving it where the driver set none.
        receive_ns: when it was recorded, nanoseconds.
        place: among the messages of its topic that were received at that time.
    """

    name: str
    camera: str
    topic: str
    stamp_ns: int
    receive_ns: int
    place: int


@dataclass(frozen=True, slots=True)
class BagIndex:
    """The pictures of a bag.

    Attributes:
        shots: in the order of their cameras, then stamps.
        lenses: by camera, where they are known.
        notes: what people should know.
    """

    shots: tuple[Shot, ...]
    lenses: Mapping[str, CameraModel]
    notes: tuple[str, ...] = ()


def index_bag(reader: BagReader, bag: Path, rig: Rig | None, cameras: Sequence[str]) -> BagIndex:
    """Return the pictures of a bag's cameras, reading all of it once.

    Args:
        reader: the open bag.
        bag: its path, for complaints.
        rig: names its cameras and knows their lenses; None: names are made of the topics.
        cameras: whose pictures are wanted; empty: all.

    Raises:
        BagError: there are no pictures of these cameras.
        ConfigError: no such camera.
    """
    topics = [topic.name for topic in reader.image_topics() if topic.count]
    if not topics:
        raise BagError(f"{bag} has no pictures: no messages of sensor_msgs/Image or CompressedImage")
    sources = camera_sources(rig, [] if rig is not None else topics)
    sources = [source for source in sources if absolute(source.image_topic) in topics]
    names = [source.name for source in sources]
    if missing := [name for name in cameras if name not in names]:
        raise ConfigError(f"{bag} has no camera {missing[0]!r}; its cameras are {', '.join(names) or 'none'}")
    sources = [source for source in sources if not cameras or source.name in cameras]
    if not sources:
        raise BagError(f"{bag} has pictures on {', '.join(topics)}, but none of a camera of the rig")
    shots, damaged = _shots(reader, sources)
    if not shots:
        raise BagError(f"{bag}: none of its pictures can be read")
    notes = [f"{damaged} damaged messages left out"] if damaged else []
    lenses: dict[str, CameraModel] = {}
    for source in sources:
        try:
            lens = _lens(reader, source, rig)
        except CalibrationError as error:
            notes.append(f"no lens of camera {source.name}: {error}")
            continue
        if lens is not None:
            lenses[source.name] = lens
    return BagIndex(tuple(shots), lenses, tuple(notes))


def _shots(reader: BagReader, sources: Sequence[CameraSource]) -> tuple[list[Shot], int]:
    by_topic = {absolute(source.image_topic): source.name for source in sources}
    found: dict[str, Shot] = {}
    seen: dict[tuple[str, int], int] = {}
    damaged = 0
    for message in reader.messages(list(by_topic)):
        moment = (message.topic, message.receive_ns)
        place = seen[moment] = seen.get(moment, -1) + 1
        camera = by_topic[message.topic]
        try:
            frame = frame_from_message(message.message, camera, message.receive_ns)
        except (BagError, ImageError):
            damaged += 1
            continue
        stamp_ns = frame.stamp_ns or message.receive_ns
        name, number = f"{camera}/{stamp_ns}", 2
        while name in found:
            name, number = f"{camera}/{stamp_ns}_{number}", number + 1
        found[name] = Shot(name, camera, message.topic, stamp_ns, message.receive_ns, place)
    order = {source.name: number for number, source in enumerate(sources)}
    return sorted(found.values(), key=lambda shot: (order[shot.camera], shot.stamp_ns, shot.name)), damaged


def _lens(reader: BagReader, source: CameraSource, rig: Rig | None) -> CameraModel | None:
    """Return the lens of the rig, or of the first CameraInfo that can be read. Raises CalibrationError."""
    if rig is not None and (lens := rig.cameras[source.name].camera) is not None:
        return lens
    topic = absolute(source.info_topic)
    if topic not in {item.name for item in reader.camera_info_topics()}:
        return None
    for message in reader.messages([topic]):
        if message.error is None:
            if rig is not None:
                return rig.with_info(source.name, message.message).cameras[source.name].camera
            return camera_from_info(message.message)
    return None
