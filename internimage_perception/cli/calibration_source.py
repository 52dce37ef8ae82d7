"""Reading rig files and calibrations of other tools, and the options for what the latter leave open."""

import argparse
import re
from pathlib import Path

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import Rig
from internimage_perception.geometry.calibration import (
    Document,
    calibration_as_rig,
    is_rig,
    load_calibration,
)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that `read_cameras` takes."""
    parser.add_argument(
        "--source-model", metavar="MODEL", help="fisheye or pinhole, where a calibration does not say"
    )
    parser.add_argument("--source-size", metavar="WxH", help="image size, where a calibration does not say")


def read_cameras(source: Path | Document, options: argparse.Namespace) -> tuple[Rig, str]:
    """Return a file's cameras as a rig, and the name of the format: "rig" for rig files."""
    document = source if isinstance(source, Document) else Document(source)
    if options.source_model is None and options.source_size is None and is_rig(document):
        return Rig.from_section(document.section("")), "rig"
    size = None
    if options.source_size is not None:
        found = re.fullmatch(r"(\d+)[xX](\d+)", options.source_size)
        if found is None:
            message = f"--source-size is {options.source_size!r}; give columns and rows like 1920x1080"
            raise CalibrationError(message)
        size = int(found[1]), int(found[2])
    calibration = load_calibration(document, model=options.source_model, size=size)
    return calibration_as_rig(calibration), calibration.file_format
