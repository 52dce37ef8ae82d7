"""`internimage-perception train`: train a segmentation network, resumable at any moment."""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from internimage_perception.cli.classes import read_classes
from internimage_perception.errors import BackendError, ConfigError
from internimage_perception.inference.bundle import ClassSpec, InputSpec, OutputSpec, sha256_of
from internimage_perception.resources import share_path

if TYPE_CHECKING:
    from internimage_perception.training.config import TrainingConfig
    from internimage_perception.training.loop import TrainingResult

BUNDLE = "bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "config", metavar="CONFIG", help="a .yaml file, or a name; --list lists them", nargs="?"
    )
    parser.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="such as optimizer.learning_rate=1e-4, on top of it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run; one that is there goes on"
    )
    parser.add_argument("--no-bundle", action="store_true", help="write weights only, no model bundle")
    parser.add_argument("--list", action="store_true", help="list the configurations that travel along")
    parser.add_argument(
        "--show", action="store_true", help="print the whole configuration, and train nothing"
    )
    _take_settings_anywhere(parser)


def run(options: argparse.Namespace) -> int:
    """Train, or go on with it; prints scores and where weights and bundle lie."""
    try:
        from internimage_perception.training.config_file import (  # noqa: PLC0415 - needs torch and more
            load_training,
            training_names,
        )
        from internimage_perception.training.loop import train  # noqa: PLC0415 - needs torch and more
        from internimage_perception.training.runtime import explained  # noqa: PLC0415 - needs torch and more
    except ImportError as error:
        message = f"{error.name} is missing; install it by `pip install 'internimage_perception[train]'`"
        raise BackendError(message) from error
    if options.list:
        print("\n".join(training_names()))
        return 0
    if options.config is None:
        raise ConfigError("CONFIG is missing: a .yaml file or one of " + ", ".join(training_names()))
    config = load_training(options.config, options.settings)
    if options.show:
        print(_shown(config), end="")
        return 0
    if options.out is None:
        raise ConfigError("--out is missing; it names the folder of the run")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("internimage_perception").setLevel(logging.INFO)
    # They greet, and advise what is decided here already.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    accept = None if options.no_bundle else lambda names: _classes(config, names)
    try:
        result = train(config, options.out, accept=accept)
    except RuntimeError as error:
        if (known := explained(error)) is None:
            raise
        raise known from error
    if result.reports:
        _report(options, config, result)
    return 0


def _take_settings_anywhere(parser: argparse.ArgumentParser) -> None:
    """Let settings stand after options too, which argparse allows in a mode of its own only."""
    plain = parser.parse_known_args

    def intermixed(args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse has it
        parser.parse_known_args = plain  # type: ignore[method-assign]
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            parser.parse_known_args = intermixed  # type: ignore[method-assign]

    parser.parse_known_args = intermixed  # type: ignore[method-assign]


def _shown(config: "TrainingConfig") -> str:
    import yaml  # noqa: PLC0415 - beside the other late imports

    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _report(options: argparse.Namespace, config: "TrainingConfig", result: "TrainingResult") -> None:
    for name, value in result.scores.items():
        print(f"{name}: {value:.4f}")
    if result.skipped:
        print(f"skipped: {result.skipped} samples, listed in {options.out / 'skipped.csv'}")
    print(f"weights: {result.weights}")
    if not options.no_bundle:
        print(f"bundle: {_bundle(options.out, config, result)}")


def _bundle(out: Path, config: "TrainingConfig", result: "TrainingResult") -> Path:
    """Make a bundle of the trained weights, for pictures of the size that was trained on."""
    from internimage_perception.deploy import create_bundle  # noqa: PLC0415 - needs torch and ONNX
    from internimage_perception.models.checkpoints import load_checkpoint  # noqa: PLC0415 - needs torch
    from internimage_perception.models.config import to_mapping  # noqa: PLC0415 - needs torch
    from internimage_perception.training.networks import architecture_of  # noqa: PLC0415 - needs torch

    height, width = result.size
    create_bundle(
        out / BUNDLE,
        architecture=to_mapping(architecture_of(config)),
        state_dict=load_checkpoint(result.weights),
        classes=_classes(config, result.classes),
        input_spec=InputSpec(height, width, "rgb"),
        output_spec=OutputSpec("model"),
        name=out.resolve().name,
        provenance={
            "weights": f"{result.weights.name}, sha256 {sha256_of(result.weights)}",
            "training": f"{config.steps} steps of {config.batch} pictures, seed {config.seed}",
        },
        overwrite=True,
    )
    return out / BUNDLE


def _classes(config: "TrainingConfig", names: tuple[str, ...]) -> tuple[ClassSpec, ...]:
    """Return names and colours; raises ConfigError where the file's names are not the data's."""
    file = config.classes or share_path("config/classes.yaml")
    classes = read_classes(file)
    if tuple(item.name for item in classes) != names:
        raise ConfigError(
            f"{file} names other classes than the data ({', '.join(names)}); set classes to a YAML file with "
            "their colours, or leave the bundle out (--no-bundle)"
        )
    return classes
