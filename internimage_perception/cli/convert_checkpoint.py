"""`internimage-perception convert-checkpoint`: official weights, in whatever file, become a bundle."""

import argparse
import math
import re
from pathlib import Path

from internimage_perception.cli.bundle_options import (
    add_bundle_arguments,
    add_trust_argument,
    check_input_size,
    check_replaceable,
    missing_extra,
    parse_output_size,
)
from internimage_perception.errors import BundleError, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help=".pth of PyTorch, or .safetensors")
    parser.add_argument(
        "--out", type=Path, metavar="BUNDLE",
        help="folder of the bundle, or a .safetensors file for the weights alone under plain keys",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what the file holds, write nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    reading = parser.add_argument_group("reading")
    reading.add_argument("--ema", action="store_true", help="take the moving average of the weights")
    add_trust_argument(reading)
    reading.add_argument(
        "--backbone-only", action="store_true",
        help="take the backbone alone, of detectors and Mask2Former too",
    )  # fmt: skip
    reading.add_argument(
        "--map", type=Path, metavar="FILE",
        help="rows of a classifier's head to keep, one index per line, such as map22kto1k.txt",
    )  # fmt: skip
    unsaid = parser.add_argument_group("what weights do not say (assumed as in the official networks)")
    unsaid.add_argument("--offset-scale", type=float, metavar="X", help="DCNv3's; 2 in L and XL, else 1")
    unsaid.add_argument(
        "--post-norm-blocks", metavar="N,N", help="blocks of the third stage that its extra norms follow"
    )
    unsaid.add_argument("--attention-heads", type=int, metavar="N", help="of the head of H and G")
    bundle = parser.add_argument_group("bundle")
    bundle.add_argument(
        "--classes", type=Path, metavar="FILE",
        help="names and colours: a .yaml, a .txt with a name per line, or cityscapes19",
    )  # fmt: skip
    add_bundle_arguments(bundle)
    bundle.add_argument("--overwrite", action="store_true", help="replace what is there under that name")


def run(options: argparse.Namespace) -> int:
    """Recognise the network, print what was found, write the bundle."""
    _check(options)
    try:
        from internimage_perception.cli.checkpoint_conversion import convert  # noqa: PLC0415 - needs torch
    except ImportError as error:
        raise missing_extra(error) from error
    convert(options)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise ConfigError or BundleError for what can be refused before anything is read."""
    if options.out is None and not options.dry_run:
        raise ConfigError("--out is missing; it names the bundle (--dry-run only says what the file holds)")
    check_input_size(options)
    parse_output_size(options.output_size)
    if options.offset_scale is not None and not 0 < options.offset_scale < math.inf:
        raise ConfigError(f"--offset-scale is {options.offset_scale}; it must be a number above 0")
    blocks = options.post_norm_blocks
    if blocks is not None and not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", blocks):
        raise ConfigError(f"--post-norm-blocks is {blocks!r}; write numbers from 0, such as 5,11,17")
    if options.map is not None and options.backbone_only:
        raise ConfigError("--map picks rows of a head, which --backbone-only leaves out")
    if not options.dry_run and options.out.exists():
        _check_existing(options)


def _check_existing(options: argparse.Namespace) -> None:
    """Raise BundleError unless what is there may be replaced."""
    if not options.overwrite:
        raise BundleError(f"{options.out} already exists; choose another name or overwrite it (--overwrite)")
    if options.out.suffix != ".safetensors":
        check_replaceable(options.out)
    elif not options.out.is_file():
        raise BundleError(f"{options.out} is no file and is not overwritten; choose another name")
