"""`internimage-perception build-engine`: TensorRT engines ahead of time, so that no start waits for them."""

import argparse
import sys
from pathlib import Path

from internimage_perception.cli.frame_ranges import RANGE, read_range
from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.cache import CACHE_ENVIRONMENT, ENGINES, EngineCache
from internimage_perception.inference.engines.prepare import PreparedEngine, Wish, prepare_engine
from internimage_perception.inference.engines.profile import chosen_profile
from internimage_perception.inference.engines.toolkit import Toolkit
from internimage_perception.inference.export_spec import LARGEST_BATCH, LARGEST_SIDE, Range

_MEBIBYTE = 1 << 20
_MOST_WORKSPACE = 1 << 20
"""MiB, that is 1 TiB: no GPU has as much."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "bundles", nargs="+", metavar="BUNDLE_OR_EXPORT", help="folders, or names of shipped bundles"
    )
    default = "(default: what it was exported for, else common cameras)"
    parser.add_argument("--batch", metavar=RANGE, help=f"frames of one call {default}")
    parser.add_argument("--height", metavar=RANGE, help="rows of a frame, likewise")
    parser.add_argument("--width", metavar=RANGE, help="columns of a frame, likewise")
    parser.add_argument("--device", type=int, default=0, metavar="K", help="number of the GPU")
    parser.add_argument(
        "--workspace", type=int, metavar="MIB",
        help="most scratch memory a kernel may use; less may make a slower engine (default: all there is)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, metavar="DIR",
        help=f"keep them in DIR/engines; name it in {CACHE_ENVIRONMENT} to whoever runs them",
    )  # fmt: skip
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--rebuild", action="store_true", help="build even where an engine fits")
    how.add_argument("--check", action="store_true", help="build nothing; fail, and say why, where none fits")


def run(options: argparse.Namespace) -> int:
    """Build what is missing; prints one paragraph per bundle."""
    batch = _range(options, "batch", LARGEST_BATCH)
    height = _range(options, "height", LARGEST_SIDE)
    width = _range(options, "width", LARGEST_SIDE)
    workspace = options.workspace
    if workspace is not None and not 1 <= workspace <= _MOST_WORKSPACE:
        raise ConfigError(f"--workspace is {workspace}; it must be 1 to {_MOST_WORKSPACE} MiB")
    if options.device < 0:
        raise ConfigError(f"--device is {options.device}; GPUs are counted from 0")
    bundles = [Bundle.load(path) for path in options.bundles]
    profiles = [chosen_profile(bundle, batch=batch, height=height, width=width) for bundle in bundles]
    toolkit = Toolkit.open(options.device)
    cache = EngineCache(None if options.cache is None else options.cache / ENGINES)
    anything = (batch, height, width) == (None, None, None)
    failed = 0
    for bundle, profile in zip(bundles, profiles, strict=True):
        wish = Wish(
            # Any engine passes a check that does not ask for certain frames.
            profile=None if options.check and anything else profile,
            workspace=None if workspace is None else workspace * _MEBIBYTE,
            build=not options.check,
            rebuild=options.rebuild,
        )
        try:
            print(_describe(bundle, prepare_engine(bundle, toolkit, cache, wish)))
        except (BackendError, BundleError) as error:
            # The others may do.
            print(f"internimage-perception build-engine: {error}", file=sys.stderr)
            failed += 1
    return int(failed > 0)


def _describe(bundle: Bundle, prepared: PreparedEngine) -> str:
    key = prepared.entry.key
    state = f"built in {prepared.entry.about.get('seconds')} s" if prepared.built else "fits, nothing to do"
    return "\n".join(
        (
            f"{bundle.name}: {state}",
            f"  engine    {prepared.entry.path}",
            f"  made for  {key.gpu} (compute capability {key.compute_capability}), TensorRT {key.tensorrt}",
            f"  takes     {key.profile}",
            f"  computes  {key.precision}, DCNv3 as {key.form}",
        )
    )


def _range(options: argparse.Namespace, name: str, largest: int) -> Range | None:
    text = getattr(options, name)
    return None if text is None else read_range(f"--{name}", text, largest)
