"""Options of the commands that run a bundle's graph."""

import argparse

from internimage_perception.errors import ConfigError
from internimage_perception.inference.backends import BACKENDS
from internimage_perception.inference.parameters import MOST_THREADS


def add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --backend and --threads."""
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads of the graph; 0: the backend's choice"
    )


def add_agreement_argument(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Declare --least."""
    parser.add_argument("--least", type=float, metavar="SHARE", help=purpose)


def check_agreement(options: argparse.Namespace) -> None:
    """Raise ConfigError for a --least that is no share."""
    if options.least is not None and not 0.0 <= options.least <= 1.0:
        raise ConfigError(f"--least is {options.least}; it is a share from 0 to 1")


def check_threads(options: argparse.Namespace) -> None:
    """Raise ConfigError for a number of threads that is refused to the nodes too."""
    if not 0 <= options.threads <= MOST_THREADS:
        raise ConfigError(f"--threads is {options.threads}; it must be 0 to {MOST_THREADS}")
