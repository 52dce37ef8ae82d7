"""`internimage-perception bundle`: weights and everything they need, in one folder."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from internimage_perception.cli.classes import read_classes
from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.bundle import (
    MANIFEST,
    Bundle,
    ClassSpec,
    InputSpec,
    OutputSpec,
    sha256_of,
)
from internimage_perception.inference.class_names import read_names
from internimage_perception.resources import share_path

if TYPE_CHECKING:
    from internimage_perception.models.config import Config

_YAML = {".yaml", ".yml"}
_SEGMENTATION_SIZE = (512, 1024)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--architecture", required=True, metavar="NAME|YAML",
        help="a name of config/models, such as upernet_internimage_t or internimage_t_1k, or such a file",
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
        "--classes", type=Path, metavar="FILE",
        help="YAML of names and colours, for a classifier also a text file of one name per line "
        "(default: config/classes.yaml; numbers for a classifier)",
    )  # fmt: skip
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
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")


def run(options: argparse.Namespace) -> int:
    """Make the bundle; prints what it holds."""
    for side in ("height", "width"):
        if (given := getattr(options, side)) is not None and not 32 <= given <= 16384:
            raise ConfigError(f"--{side} is {given}; it must be 32 to 16384 pixels")
    if options.overwrite:
        check_replaceable(options.out)
    output = OutputSpec(parse_output_size(options.output_size))
    classes = None if options.classes is None else _read_list(options.classes)
    try:
        from internimage_perception.deploy import create_bundle  # noqa: PLC0415 - needs torch
        from internimage_perception.models import (  # noqa: PLC0415 - needs torch
            SegmentorConfig,
            load_checkpoint,
            load_config,
        )
    except ImportError as error:
        message = f"{error.name} is missing; install it by `pip install 'internimage_perception[deploy]'`"
        raise BackendError(message) from error
    config = load_config(options.architecture)
    if classes is None:
        classes = _default_classes(config)
    elif isinstance(config, SegmentorConfig) and options.classes.suffix not in _YAML:
        raise ConfigError(f"{options.classes} holds names only, masks need colours too; write YAML")
    height, width = _default_size(options.architecture, config)
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
        input_spec=InputSpec(options.height or height, options.width or width, options.channel_order),
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


def _read_list(path: Path) -> tuple[ClassSpec, ...]:
    if path.suffix in _YAML:
        return read_classes(path)
    return tuple(ClassSpec(index, name) for index, name in enumerate(read_names(path)))


def _default_classes(config: "Config") -> tuple[ClassSpec, ...]:
    from internimage_perception.models.config import ClassifierConfig  # noqa: PLC0415 - needs torch

    if isinstance(config, ClassifierConfig):
        return tuple(ClassSpec(index, f"class_{index}") for index in range(config.num_classes))
    return read_classes(share_path("config/classes.yaml"))


def _default_size(architecture: str, config: "Config") -> tuple[int, int]:
    """Return the height and width that such a network is made for."""
    from internimage_perception.models.config import ClassifierConfig  # noqa: PLC0415 - needs torch
    from internimage_perception.models.published import classifier_side  # noqa: PLC0415 - needs torch
    from internimage_perception.models.registry import lineage  # noqa: PLC0415 - needs torch

    if not isinstance(config, ClassifierConfig):
        return _SEGMENTATION_SIZE
    # The last name is that of the backbone.
    side = classifier_side(lineage(architecture)[-1], config.num_classes)
    return side, side


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
