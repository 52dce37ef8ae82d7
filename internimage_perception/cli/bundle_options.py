"""What the commands that make bundles ask for in the same words, and check in the same way."""

import argparse
import re
from pathlib import Path

from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.bundle import MANIFEST, Bundle, InputSpec

_SEGMENTATION_SIZE = (512, 1024)


def add_trust_argument(parser: argparse._ActionsContainer) -> None:
    """Declare --trust-pickle."""
    parser.add_argument(
        "--trust-pickle", action="store_true",
        help="let a .pth file run code while it is read; only for sources you trust",
    )  # fmt: skip


def add_bundle_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the options on input, output and name of a bundle."""
    parser.add_argument(
        "--height", type=int, help="rows of the network's input (default 512; a classifier's as published)"
    )
    parser.add_argument(
        "--width", type=int, help="columns of the network's input (default 1024; a classifier's as published)"
    )
    parser.add_argument(
        "--output-size", default="model", metavar="model|input|HxW",
        help="size of the masks: the network's input, the image, or a fixed one (default model); classifiers "
        "have none",
    )  # fmt: skip
    parser.add_argument(
        "--channel-order", default="rgb", choices=("rgb", "bgr"),
        help="order in which frames are handed over; bgr saves a conversion for bgr8 cameras",
    )  # fmt: skip
    parser.add_argument("--name", help="the model's name in outputs (default: that of the folder)")


def check_input_size(options: argparse.Namespace) -> None:
    """Raise ConfigError for a --height or --width that no network takes."""
    for side in ("height", "width"):
        if (given := getattr(options, side)) is not None and not 32 <= given <= 16384:
            raise ConfigError(f"--{side} is {given}; it must be 32 to 16384 pixels")


def parse_output_size(text: str) -> str | tuple[int, int]:
    """Return "model", "input" or (rows, columns). Raises ConfigError for other texts."""
    if text in ("model", "input"):
        return text
    match = re.fullmatch(r"(\d+)x(\d+)", text.lower())
    if match is None or not all(1 <= int(side) <= 16384 for side in match.groups()):
        raise ConfigError(f"--output-size is {text!r}; write model, input, or HEIGHTxWIDTH in pixels")
    return int(match[1]), int(match[2])


def input_spec(options: argparse.Namespace, side: int | None) -> InputSpec:
    """Return the input asked for; sizes left out are a classifier's `side`, or a segmentor's (None)."""
    height, width = _SEGMENTATION_SIZE if side is None else (side, side)
    return InputSpec(options.height or height, options.width or width, options.channel_order)


def check_replaceable(folder: Path) -> None:
    """Raise BundleError where `folder` holds anything but a bundle and its files."""
    if not folder.exists():
        return
    own = {MANIFEST, *Bundle.load(folder, verify=False).files}
    if foreign := sorted(item.name for item in folder.iterdir() if item.name not in own):
        raise BundleError(
            f"{folder} holds {', '.join(foreign)} beside a bundle; move that away to overwrite it"
        )


def missing_extra(error: ImportError) -> BackendError:
    """Return the error that says how to install what making a bundle needs."""
    return BackendError(
        f"{error.name} is missing; install it by `pip install 'internimage_perception[deploy]'`"
    )
