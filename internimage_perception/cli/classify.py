"""`internimage-perception classify`: what photographs show, by a classification bundle."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from internimage_perception.cli.backend_options import add_backend_arguments, check_threads
from internimage_perception.errors import ConfigError, ImageError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import CLASSIFICATION, Bundle
from internimage_perception.inference.photographs import read_photograph
from internimage_perception.inference.results import RANKS, RankedClass
from internimage_perception.inference.tasks.classification import ClassificationTask

_FAILED = 1
_Answer = tuple[RankedClass, ...] | ImageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="picture file: JPEG, PNG, WebP, BMP, TIFF"
    )
    parser.add_argument(
        "--model", required=True, type=Path, metavar="BUNDLE", help="folder of a classification bundle"
    )
    parser.add_argument(
        "--top",
        type=int,
        default=RANKS,
        metavar="N",
        help=f"classes to print, 1 to {RANKS} (default {RANKS})",
    )
    add_backend_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the classes of every image; returns 1 when one of the files is of no use."""
    if not 1 <= options.top <= RANKS:
        raise ConfigError(f"--top is {options.top}; the models' graphs answer with 1 to {RANKS} classes")
    check_threads(options)
    bundle = Bundle.load(options.model)
    bundle.require_task(CLASSIFICATION)
    task = ClassificationTask(
        bundle, create_backend(options.backend, bundle, threads=options.threads or None)
    )
    answers = _answers(task, options.images, options.top)
    failed = _print_json(task, answers) if options.json else _print_text(answers)
    return _FAILED if failed else 0


def _answers(task: ClassificationTask, paths: Sequence[Path], top: int) -> Iterator[tuple[Path, _Answer]]:
    """Yield the classes of each image, or why it has none."""
    for path in paths:
        try:
            yield path, task.run(read_photograph(path, task.bundle.input.channel_order))[:top]
        except ImageError as error:
            yield path, error


def _print_text(answers: Iterator[tuple[Path, _Answer]]) -> int:
    """Print each answer when it is there; returns the number of failures."""
    failed = 0
    for path, answer in answers:
        if isinstance(answer, ImageError):
            failed += 1
            print(f"internimage-perception classify: {answer}", file=sys.stderr)
            continue
        width = max(len(str(item.id)) for item in answer)
        print(path)
        for item in answer:
            print(f"  {item.probability:7.2%}  {item.id:{width}} {item.name}", flush=True)
    return failed


def _print_json(task: ClassificationTask, answers: Iterator[tuple[Path, _Answer]]) -> int:
    """Print one document; returns the number of failures."""
    images: list[dict[str, object]] = []
    failed = 0
    for path, answer in answers:
        if isinstance(answer, ImageError):
            failed += 1
            images.append({"path": str(path), "error": str(answer)})
        else:
            images.append({"path": str(path), "classes": [asdict(item) for item in answer]})
    document = {"model": task.bundle.name, "backend": task.backend.name, "images": images}
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return failed
