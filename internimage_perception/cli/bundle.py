"""`internimage-perception bundle`: weights and everything they need, in one folder."""

import argparse
import re
from pathlib import Path

from internimage_perception.cli.classes import read_classes
from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.bundle import MANIFEST, Bundle, InputSpec, OutputSpec, sha256_of
from internimage_perception.resources import share_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--architecture", required=True, metavar="NAME|YAML",
        help="a name of config/models such as upernet_internimage_t, or a file like those",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the bundle")
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--weights", type=Path, metavar="FILE", help=".safetensors, or .pth of PyTorch")
    weights.add_argument("--random-weights", action="store_true", help="for tests of speed and installation")
    parser.add_argument(
        "--trust-pickle", action="store_true",
        help="let a .pth file run code while it is read; only for sources you trust",
    )  # fmt: skip
    parser.add_argument(
        "--classes", type=Path, metavar="YAML", help="names and colours (default: config/classes.yaml)"
    )
    parser.add_argument("--height", type=int, default=512, help="rows of the network's input (default 512)")
    parser.add_argument(
        "--width", type=int, default=1024, help="columns of the network's input (default 1024)"
    )
    parser.add_argument(
        "--output-size", default="model", metavar="model|input|HxW",
        help="size of the masks: the network's input, the image, or a fixed one (default model)",
    )  # fmt: skip
    parser.add_argument(
        "--channel-order", default="rgb", choices=("rgb", "bgr"),
        help="order in which frames are handed over; bgr saves a conversion for bgr8 cameras",
    )  # fmt: skip
    parser.add_argument("--name", help="the model's name in outputs (default: that of the folder)")
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")


def run(options: argparse.Namespace) -> int:
    """Make the bundle; prints what it holds."""
    for side in ("height", "width"):
        if not 32 <= getattr(options, side) <= 16384:
            raise ConfigError(f"--{side} is {getattr(options, side)}; it must be 32 to 16384 pixels")
    if options.overwrite:
        check_replaceable(options.out)
    output = OutputSpec(parse_output_size(options.output_size))
    classes = read_classes(options.classes or share_path("config/classes.yaml"))
    try:
        from internimage_perception.deploy import create_bundle  # noqa: PLC0415 - needs torch
        from internimage_perception.models import load_checkpoint  # noqa: PLC0415 - needs torch
    except ImportError as error:
        message = f"{error.name} is missing; install it by `pip install 'internimage_perception[deploy]'`"
        raise BackendError(message) from error
    weights, provenance = None, None
    if options.weights is not None:
        weights = load_checkpoint(options.weights, trust_pickle=options.trust_pickle)
        origin = f"{options.weights.name}, sha256 {sha256_of(options.weights)}"
        provenance = {"weights": origin}
    bundle = create_bundle(
        options.out,
        architecture=options.architecture,
        state_dict=weights,
        classes=classes,
        input_spec=InputSpec(options.height, options.width, options.channel_order),
        output_spec=output,
        name=options.name or options.out.resolve().name,
        provenance=provenance,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print(
        f"{bundle.root}: {bundle.name}, {len(bundle.classes)} classes, weights {bundle.provenance['weights']}"
    )
    print(f"see what it holds: internimage-perception inspect {bundle.root}")
    return 0


def check_replaceable(folder: Path) -> None:
    """Raise BundleError where `folder` holds anything but a bundle and its files."""
    if not folder.exists():
        return
    own = {MANIFEST, *Bundle.load(folder, verify=False).files}
    if foreign := sorted(item.name for item in folder.iterdir() if item.name not in own):
        raise BundleError(
            f"{folder} holds {', '.join(foreign)} beside a bundle; move that away to overwrite it"
        )


def parse_output_size(text: str) -> str | tuple[int, int]:
    """Return "model", "input" or (rows, columns). Raises ConfigError for other texts."""
    if text in ("model", "input"):
        return text
    match = re.fullmatch(r"(\d+)x(\d+)", text.lower())
    if match is None or not all(1 <= int(side) <= 16384 for side in match.groups()):
        raise ConfigError(f"--output-size is {text!r}; write model, input, or HEIGHTxWIDTH in pixels")
    return int(match[1]), int(match[2])
