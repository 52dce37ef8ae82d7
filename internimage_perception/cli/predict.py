"""`internimage-perception predict`: pictures labelled by a segmentation bundle, as a folder of masks."""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from internimage_perception.cli.augment import check_apart
from internimage_perception.cli.predict_folder import COLOR, CONFIDENCE, IDS, LIST, PredictionFolder
from internimage_perception.cli.predict_job import JobResult, PredictionJob
from internimage_perception.cli.predict_lens import Lens, add_lens_arguments, read_lens
from internimage_perception.cli.predict_networks import Network, add_network_arguments, create_network
from internimage_perception.cli.predict_source import Pictures, SourceChoice, open_pictures
from internimage_perception.cli.progress import ResumableProgress
from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.evaluation.confusion import ConfusionMatrix
from internimage_perception.evaluation.figures import percent
from internimage_perception.inference.bundle import SEGMENTATION, Bundle

_FAILED = 1
_VERSION = 1
_MOST_WORKERS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "inputs", nargs="*", type=Path, metavar="PICTURE",
        help="JPEG or PNG files and folders of them, or one list in CSV (columns id, img_path)",
    )  # fmt: skip
    parser.add_argument(
        "--dataset", type=Path, metavar="FILE", help="a dataset in YAML (docs/datasets.md) instead"
    )
    parser.add_argument(
        "--model", required=True, type=Path, metavar="BUNDLE",
        help="folder of a segmentation bundle, or the name of a shipped one",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="new folder, or one to go on in"
    )
    add_network_arguments(parser)
    add_lens_arguments(parser)
    parser.add_argument("--no-color", action="store_true", help="write no pictures in the classes' colours")
    parser.add_argument(
        "--confidence", action="store_true", help="write the probability of each pixel's class times 255, too"
    )
    parser.add_argument(
        "--score", action="store_true",
        help="compare with the labels of the dataset, or of the list (column gt_path)",
    )  # fmt: skip
    parser.add_argument(
        "--label-map", metavar="NAME|FILE",
        help="what the label ids of a list mean (docs/datasets.md; default dacon_255_to_12)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=1, help="threads that read and write beside the network (default 1)"
    )


def run(options: argparse.Namespace) -> int:
    """Label the pictures, or go on with it; returns 1 when one of them could not be used."""
    if not 1 <= options.workers <= _MOST_WORKERS:
        raise ConfigError(f"--workers is {options.workers}; it must be 1 to {_MOST_WORKERS}")
    # Everything that can be refused is looked at before the folder is begun.
    bundle = Bundle.load(options.model)
    bundle.require_task(SEGMENTATION)
    classes = [spec.name for spec in bundle.classes]
    pictures = open_pictures(
        SourceChoice(options.inputs, options.dataset, classes, options.score, options.label_map)
    )
    check_inputs_apart(options.out, pictures)
    lens = read_lens(options)
    network = create_network(options, bundle)
    if options.dataset is not None:
        print(pictures.dataset.description, file=sys.stderr)
    how = f"{network.described['mode']}, {network.described['backend']}"
    print(f"{len(pictures.names)} pictures, model {bundle.name} ({how})", file=sys.stderr)
    folder = PredictionFolder(
        options.out, _described(bundle, pictures, network, lens), bundle.classes,
        color=not options.no_color, confidence=options.confidence,
    )  # fmt: skip
    score = ConfusionMatrix(len(classes)) if options.score else None
    job = PredictionJob(pictures, network, folder, lens, score)
    start = time.monotonic()
    try:
        result = _label(job, options.workers)
        _finish(folder, pictures, result)
    finally:
        folder.release()
    _report(options, pictures, result, time.monotonic() - start)
    if score is not None:
        print(_scores(score, classes, result.scored))
    return _FAILED if result.failed else 0


def _label(job: PredictionJob, workers: int) -> JobResult:
    progress = ResumableProgress("pictures")
    try:
        return job.run(workers, progress)
    finally:
        progress.close()


def check_inputs_apart(out: Path, pictures: Pictures) -> None:
    """Raise ConfigError where outputs might be written over a picture, or be taken for pictures later."""
    for name, folder in pictures.folders.items():
        for place in (out, *(out / kind for kind in (IDS, COLOR, CONFIDENCE))):
            check_apart(place, folder, name)
    target = out.resolve()
    for path in pictures.paths:
        # Unlike Path.resolve, it takes links that lead in a circle, which are left out later.
        if target in (real := Path(os.path.realpath(path))).parents:
            raise ConfigError(f"{real} lies in --out {out}; nothing is written where pictures are: move it")


def _described(bundle: Bundle, pictures: Pictures, network: Network, lens: Lens | None) -> dict[str, object]:
    return {
        "made_by": "predict",
        "version": _VERSION,
        "model": {"name": bundle.name, "identity": bundle.identity()},
        "classes": [spec.name for spec in bundle.classes],
        "network": network.described,
        "pictures": pictures.identity(),
        "lens": None if lens is None else lens.identity,
    }


def _finish(folder: PredictionFolder, pictures: Pictures, result: JobResult) -> None:
    """Name the pictures left out, and list the others. Raises PerceptionError where there are none."""
    for name, reason in result.failed.items():
        print(f"left out {name}: {reason}", file=sys.stderr)
    good = [index for index, name in enumerate(pictures.names) if name not in result.failed]
    folder.finish(
        (pictures.names[index], pictures.paths[index] if pictures.paths else None) for index in good
    )
    if not good:
        raise PerceptionError(f"none of {len(result.failed)} pictures could be used")


def _report(options: argparse.Namespace, pictures: Pictures, result: JobResult, seconds: float) -> None:
    done = len(pictures.names) - len(result.failed)
    before = f", {result.before} of them earlier" if result.before else ""
    left_out = f"; {len(result.failed)} left out" if result.failed else ""
    print(f"{done} {'picture' if done == 1 else 'pictures'} labelled{before}{left_out} ({seconds:.1f} s)")
    print(f"masks: {options.out / IDS}")
    print(f"list:  {options.out / LIST}")


def _scores(score: ConfusionMatrix, classes: Sequence[str], pictures: int) -> str:
    """Return a table of classes and the means; those of 12 and 13 classes are the contest's."""
    if not pictures:
        raise PerceptionError("nothing could be scored: no picture has labels")
    width = max(map(len, classes))
    ious = [None if math.isnan(value) else float(value) for value in score.iou()]
    lines = [f"{name:{width}}  {percent(iou):>5}" for name, iou in zip(classes, ious, strict=True)]
    means = {"miou": score.miou()}
    if score.num_classes in (12, 13):
        means = {f"miou{count}": score.miou(range(count)) for count in (13, 12) if count <= score.num_classes}
    values = ", ".join(f"{key} {value:.4f}" for key, value in means.items())
    return "\n".join([*lines, f"{values} over {pictures} pictures at their own size"])
