"""`internimage-perception demo`: drive along a generated street, segment it, and compare with the truth."""

import argparse
import os
import time
from pathlib import Path

from internimage_perception.bags.replay import ReplayOptions
from internimage_perception.cli import evaluate
from internimage_perception.cli.classes import read_classes
from internimage_perception.cli.outputs import claim_folder
from internimage_perception.cli.replay import replay_with_progress, summary
from internimage_perception.cli.replayed import Replayed
from internimage_perception.cli.scene import RIG, require_sim, resized, scene_progress
from internimage_perception.cli.strip import write_strip
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.evaluation.truth import TruthFolder
from internimage_perception.geometry import Rig
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import SEGMENTATION, Bundle
from internimage_perception.resources import share_path

HONEST = (
    "The street is synthetic: scores on it show that everything works together, "
    "and say little about real roads."
)
MODEL = "nano"

_STREET, _REPLAY, _EVALUATION, _STRIP = "street", "replay", "evaluation", "strip.jpg"
_BACKEND = "onnxruntime"
_SIZE, _FRAMES, _MOMENTS = "640x480", 25, 2
_SMALL_SIZE, _SMALL_FRAMES = "320x240", 4
# A process takes seconds to start and hundreds of megabytes.
_MOST_WORKERS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for everything made")
    parser.add_argument(
        "--model", type=Path, default=Path(MODEL), metavar="BUNDLE",
        help=f"folder of a model bundle for the classes of config/classes.yaml, or the name of a shipped "
        f"one (default {MODEL})",
    )  # fmt: skip
    parser.add_argument("--frames", type=int, help=f"images per camera, at 10 Hz (default {_FRAMES})")
    parser.add_argument("--size", metavar="WxH", help=f"size of the images (default {_SIZE})")
    parser.add_argument("--seed", type=int, default=0, help="of the street; all are held out from training")
    parser.add_argument(
        "--small", action="store_true",
        help=f"quick look: {_SMALL_FRAMES} images per camera, {_SMALL_SIZE}",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Record, replay, evaluate, and say where to look."""
    frames = options.frames if options.frames is not None else (_SMALL_FRAMES if options.small else _FRAMES)
    if frames < 1:
        raise ConfigError(f"--frames is {frames}; at least 1 image per camera is needed")
    if options.seed < 0:
        raise ConfigError(f"--seed is {options.seed}; it must be 0 or more")
    size = options.size or (_SMALL_SIZE if options.small else _SIZE)
    rig = resized(Rig.load(share_path(RIG)), size)
    bundle = _model(options.model)
    require_sim()
    out: Path = options.out
    claim_folder(out, "demo", (_STREET, _REPLAY, _EVALUATION, _STRIP))
    shape = f"{bundle.input.width}x{bundle.input.height}"
    print(f"model: {bundle.name}, {len(bundle.classes)} classes, input {shape}", flush=True)

    start = time.monotonic()
    bag, rig_file = _record(out / _STREET, rig, options.seed, frames)
    cameras = ", ".join(rig.cameras)
    print(f"1/3 recording: {frames} images of {size} each from {cameras}{_took(start)}", flush=True)

    start = time.monotonic()
    report = replay_with_progress(
        ReplayOptions(bags=[bag], bundle=bundle.root, out=out / _REPLAY, rig=rig_file, backend=_BACKEND)
    )
    print(f"2/3 replay: {summary(report)}{_took(start)}", flush=True)

    start = time.monotonic()
    replayed, truth = Replayed(out / _REPLAY, [bag], bundle, rig_file), TruthFolder.find([bag])
    scores, _ = evaluate.evaluate_replay(replayed, truth, bundle, out / _EVALUATION)
    write_strip(out / _STRIP, replayed, bundle.classes, truth=truth, moments=_MOMENTS)
    print(f"3/3 evaluation: {evaluate.means(scores)}{_took(start)}")
    print(HONEST)
    print(f"pictures: {out / _STRIP}")
    print(f"report of the replay: {out / _REPLAY / 'report.html'}")
    print(f"report of the evaluation: {out / _EVALUATION / evaluate.HTML}")
    return 0


def _model(path: Path) -> Bundle:
    """Return the bundle, once it is sure that it can be run and its classes are the street's."""
    bundle = Bundle.load(path)
    bundle.require_task(SEGMENTATION)
    file = share_path("config/classes.yaml")
    names, wanted = ([spec.name for spec in classes] for classes in (bundle.classes, read_classes(file)))
    if names != wanted:
        raise BundleError(
            f"the classes of {bundle.root} are {', '.join(names)}; the street's truth is in those of "
            f"{file.name}: {', '.join(wanted)}"
        )
    create_backend(_BACKEND, bundle)
    return bundle


def _record(folder: Path, rig: Rig, seed: int, frames: int) -> tuple[Path, Path]:
    """Record a drive along a held-out street; returns the bag and the rig file."""
    from internimage_perception.data.street import recording  # noqa: PLC0415 - needs the extra `sim`

    spec = recording.RecordingSpec(seed=seed, split="test", frames=frames)
    workers = min(len(os.sched_getaffinity(0)), _MOST_WORKERS)
    progress = scene_progress(rig)
    try:
        recording.record_street(
            folder, rig, spec, workers=workers, on_set=lambda done: progress(done, frames)
        )
    finally:
        progress.close()
    return folder / recording.BAG_FOLDER, folder / recording.RIG_FILE


def _took(start: float) -> str:
    return f" ({time.monotonic() - start:.1f} s)"
