"""`internimage-perception models`: the networks there are, their size, scores and licences."""

import argparse
import json
import re

from internimage_perception.errors import ConfigError, PerceptionError

_LARGEST_SIDE = 16384


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument(
        "--size", metavar="HxW",
        help="count the multiply-adds for an image of that size, which takes about a second per network",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the networks, one paragraph each."""
    size = None if options.size is None else _size(options.size)
    try:
        from internimage_perception.models.catalog import describe_model  # noqa: PLC0415 - needs torch
        from internimage_perception.models.registry import model_names  # noqa: PLC0415 - needs torch
    except ImportError as error:
        message = f"the networks are PyTorch's, and {error.name} is missing; pip install torch safetensors"
        raise PerceptionError(message) from error
    models = (describe_model(name, size) for name in options.names or model_names())
    if options.json:
        print(json.dumps({"models": [model.to_dict() for model in models]}, indent=2))
        return 0
    for model in models:
        print(model)
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or not all(32 <= int(side) <= _LARGEST_SIDE for side in match.groups()):
        raise ConfigError(f"--size is {text!r}; it must be HEIGHTxWIDTH, each from 32 to {_LARGEST_SIDE}")
    return int(match[1]), int(match[2])
