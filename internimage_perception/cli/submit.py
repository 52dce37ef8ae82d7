"""`internimage-perception submit`: masks as a submission to the DACON contest of 2023; checks one too."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.cli.predict_folder import IDS, MARKER
from internimage_perception.cli.progress import ResumableProgress
from internimage_perception.data.datasets import load_label_map
from internimage_perception.data.datasets.picture_list import read_picture_list
from internimage_perception.data.datasets.pictures import read_ids
from internimage_perception.data.names import check_names
from internimage_perception.data.submission import (
    CLASSES,
    HEIGHT,
    NEAREST,
    PICTURES,
    WIDTH,
    check_submission,
    write_submission,
)
from internimage_perception.data.submission.layout import HEADER
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.evaluation.truth import same_shape
from internimage_perception.inference.results import INVALID_ID

_FAILED = 1
_BACKGROUND = CLASSES

Ids = npt.NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--list", required=True, type=Path, metavar="CSV",
        help="the contest's test.csv, or another list with the columns id and img_path",
    )  # fmt: skip
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR", help="folder of predict, or of PNG files of class ids"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the submission, CSV")
    parser.add_argument(
        "--nearest", choices=NEAREST, default=NEAREST[0],
        help=f"which pixel {WIDTH}x{HEIGHT} masks take: as Pillow (default), by which participants made "
        "theirs, or as OpenCV",
    )  # fmt: skip
    parser.add_argument("--check", type=Path, metavar="FILE", help="only check this submission")


def run(options: argparse.Namespace) -> int:
    """Write a submission, or check one; returns 1 when the one that is checked is wrong."""
    pictures = [entry.name for entry in read_picture_list(options.list, labelled=False)]
    if len(pictures) != PICTURES:
        print(
            f"note: {options.list} lists {len(pictures)} pictures, the contest's test.csv {PICTURES}",
            file=sys.stderr,
        )
    if options.check is not None:
        if options.predictions is not None or options.out is not None:
            raise ConfigError(
                "--check looks at a submission that is there; leave out --predictions and --out"
            )
        return _check(options.check, pictures)
    if options.predictions is None or options.out is None:
        raise ConfigError("give --predictions and --out, or --check with a submission")
    _write(options, pictures)
    return 0


def _check(file: Path, pictures: Sequence[str]) -> int:
    report = check_submission(file, pictures)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.wrong > len(report.problems):
        print(f"... and {report.wrong - len(report.problems)} more", file=sys.stderr)
    found = f"{report.rows} rows, {report.empty} empty"
    print(f"{file}: {report.wrong} problems ({found})" if report.wrong else f"{file} is good: {found}")
    return _FAILED if report.wrong else 0


def _write(options: argparse.Namespace, pictures: Sequence[str]) -> None:
    check_names(pictures)
    _check_replaceable(options.out, options.list)
    masks = _Masks(options.predictions, pictures)
    progress, start = ResumableProgress("pictures"), time.monotonic()
    try:
        rows, empty = write_submission(
            options.out, pictures, masks.read, nearest=options.nearest, on_picture=progress
        )
    finally:
        progress.close()
    if masks.stretched:
        print(
            f"warning: {masks.stretched} masks are not of the shape of {WIDTH}x{HEIGHT}, as the contest's "
            "pictures are; they were stretched",
            file=sys.stderr,
        )
    seconds = time.monotonic() - start
    print(f"{rows} rows of {len(pictures)} pictures, {empty} empty ({seconds:.1f} s)")
    print(f"submission: {options.out}")


class _Masks:
    """Class ids of the listed pictures.

    Args:
        folder: of predict, or of PNG files.
        pictures: ids, all of which must be there.

    Attributes:
        stretched: masks read whose shape is not that of the submission.

    Raises:
        DatasetError: a mask is missing, or the predictions are of other classes.
    """

    def __init__(self, folder: Path, pictures: Sequence[str]) -> None:
        self.stretched = 0
        if not folder.is_dir():
            raise DatasetError(f"there is no folder {folder}; give the folder that predict wrote")
        _check_classes(folder / MARKER)
        self._folder = folder / IDS if (folder / IDS).is_dir() else folder
        missing = [name for name in pictures if not self._path(name).is_file()]
        if missing:
            more = f" (nor have {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise DatasetError(
                f"{missing[0]} has no mask {self._path(missing[0])}{more}: a submission needs all "
                f"{len(pictures)}; let predict label them first"
            )

    def read(self, name: str) -> Ids:
        """Return the class ids of a picture. Raises DatasetError naming the file."""
        path = self._path(name)
        ids = read_ids(path)
        strange = ids[(ids > _BACKGROUND) & (ids != INVALID_ID)]
        if strange.size:
            raise DatasetError(
                f"{path} holds id {strange[0]}; the contest's classes are 0 to {CLASSES - 1}, beside "
                f"{_BACKGROUND} for Background and {INVALID_ID} for none"
            )
        self.stretched += not same_shape((ids.shape[0], ids.shape[1]), (HEIGHT, WIDTH))
        return ids

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.png"


def _check_classes(marker: Path) -> None:
    """Raise DatasetError where predict says that it wrote other classes than the contest's."""
    content: object = None
    with suppress(OSError, ValueError):
        content = json.loads(marker.read_bytes())
    if not isinstance(content, dict) or "classes" not in content:
        return
    asked = list(load_label_map("dacon_255_to_12").classes[:CLASSES])
    found = content["classes"]
    if not isinstance(found, list) or found[:CLASSES] != asked:
        raise DatasetError(
            f"{marker.parent} holds predictions of other classes than the contest's (see {marker}); its are "
            f"{', '.join(asked)}"
        )


def _check_replaceable(out: Path, pictures: Path) -> None:
    """Raise ConfigError where the output would replace anything but an earlier submission."""
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; give a file")
    if not out.exists():
        return
    with out.open("rb") as stream:
        first = stream.readline(80).removeprefix(b"\xef\xbb\xbf").strip()
    if first != ",".join(HEADER).encode() or out.resolve() == pictures.resolve():
        raise ConfigError(f"{out} is there and no submission; choose another name, or move it away")
