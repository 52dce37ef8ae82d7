"""`internimage-perception inspect`: what a bag, bundle, rig or calibration holds; how operators run."""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import cv2

from internimage_perception.bags.inspect import describe_bag
from internimage_perception.cli.calibration_source import add_source_arguments, read_cameras
from internimage_perception.cli.describe_bundle import describe_bundle
from internimage_perception.cli.describe_rig import describe_rig
from internimage_perception.cli.draw_rig import draw_rig
from internimage_perception.errors import PerceptionError
from internimage_perception.files import write_bytes
from internimage_perception.geometry import Rig
from internimage_perception.geometry.calibration import Document, is_rig
from internimage_perception.inference.bundle import MANIFEST
from internimage_perception.resources import bundle_path, shipped_bundles

_BAG_SUFFIXES = (".bag", ".mcap", ".db3")
_BAG_METADATA = "metadata.yaml"
_OPS = "ops"
_EXPECTED = (
    f"a bag (rosbag2 folder, .mcap, .db3, ROS 1 .bag), a model bundle (folder with {MANIFEST}), "
    "a rig file (YAML with `cameras`) or a calibration (see docs/camera_models.md)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="bag, bundle folder or name, rig file, calibration; or `ops`"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--picture", type=Path, metavar="PNG",
        help="draw what each lens of a rig or calibration serves, rings of angle, and the rig from above",
    )  # fmt: skip
    add_source_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the description; returns 1 when a bundle's files are not what its manifest says."""
    if options.path == Path(_OPS) and not options.path.exists():
        return _inspect_ops(options)
    kind, path, document = recognize(options.path)
    if kind == "bag":
        bag = describe_bag(path)
        return _show(options, kind, bag.to_dict(), str(bag))
    if kind == "bundle":
        bundle = describe_bundle(path)
        _show(options, kind, bundle.to_dict(), str(bundle))
        return 0 if bundle.intact else 1
    rig, file_format = read_cameras(document or path, options)
    described = describe_rig(path, rig, file_format)
    if options.picture is not None:
        _draw(rig, options.picture)
    return _show(options, kind, described.to_dict(), str(described))


def _draw(rig: Rig, path: Path) -> None:
    try:
        picture = draw_rig(list(rig.cameras.values()))
    except ValueError as error:
        raise PerceptionError(f"there is nothing to draw: {error}") from error
    write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())


def _inspect_ops(options: argparse.Namespace) -> int:
    """Say which implementation of the operators runs on this machine, why, and how fast each one is."""
    try:
        from internimage_perception.ops.report import report_ops  # noqa: PLC0415 - needs torch
    except ImportError as error:
        message = f"the operators run in PyTorch, and {error.name} is missing; pip install torch safetensors"
        raise PerceptionError(message) from error
    report = report_ops()
    return _show(options, _OPS, report.to_dict(), str(report))


class Recognized(NamedTuple):
    """What a path leads to.

    Attributes:
        kind: "bag", "bundle", "rig" or "calibration".
        path: to open.
        document: of a rig or calibration: the file, parsed.
    """

    kind: str
    path: Path
    document: Document | None = None


def recognize(path: Path) -> Recognized:
    """Tell what a path leads to. Raises PerceptionError when it is nothing that `inspect` knows."""
    path = bundle_path(path)
    if not path.exists():
        shipped = ", ".join(shipped_bundles()) or "none"
        raise PerceptionError(f"there is no {path}, and no shipped bundle of that name (shipped: {shipped})")
    if path.is_dir():
        try:
            names = {item.name for item in path.iterdir()}
        except OSError as error:
            raise PerceptionError(f"cannot look into {path}: {error.strerror}") from error
        if MANIFEST in names:
            return Recognized("bundle", path)
        if _BAG_METADATA in names or any(Path(name).suffix in _BAG_SUFFIXES for name in names):
            return Recognized("bag", path)
        raise PerceptionError(f"{path} holds neither {MANIFEST} nor a bag; give {_EXPECTED}")
    if path.suffix in _BAG_SUFFIXES:
        return Recognized("bag", path)
    if path.suffix in (".yaml", ".yml", ".json", ".xml"):
        return _recognize_document(Document(path))
    raise PerceptionError(f"{path} is not known; give {_EXPECTED}")


def _recognize_document(document: Document) -> Recognized:
    path, keys = document.file, document.outline.keys()
    if "rosbag2_bagfile_information" in keys:
        return Recognized("bag", path.parent)
    if path.name == MANIFEST and {"architecture", "classes"} & keys:
        return Recognized("bundle", path.parent)
    return Recognized("rig" if is_rig(document) else "calibration", path, document)


def _show(options: argparse.Namespace, kind: str, values: dict[str, object], text: str) -> int:
    print(json.dumps({"kind": kind, **values}, indent=2) if options.json else text)
    return 0
