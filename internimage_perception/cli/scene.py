"""`internimage-perception scene`: a drive along a generated street as a bag, with the truth beside it."""

import argparse
import dataclasses
import importlib
import re
import time
from pathlib import Path

from internimage_perception.cli.progress import ResumableProgress
from internimage_perception.errors import ConfigError
from internimage_perception.geometry import Rig
from internimage_perception.resources import share_path

RIG = "config/rigs/four_fisheye.yaml"
_SIDES = (32, 4096)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for bag, truth and rig"
    )
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help=f"cameras with lens and pose (default: {RIG})"
    )
    parser.add_argument("--frames", type=int, default=100, help="images per camera (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the street and the cameras' noise")
    parser.add_argument(
        "--split", choices=("train", "test"), default="train",
        help="held-out streets (test) share no seed, texture or family of shapes with training",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=float, default=10.0, metavar="HZ", help="images per second (default 10)"
    )
    parser.add_argument("--speed", type=float, default=8.0, metavar="M/S", help="of the car (default 8)")
    parser.add_argument("--size", metavar="WxH", help="size of the images instead of the rig's")
    parser.add_argument("--samples", type=int, choices=(1, 4), default=4, help="rays per pixel (default 4)")
    parser.add_argument("--compressed", action="store_true", help="JPEG instead of raw images")
    parser.add_argument(
        "--ego-masks", action="store_true",
        help="mask the own car in the recorded rig: it is then neither answered nor scored",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes that render (default 1)")


def run(options: argparse.Namespace) -> int:
    """Record the drive, or go on with it, and say where it lies."""
    for name, lowest in (("frames", 1), ("seed", 0), ("workers", 1)):
        if (value := int(getattr(options, name))) < lowest:
            raise ConfigError(f"--{name} is {value}; it must be {lowest} or more")
    if not 0.1 <= options.rate <= 1000.0:
        raise ConfigError(f"--rate is {options.rate}; it must be from 0.1 to 1000 images per second")
    if not 0.0 <= options.speed <= 40.0:
        raise ConfigError(f"--speed is {options.speed}; it must be from 0 to 40 m/s")
    require_sim()
    from internimage_perception.data.street import recording  # noqa: PLC0415  # needs the extra `sim`

    rig = Rig.load(options.rig or share_path(RIG))
    if options.size:
        rig = resized(rig, options.size)
    spec = recording.RecordingSpec(
        seed=options.seed, split=options.split, frames=options.frames, rate_hz=options.rate,
        speed_mps=options.speed, samples=options.samples, compressed=options.compressed,
        ego_masks=options.ego_masks,
    )  # fmt: skip
    progress = scene_progress(rig)
    start = time.monotonic()
    try:
        recording.record_street(
            options.out,
            rig,
            spec,
            workers=options.workers,
            on_set=lambda done: progress(done, options.frames),
        )
    finally:
        progress.close()
    cameras = ", ".join(rig.cameras)
    print(f"{options.frames} images each of {cameras} ({time.monotonic() - start:.1f} s)")
    print(f"bag: {options.out / recording.BAG_FOLDER}")
    print(f"truth: {options.out / recording.TRUTH_FOLDER}")
    print(f"rig: {options.out / recording.RIG_FILE}")
    return 0


def scene_progress(rig: Rig) -> ResumableProgress:
    """Return what says how far the recording of a rig has come."""
    return ResumableProgress("images per camera", ("images", len(rig.cameras)))


def require_sim() -> None:
    """Raise ConfigError, saying what to install, where streets cannot be rendered."""
    try:
        importlib.import_module("internimage_perception.data.street.recording")
    except ImportError as error:
        raise ConfigError(
            f"{error}: the street needs the extra `sim`; pip install 'internimage_perception[sim]'"
        ) from error


def resized(rig: Rig, text: str) -> Rig:
    """Return the rig, without ego masks, for images of a size such as "640x480". Raises ConfigError."""
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    low, high = _SIDES
    if match is None or not all(low <= int(side) <= high for side in match.groups()):
        raise ConfigError(f"--size is {text!r}; write WIDTHxHEIGHT in pixels, each from {low} to {high}")
    width, height = int(match[1]), int(match[2])
    cameras = {
        name: dataclasses.replace(
            item,
            ego_mask=None,
            camera=item.camera.resized(width, height) if item.camera is not None else None,
        )
        for name, item in rig.cameras.items()
    }
    return Rig(cameras, rig.base_frame)
