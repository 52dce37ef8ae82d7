"""`internimage-perception bundle`: weights and everything they need, in one folder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from internimage_perception.cli.bundle_options import (
    add_bundle_arguments,
    add_trust_argument,
    check_input_size,
    check_replaceable,
    input_spec,
    missing_extra,
    parse_output_size,
)
from internimage_perception.cli.classes import read_classes
from internimage_perception.errors import ConfigError
from internimage_perception.inference.bundle import ClassSpec, OutputSpec, sha256_of
from internimage_perception.inference.class_names import read_names
from internimage_perception.resources import share_path

if TYPE_CHECKING:
    from internimage_perception.models.config import Config

_YAML = {".yaml", ".yml"}


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
    add_trust_argument(parser)
    parser.add_argument(
        "--classes", type=Path, metavar="FILE",
        help="YAML of names and colours, for a classifier also a text file of one name per line "
        "(default: config/classes.yaml; numbers for a classifier)",
    )  # fmt: skip
    add_bundle_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")


def run(options: argparse.Namespace) -> int:
    """Make the bundle; prints what it holds."""
    check_input_size(options)
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
        raise missing_extra(error) from error
    config = load_config(options.architecture)
    if classes is None:
        classes = _default_classes(config)
    elif isinstance(config, SegmentorConfig) and options.classes.suffix not in _YAML:
        raise ConfigError(f"{options.classes} holds names only, masks need colours too; write YAML")
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
        input_spec=input_spec(options, _classifier_side(options.architecture, config)),
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


def _classifier_side(architecture: str, config: "Config") -> int | None:
    """Return the side of the images that such a classifier is made for; None for a segmentor."""
    from internimage_perception.models.config import ClassifierConfig  # noqa: PLC0415 - needs torch
    from internimage_perception.models.published import classifier_side  # noqa: PLC0415 - needs torch
    from internimage_perception.models.registry import lineage  # noqa: PLC0415 - needs torch

    if not isinstance(config, ClassifierConfig):
        return None
    # The last name is that of the backbone.
    return classifier_side(lineage(architecture)[-1], config.num_classes)
