"""A drive through the generated street as a rosbag2 recording."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from internimage_perception.data.camera_bag import CameraBagWriter
from internimage_perception.data.scene import StreetScene

_START_NS = 1_700_000_000_000_000_000
_MS = 1_000_000


def write_scene_bag(
    folder: Path,
    scene: StreetScene,
    *,
    frames: int,
    rate_hz: float = 10.0,
    speed_mps: float = 8.0,
    seed: int = 0,
    on_frame: Callable[[int], None] = lambda _: None,
) -> None:
    """Drive along the street and record every camera of the scene's rig.

    The cameras are not quite synchronous: each fires up to 3 ms off the common moment, jitters by 0.3 ms,
    and reaches the recorder 10 to 30 ms later, so that the order of arrival varies. What a picture shows
    belongs to its own stamp.

    Args:
        folder: of the bag; it must not hold anything yet.
        scene: street and rig.
        frames: images per camera.
        rate_hz: images per second and camera.
        speed_mps: of the car, metres per second.
        seed: of the jitter.
        on_frame: called with the number of images per camera written so far.

    Raises:
        BagError: the folder cannot be written.
    """
    rng = np.random.default_rng(seed)
    names = list(scene.rig.cameras)
    offsets_ms = rng.uniform(-3.0, 3.0, len(names))
    with CameraBagWriter(folder, scene.rig) as bag:
        for index in range(frames):
            moment_ns = _START_NS + round(index * 1e9 / rate_hz)
            fired_ms = offsets_ms + rng.normal(0.0, 0.3, len(names))
            arrived_ms = fired_ms + rng.uniform(10.0, 30.0, len(names))
            for number in np.argsort(arrived_ms):
                stamp_ns = moment_ns + round(fired_ms[number] * _MS)
                travelled_m = (stamp_ns - _START_NS) * 1e-9 * speed_mps
                image = scene.render(names[number], travelled_m)
                bag.write(names[number], image, stamp_ns, moment_ns + round(arrived_ms[number] * _MS))
            on_frame(index + 1)
