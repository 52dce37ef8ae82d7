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


def check_threads(options: argparse.Namespace) -> None:
    """Raise ConfigError for a number of threads that is refused to the nodes too."""
    if not 0 <= options.threads <= MOST_THREADS:
        raise ConfigError(f"--threads is {options.threads}; it must be 0 to {MOST_THREADS}")
