"""`internimage-perception convert-camera`: lenses of a rig or calibration file in another camera model."""

import argparse
import dataclasses
import json
import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from internimage_perception.cli.calibration_source import add_source_arguments, read_cameras
from internimage_perception.errors import CalibrationError
from internimage_perception.files import write_bytes
from internimage_perception.geometry import Rig, RigCamera
from internimage_perception.geometry.conversion import Conversion, convert_camera

_NOT_SEEN = (60, 60, 60)
_WORST_SHOWN_PX = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "path", type=Path, metavar="FILE", help="rig file, or a calibration (docs/camera_models.md)"
    )
    parser.add_argument(
        "--to", metavar="MODEL",
        help="equidistant, mei, eucm, double_sphere, woodscape, plumb_bob, rational_polynomial; "
        "left out: the models stay, only the file's format changes",
    )  # fmt: skip
    parser.add_argument("--camera", help="convert this camera alone")
    parser.add_argument(
        "--theta-max-deg", type=float, metavar="DEGREES",
        help="fit up to this angle off the axis (default: all that the image shows; 70 for pinholes)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=float, default=0.5, metavar="PX",
        help="say up to which angle both agree within so many pixels (default 0.5)",
    )  # fmt: skip
    add_source_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="YAML", help="write the cameras as a rig file")
    parser.add_argument(
        "--picture", type=Path, metavar="PNG", help="draw how far the pixels of both lie apart"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Convert, report, write."""
    rig, cameras = _read(options)
    limit = None if options.theta_max_deg is None else math.radians(options.theta_max_deg)
    done = {}
    for name, item in cameras.items():
        assert item.camera is not None  # noqa: S101 - `_read` leaves others out
        try:
            done[name] = convert_camera(item.camera, options.to or item.camera.model, theta_max=limit)
        except CalibrationError as error:
            message = f"{options.path}: camera {name!r}: {error}"
            raise CalibrationError(message) from error
    report = {name: _report(conversion, options.tolerance) for name, conversion in done.items()}
    if options.out is not None:
        made = {
            name: dataclasses.replace(item, camera=done[name].camera) if options.to else item
            for name, item in cameras.items()
        }
        Rig(made, rig.base_frame).save(options.out)
    if options.picture is not None:
        picture = np.vstack([draw_errors(conversion) for conversion in done.values()])
        write_bytes(options.picture, cv2.imencode(".png", picture)[1].tobytes())
    if options.json:
        print(json.dumps({"kind": "conversion", "base_frame": rig.base_frame, "cameras": report}, indent=2))
    else:
        print("\n".join(_lines(done, options)))
    return 0


def _read(options: argparse.Namespace) -> tuple[Rig, dict[str, RigCamera]]:
    """Return the file as a rig, and of its cameras those with a lens that are asked for."""
    rig, _ = read_cameras(options.path, options)
    cameras = {name: item for name, item in rig.cameras.items() if item.camera is not None}
    if not cameras:
        message = f"{options.path}: no camera of this rig has a lens (`camera`); it comes with the recordings"
        raise CalibrationError(message)
    if options.camera is None:
        return rig, cameras
    if options.camera not in cameras:
        message = f"{options.path}: there is no camera {options.camera!r}; there are {', '.join(cameras)}"
        raise CalibrationError(message)
    return rig, {options.camera: cameras[options.camera]}


def _report(conversion: Conversion, tolerance: float) -> dict[str, object]:
    return {
        "from": conversion.source.to_dict(),
        "to": conversion.camera.to_dict(),
        "rms_px": round(conversion.rms, 6),
        "worst_px": round(conversion.worst, 6),
        "theta_max_deg": round(math.degrees(conversion.theta_max), 4),
        "agrees_to_deg": round(math.degrees(conversion.agrees_to(tolerance)), 4),
        "ring_deg": np.degrees(conversion.angles).round(4).tolist(),
        "ring_worst_px": conversion.errors.round(6).tolist(),
    }


def _lines(done: dict[str, Conversion], options: argparse.Namespace) -> list[str]:
    lines = []
    for name, conversion in done.items():
        limit = math.degrees(conversion.theta_max)
        agreed = math.degrees(conversion.agrees_to(options.tolerance))
        models = f"{conversion.source.model} to {conversion.camera.model}"
        lines += [
            f"camera {name}: {models}, fitted up to {limit:.1f} degrees off the axis",
            f"  apart    {conversion.rms:.4f} px rms, {conversion.worst:.4f} px at most",
            f"  agree    within {options.tolerance:g} px up to {agreed:.1f} degrees",
        ]
        if limit < math.degrees(conversion.source.theta_max) - 0.1:
            lines.append("  beyond   the new camera sees nothing, the old one does or may")
        if options.out is None:
            text = yaml.safe_dump(
                {"camera": conversion.camera.to_dict()}, sort_keys=False, default_flow_style=None, width=110
            )
            lines += [f"    {line}" for line in text.splitlines()]
    lines += [f"wrote {path}" for path in (options.out, options.picture) if path is not None]
    return lines


def draw_errors(conversion: Conversion) -> npt.NDArray[np.uint8]:
    """Return a picture, BGR (height, width, 3), of the distance between both cameras' pixels.

    Dark blue is 0 and red 2 px or the worst there is, whichever is less; grey is seen by at most one.
    """
    errors = conversion.error_map()
    top = max(min(conversion.worst, _WORST_SHOWN_PX), 1e-6)
    shade = np.clip(np.nan_to_num(errors) / top * 255.0, 0, 255).astype(np.uint8)
    picture = np.asarray(cv2.applyColorMap(shade, cv2.COLORMAP_JET), np.uint8)
    picture[np.isnan(errors)] = _NOT_SEEN
    text = f"{conversion.source.model} to {conversion.camera.model}: red is {top:.3g} px"
    cv2.putText(picture, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return picture
