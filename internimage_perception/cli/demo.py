"""`internimage-perception demo`: a generated street, replayed through a model with random weights."""

import argparse
import re
import time
from pathlib import Path

from internimage_perception.bags.replay import BAG_FOLDER, ReplayOptions
from internimage_perception.cli.demo_model import HONEST, make_demo_bundle, require_deploy
from internimage_perception.cli.outputs import claim_folder
from internimage_perception.cli.replay import replay_with_progress, summary
from internimage_perception.cli.strip import write_strip
from internimage_perception.data.scene import StreetScene, demo_rig
from internimage_perception.data.scene_bag import write_scene_bag
from internimage_perception.errors import ConfigError

_MADE = ("scene", "rig", "model", "replay", "strip.jpg")
_SIZE = (640, 480)
_FRAMES = 20
_SMALL_SIZE, _SMALL_FRAMES = (320, 240), 4
_SIDES = (32, 2048)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for everything made")
    parser.add_argument("--frames", type=int, help=f"images per camera, at 10 Hz (default {_FRAMES})")
    parser.add_argument("--size", metavar="WxH", help="size of the images (default 640x480)")
    parser.add_argument("--seed", type=int, default=0, help="of street and weights")
    parser.add_argument(
        "--small", action="store_true", help=f"quick look: {_SMALL_FRAMES} images per camera, 320x240"
    )


def run(options: argparse.Namespace) -> int:
    """Make the recording and the model, replay, and say where to look."""
    print(HONEST, flush=True)
    width, height = _size(options.size) if options.size else (_SMALL_SIZE if options.small else _SIZE)
    frames = options.frames if options.frames is not None else (_SMALL_FRAMES if options.small else _FRAMES)
    if frames < 1:
        raise ConfigError(f"--frames is {frames}; at least 1 image per camera is needed")
    if options.seed < 0:
        raise ConfigError(f"--seed is {options.seed}; it must be 0 or more")
    out: Path = options.out
    require_deploy()
    claim_folder(out, "demo", _MADE)

    start = time.monotonic()
    bundle = make_demo_bundle(out / "model", options.seed)
    size = f"{bundle.input.width}x{bundle.input.height}"
    print(f"1/3 model: {bundle.name}, {len(bundle.classes)} classes, input {size}{_took(start)}", flush=True)

    start = time.monotonic()
    scene = StreetScene(demo_rig(width, height), seed=options.seed)
    scene.rig.save(out / "rig" / "rig.yaml")
    write_scene_bag(out / "scene", scene, frames=frames, seed=options.seed)
    cameras = ", ".join(scene.rig.cameras)
    print(f"2/3 recording: {frames} images of {width}x{height} from {cameras}{_took(start)}", flush=True)

    start = time.monotonic()
    report = replay_with_progress(
        ReplayOptions(
            bags=[out / "scene"], bundle=out / "model", out=out / "replay", rig=out / "rig" / "rig.yaml",
            backend="onnxruntime",
        )
    )  # fmt: skip
    print(f"3/3 replay: {summary(report)}{_took(start)}")
    topics = {name: camera.image_topic for name, camera in scene.rig.cameras.items()}
    write_strip(out / "strip.jpg", [out / "scene"], out / "replay" / BAG_FOLDER, topics)
    print(f"report: {out / 'replay' / 'report.html'}")
    print(f"pictures: {out / 'strip.jpg'}")
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    low, high = _SIDES
    if match is None or not all(low <= int(side) <= high for side in match.groups()):
        raise ConfigError(f"--size is {text!r}; write WIDTHxHEIGHT in pixels, each from {low} to {high}")
    return int(match[1]), int(match[2])


def _took(start: float) -> str:
    return f" ({time.monotonic() - start:.1f} s)"
