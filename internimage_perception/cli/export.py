"""`internimage-perception export`: a bundle's graphs for one precision and size of frames, for vehicles."""

import argparse
import sys
from pathlib import Path

from internimage_perception.cli.bundle_options import check_replaceable, missing_extra
from internimage_perception.cli.export_frames import Image, held_out, hold_out, read_frames, street_frames
from internimage_perception.cli.export_report import export_lines
from internimage_perception.cli.frame_ranges import RANGE, read_range
from internimage_perception.errors import ConfigError
from internimage_perception.inference.bundle import Bundle, ExportSpec
from internimage_perception.inference.export_spec import (
    FP32,
    INT8,
    LARGEST_BATCH,
    LARGEST_SIDE,
    PRECISIONS,
    Range,
)

_FRAMES = 32
_MOST = 3
"""With --dynamic, the largest side is this many times the usual one: 1920x1440 for 640x480."""
_CAMERAS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a model bundle's folder or shipped name")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the export")
    parser.add_argument(
        "--precision", default=FP32, choices=PRECISIONS, help="what the network computes in (default fp32)"
    )
    parser.add_argument(
        "--height", metavar=RANGE, help="rows of the camera's images (default: the network's input)"
    )
    parser.add_argument(
        "--width", metavar=RANGE, help="columns of the camera's images (default: the network's input)"
    )
    parser.add_argument("--batch", metavar=RANGE, help="images of one call (default 1)")
    parser.add_argument(
        "--dynamic", action="store_true",
        help="take images of many sizes: from half to three times the usual side, and one to eight of them, "
        "as far as no ranges are given",
    )  # fmt: skip
    parser.add_argument(
        "--calibrate", type=Path, metavar="BAG|DIR",
        help="real frames: a bag, or a folder of pictures; int8 takes its scales from them, and every "
        "precision is checked on them",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=int, default=_FRAMES, metavar="K",
        help=f"frames for the scales; a quarter as many others are for the check (default {_FRAMES})",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")


def run(options: argparse.Namespace) -> int:
    """Make the export; prints how it was checked."""
    bundle = Bundle.load(options.bundle)
    spec = _spec(options, bundle)
    if options.precision == INT8 and options.calibrate is None:
        raise ConfigError(
            "int8 takes its scales from real frames: add --calibrate BAG, or a folder of pictures"
        )
    if not 2 <= options.frames <= 10_000:
        raise ConfigError(f"--frames is {options.frames}; it must be 2 to 10000")
    try:
        from internimage_perception.deploy import (  # noqa: PLC0415 - needs torch
            ExportFrames,
            check_exportable,
            export_bundle,
        )
    except ImportError as error:
        raise missing_extra(error) from error
    # What is wrong is said before frames are read and rendered.
    check_exportable(bundle, options.out, overwrite=options.overwrite)
    check_replaceable(options.out)
    size, order = (spec.height[1], spec.width[1]), bundle.input.channel_order
    real: list[Image] = []
    calibrated: list[Image] = []
    if options.calibrate is not None:
        frames = read_frames(options.calibrate, held_out(options.frames), size, order)
        calibrated, real = hold_out(frames)
        use = f"{len(calibrated)} to calibrate with, " if spec.precision == INT8 else ""
        print(f"{options.calibrate}: {len(frames)} frames: {use}{len(real)} to check with")
    checked: dict[str, list[Image]] = {}
    try:
        checked["street"] = street_frames(size, order)
    except ImportError as error:
        print(f"note: no check on rendered streets: {error.name} is missing (extra `sim`)", file=sys.stderr)
    given = ExportFrames({**checked, "given": real}, calibrated)
    made = export_bundle(bundle, options.out, spec, given, overwrite=options.overwrite)
    print(f"{made.root}: {made.name}, {', '.join(made.files)}")
    for line in export_lines(made.export or spec):
        print(f"  {line}")
    return 0


def _spec(options: argparse.Namespace, bundle: Bundle) -> ExportSpec:
    return ExportSpec(
        precision=options.precision,
        batch=_range("batch", options.batch, 1, LARGEST_BATCH, dynamic=options.dynamic),
        height=_range("height", options.height, bundle.input.height, LARGEST_SIDE, dynamic=options.dynamic),
        width=_range("width", options.width, bundle.input.width, LARGEST_SIDE, dynamic=options.dynamic),
    )


def _range(name: str, text: str | None, default: int, largest: int, *, dynamic: bool) -> Range:
    """Return (least, usual, most). Raises ConfigError for a text that says none."""
    found = (default,) * 3 if text is None else read_range(f"--{name}", text, largest)
    if dynamic and ":" not in (text or ""):
        usual = found[1]
        least, most = (1, max(usual, _CAMERAS)) if name == "batch" else (max(1, usual // 2), _MOST * usual)
        return least, usual, min(most, largest)
    return found
