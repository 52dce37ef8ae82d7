"""A drive along a street as a rosbag2 recording with the truth beside it, rendered by several processes."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.bags.types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, make_header
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.data.camera_bag import camera_info, compressed_image, raw_image, static_transforms
from internimage_perception.data.processes import results_in_order
from internimage_perception.data.street.birds_eye import birds_eye
from internimage_perception.data.street.odometry import ODOM_TYPE, odometry_message, transform_message
from internimage_perception.data.street.render import render
from internimage_perception.data.street.rig_view import fit_ego, lens_of, with_ego_masks
from internimage_perception.data.street.seeds import Split, stream
from internimage_perception.data.street.street import Street
from internimage_perception.data.street.truth import write_truth
from internimage_perception.geometry import Rig

Bytes = npt.NDArray[np.uint8]
# Its number, and the images or JPEG files by camera.
_Set = tuple[int, dict[str, Bytes | bytes]]

BAG_FOLDER, TRUTH_FOLDER, RIG_FILE = "bag", "truth", "rig.yaml"
ODOM_TOPIC, TF_TOPIC, TF_STATIC_TOPIC = "/odom", "/tf", "/tf_static"
_START_NS = 1_700_000_000_000_000_000
_MS = 1_000_000
# A kill costs at most this many sets of images; more sets per segment make better compression.
_SETS_PER_SEGMENT = 10
# Per process; a set of images takes megabytes.
_SETS_AHEAD = 2
_POSES_PER_SET = 5
_KEY = "internimage_perception.scene"
_VERSION = 1


@dataclass(frozen=True)
class RecordingSpec:
    """What is recorded; the same specification and rig give the same bytes.

    Attributes:
        seed: of the street and of the cameras' noise.
        split: "train" or "test".
        frames: images per camera.
        rate_hz: images per second and camera.
        speed_mps: of the car.
        samples: rays per pixel, 1 or 4.
        compressed: JPEG instead of raw images.
        ego_masks: the recorded rig masks the own car. Masked pixels get no class from a replay and are not
            scored; without masks, the own car is a class to see, Background.
    """

    seed: int
    split: Split = "train"
    frames: int = 100
    rate_hz: float = 10.0
    speed_mps: float = 8.0
    samples: int = 4
    compressed: bool = False
    ego_masks: bool = False

    def stamp_ns(self, index: int) -> int:
        """Return the stamp of all images of set `index`."""
        return _START_NS + round(index * 1e9 / self.rate_hz)


def record_street(
    folder: Path,
    rig: Rig,
    spec: RecordingSpec,
    *,
    workers: int = 1,
    on_set: Callable[[int], None] = lambda _: None,
) -> None:
    """Record a drive, or go on where an earlier call with the same arguments was interrupted.

    Args:
        folder: gets `bag`, `truth` and `rig.yaml`; see docs/street.md.
        rig: every camera with lens and pose. Its ego masks are replaced: see `RecordingSpec.ego_masks`.
        spec: what to record.
        workers: processes that render; the result does not depend on it.
        on_set: called with the number of sets of images recorded so far.

    Raises:
        BagError: the folder holds another recording or cannot be written.
        CalibrationError: a camera lacks lens or pose.
    """
    rig = _renamed(rig, compressed=spec.compressed)
    if spec.ego_masks:
        rig = with_ego_masks(rig)
    described = json.dumps({"version": _VERSION, **dataclasses.asdict(spec), "rig": _fingerprint(rig)})
    metadata = {_KEY: described}
    with SegmentedBagWriter(folder / BAG_FOLDER, metadata=metadata) as bag:
        rig.save(folder / RIG_FILE)
        for leftover in (folder / TRUTH_FOLDER).rglob(".*.part"):
            leftover.unlink(missing_ok=True)
        done = int(bag.notes[-1]) if bag.notes else 0
        on_set(done)
        drive = _Drive(bag, rig, spec)
        rendered = results_in_order(
            partial(_renderer, folder, rig, spec), range(done, spec.frames), workers,
            ahead=_SETS_AHEAD, name="rendering process",
        )  # fmt: skip
        for index, images in rendered:
            drive.write(index, images)
            if (index + 1) % _SETS_PER_SEGMENT == 0 or index + 1 == spec.frames:
                bag.roll(str(index + 1))
            on_set(index + 1)


def _renamed(rig: Rig, *, compressed: bool) -> Rig:
    """Return the rig without ego masks, topics ending in /compressed or not, as the images demand."""
    suffix = "/compressed"
    cameras = {}
    for name, camera in rig.cameras.items():
        plain = camera.image_topic.removesuffix(suffix)
        frame = camera.frame_id or f"camera_{name}_optical"
        topic = plain + suffix if compressed else plain
        cameras[name] = dataclasses.replace(camera, image_topic=topic, frame_id=frame, ego_mask=None)
    return Rig(cameras, rig.base_frame)


def _fingerprint(rig: Rig) -> str:
    described = [rig.base_frame]
    for camera in rig.cameras.values():
        lens, pose = lens_of(camera)
        described.append(
            json.dumps(
                [
                    camera.name,
                    camera.frame_id,
                    camera.image_topic,
                    camera.info_topic,
                    lens.to_dict(),
                    pose.tolist(),
                ]
            )
        )
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:16]


class _Drive:
    """Turns rendered sets into messages, in the order a recorder would have got them."""

    def __init__(self, bag: SegmentedBagWriter, rig: Rig, spec: RecordingSpec) -> None:
        self._bag, self._rig, self._spec = bag, rig, spec
        self._street = Street.generate(spec.seed, split=spec.split, speed_mps=spec.speed_mps)
        for camera in rig.cameras.values():
            bag.add_topic(camera.image_topic, COMPRESSED_IMAGE if spec.compressed else IMAGE)
            if camera.info_topic:
                bag.add_topic(camera.info_topic, CAMERA_INFO)
        bag.add_topic(TF_STATIC_TOPIC, "tf2_msgs/msg/TFMessage", latched=True)
        bag.add_topic(TF_TOPIC, "tf2_msgs/msg/TFMessage")
        bag.add_topic(ODOM_TOPIC, ODOM_TYPE)
        self._first = True

    def write(self, index: int, images: dict[str, Bytes | bytes]) -> None:
        spec, stamp = self._spec, self._spec.stamp_ns(index)
        if self._first or index % _SETS_PER_SEGMENT == 0:
            # Once per segment, so that a recording resumed there has the same bytes.
            self._bag.write(TF_STATIC_TOPIC, static_transforms(self._rig, spec.stamp_ns(0)), stamp)
            self._first = False
        events: list[tuple[int, str, object]] = []
        for part in range(_POSES_PER_SET):
            at = stamp + round(part * 1e9 / spec.rate_hz / _POSES_PER_SET)
            motion = self._street.motion((at - _START_NS) * 1e-9)
            base = self._rig.base_frame
            pose = transform_message(at, base, motion.street_from_base)
            odometry = odometry_message(at, base, motion)
            events += [(at + _MS, TF_TOPIC, pose), (at + _MS, ODOM_TOPIC, odometry)]
        rng = stream(spec.split, spec.seed, 8, index)
        for name, image in images.items():
            camera = self._rig.camera(name)
            header = make_header(stamp, camera.frame_id)
            arrival = stamp + round(float(rng.uniform(10.0, 30.0)) * _MS)
            if spec.compressed:
                message = compressed_image(header, image)
            else:
                message = raw_image(header, np.asarray(image, np.uint8))
            events.append((arrival, camera.image_topic, message))
            if camera.info_topic:
                events.append((arrival, camera.info_topic, camera_info(header, lens_of(camera)[0])))
        for arrival, topic, message in sorted(events, key=lambda event: event[0]):
            self._bag.write(topic, message, arrival)


class _Renderer:
    """Renders single sets of images; each process has one."""

    def __init__(self, folder: Path, rig: Rig, spec: RecordingSpec) -> None:
        self._truth, self._rig, self._spec = folder / TRUTH_FOLDER, rig, spec
        self._street = Street.generate(spec.seed, split=spec.split, speed_mps=spec.speed_mps)
        self._ego = fit_ego(rig)

    def render(self, index: int) -> _Set:
        """Render set `index`, write its truth, and return its images or JPEG files by camera."""
        spec, stamp = self._spec, self._spec.stamp_ns(index)
        moment = self._street.at((stamp - _START_NS) * 1e-9, ego=self._ego)
        frames = {}
        for number, (name, camera) in enumerate(self._rig.cameras.items()):
            rng = stream(spec.split, spec.seed, 7, index, number)
            frames[name] = render(moment, *lens_of(camera), samples=spec.samples, rng=rng)
        seen = {int(i) for frame in frames.values() for i in np.unique(frame.instance_ids)}
        write_truth(self._truth, stamp, moment, frames, birds_eye(moment, self._rig, seen))
        images: dict[str, Bytes | bytes] = {name: frame.image for name, frame in frames.items()}
        if spec.compressed:
            for name, frame in frames.items():
                images[name] = np.asarray(cv2.imencode(".jpg", frame.image[..., ::-1])[1]).tobytes()
        return index, images


def _renderer(folder: Path, rig: Rig, spec: RecordingSpec) -> Callable[[int], _Set]:
    return _Renderer(folder, rig, spec).render
