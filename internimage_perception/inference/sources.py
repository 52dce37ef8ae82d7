"""Which topics belong to which camera: from a rig file, or from topic names alone."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from internimage_perception.errors import ConfigError
from internimage_perception.geometry import Rig

_IMAGE_WORDS = re.compile(r"^(image(_raw|_rect|_color|_rect_color|_mono)?|compressed|raw|rgb)$")


@dataclass(frozen=True, slots=True)
class CameraSource:
    """A camera's name and topics; a node resolves topics without a leading slash in its namespace."""

    name: str
    image_topic: str
    info_topic: str


def absolute(topic: str) -> str:
    """Return a topic with its leading slash; some recorders leave it out."""
    return topic if topic.startswith(("/", "~")) else f"/{topic}"


def info_topic_of(image_topic: str) -> str:
    """Return the CameraInfo topic that belongs to an image topic by ROS convention: its sibling."""
    parts = image_topic.split("/")
    if len(parts) > 2 and parts[-1] in ("compressed", "raw"):
        parts.pop()
    return "/".join([*parts[:-1], "camera_info"])


def camera_name_of(image_topic: str) -> str:
    """Return a camera name made of a topic's own words, such as `front` for `/cam/front/image_raw`.

    The words that say "image" are left out; the last one that remains names the camera.
    """
    words = [word for word in image_topic.split("/") if word]
    names = [word for word in words if not _IMAGE_WORDS.match(word)] or words
    return _topic_word(names[-1]) if names else "camera"


def _topic_word(text: str) -> str:
    """Return `text` as a word that can be part of a ROS topic: ASCII, no digit in front."""
    word = re.sub(r"\W", "_", text, flags=re.ASCII)
    return word if word[:1].isalpha() else f"camera_{word.strip('_')}".rstrip("_")


def parse_topics(entries: Iterable[str]) -> list[CameraSource]:
    """Read `name=/topic` entries, or topics alone. Raises ConfigError for empty or repeated ones."""
    found: list[CameraSource] = []
    explicit: list[str] = []
    for entry in entries:
        name, equals, topic = entry.rpartition("=")
        if not topic.strip() or (equals and not name.strip()):
            raise ConfigError(f"image topic {entry!r} is incomplete; write name=/topic, or the topic alone")
        topic = topic.strip()
        if equals and not re.fullmatch(r"[A-Za-z]\w*", name.strip(), re.ASCII):
            message = f"camera name {name.strip()!r} cannot be part of a topic; use letters, digits and _"
            raise ConfigError(message)
        if equals and name.strip() in explicit:
            raise ConfigError(f"camera {name.strip()} is given two topics; name each of them differently")
        explicit.append(name.strip())
        found.append(CameraSource(name.strip() or camera_name_of(topic), topic, info_topic_of(topic)))
    topics = [absolute(source.image_topic) for source in found]
    if repeated := {topic for topic in topics if topics.count(topic) > 1}:
        raise ConfigError(f"image topic given twice: {', '.join(sorted(repeated))}")
    names = [source.name for source in found]
    for index, source in enumerate(found):
        if names.count(source.name) > 1 and not explicit[index]:
            # The last word alone does not tell these apart: take the whole path.
            longer = _topic_word(source.image_topic.strip("/"))
            found[index] = CameraSource(longer, source.image_topic, source.info_topic)
    return found


def camera_sources(rig: Rig | None, image_topics: Sequence[str]) -> list[CameraSource]:
    """Return the cameras of a rig, or of a list of topics; topics given beside a rig replace the rig's.

    Raises ConfigError when neither names a camera, or a topic names a camera that the rig lacks.
    """
    given = parse_topics(image_topics)
    if rig is None:
        if not given:
            raise ConfigError("no cameras: give a rig file, or image topics as name=/topic")
        return given
    by_name = {source.name: source for source in given}
    if unknown := [name for name in by_name if name not in rig.cameras]:
        message = (
            f"camera {unknown[0]!r} is not in the rig ({', '.join(rig.cameras)}); name it as name=/topic"
        )
        raise ConfigError(message)
    found: list[CameraSource] = []
    for name, camera in rig.cameras.items():
        if name in by_name:
            found.append(by_name[name])
            continue
        if not camera.image_topic:
            raise ConfigError(f"camera {name} of the rig has no image_topic; add it, or give {name}=/topic")
        info_topic = camera.info_topic or info_topic_of(camera.image_topic)
        found.append(CameraSource(name, camera.image_topic, info_topic))
    return found
