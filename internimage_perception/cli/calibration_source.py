"""Reading rig files and calibrations of other tools, and the options for what the latter leave open."""

import argparse
import re
from pathlib import Path

import yaml

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import Rig
from internimage_perception.geometry.calibration import calibration_as_rig, load_calibration


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that `read_cameras` takes."""
    parser.add_argument(
        "--source-model", metavar="MODEL", help="fisheye or pinhole, where a calibration does not say"
    )
    parser.add_argument("--source-size", metavar="WxH", help="image size, where a calibration does not say")


def read_cameras(path: Path, options: argparse.Namespace) -> tuple[Rig, str]:
    """Return a file's cameras as a rig, and the name of the format: "rig" for rig files."""
    if options.source_model is None and options.source_size is None and _is_rig_file(path):
        return Rig.load(path), "rig"
    size = None
    if options.source_size is not None:
        found = re.fullmatch(r"(\d+)[xX](\d+)", options.source_size)
        if found is None:
            message = f"--source-size is {options.source_size!r}; give columns and rows like 1920x1080"
            raise CalibrationError(message)
        size = int(found[1]), int(found[2])
    calibration = load_calibration(path, model=options.source_model, size=size)
    return calibration_as_rig(calibration), calibration.file_format


def _is_rig_file(path: Path) -> bool:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    cameras = content.get("cameras") if isinstance(content, dict) else None
    if not isinstance(cameras, dict):
        return False
    # Others group their cameras under this key too; ours name topics.
    return any(isinstance(item, dict) and "image_topic" in item for item in cameras.values()) or not cameras
