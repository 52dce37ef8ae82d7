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
from internimage_perception.geometry import CameraModel, Rig, RigCamera
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
        "left out: every lens stays as it is, and the file becomes a rig file",
    )  # fmt: skip
    parser.add_argument("--camera", help="convert this camera alone")
    parser.add_argument(
        "--theta-max-deg", type=float, metavar="DEGREES",
        help="fit up to this angle off the axis (default: all that the image shows; 70 for pinholes); "
        "without --to, narrow the lenses to it",
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
    if options.to is None and options.picture is not None:
        raise CalibrationError("--picture compares two models; name the new one by --to")
    limit = None if options.theta_max_deg is None else math.radians(options.theta_max_deg)
    done = {}
    made = {name: item for name, item in rig.cameras.items() if options.camera in (None, name)}
    for name, lens in cameras.items():
        try:
            if options.to is not None:
                done[name] = convert_camera(lens, options.to, theta_max=limit)
                made[name] = dataclasses.replace(made[name], camera=done[name].camera)
            elif limit is not None:
                narrow = dataclasses.replace(lens, theta_max=min(limit, lens.theta_max))
                made[name] = dataclasses.replace(made[name], camera=narrow)
        except CalibrationError as error:
            message = f"{options.path}: camera {name!r}: {error}"
            raise CalibrationError(message) from error
    if options.out is not None:
        Rig(made, rig.base_frame).save(options.out)
    if options.picture is not None:
        picture = np.vstack([draw_errors(conversion) for conversion in done.values()])
        write_bytes(options.picture, cv2.imencode(".png", picture)[1].tobytes())
    if options.json:
        report = {
            name: _report(lens, made[name]) | _agreement(done.get(name), options.tolerance)
            for name, lens in cameras.items()
        }
        print(json.dumps({"kind": "conversion", "base_frame": rig.base_frame, "cameras": report}, indent=2))
    else:
        print("\n".join(_lines({name: made[name] for name in cameras}, done, options)))
    return 0


def _read(options: argparse.Namespace) -> tuple[Rig, dict[str, CameraModel]]:
    """Return the file as a rig, and the lenses of the cameras that are asked for."""
    rig, _ = read_cameras(options.path, options)
    lenses = {name: item.camera for name, item in rig.cameras.items() if item.camera is not None}
    if not lenses:
        message = f"{options.path}: no camera of this rig has a lens (`camera`); it comes with the recordings"
        raise CalibrationError(message)
    if options.camera is None:
        return rig, lenses
    if options.camera not in lenses:
        message = f"{options.path}: there is no camera {options.camera!r}; there are {', '.join(lenses)}"
        raise CalibrationError(message)
    return rig, {options.camera: lenses[options.camera]}


def _report(lens: CameraModel, made: RigCamera) -> dict[str, object]:
    assert made.camera is not None  # noqa: S101 - it is the lens, or what became of it
    return {
        "from": lens.to_dict(),
        "to": made.camera.to_dict(),
        "theta_max_deg": round(math.degrees(made.camera.theta_max), 4),
    }


def _agreement(conversion: Conversion | None, tolerance: float) -> dict[str, object]:
    """Return what a fit is worth; nothing where none was made."""
    if conversion is None:
        return {}
    return {
        "rms_px": round(conversion.rms, 6),
        "worst_px": round(conversion.worst, 6),
        "agrees_to_deg": round(math.degrees(conversion.agrees_to(tolerance)), 4),
        "ring_deg": np.degrees(conversion.angles).round(4).tolist(),
        "ring_worst_px": conversion.errors.round(6).tolist(),
    }


def _lines(made: dict[str, RigCamera], done: dict[str, Conversion], options: argparse.Namespace) -> list[str]:
    lines = []
    for name, item in made.items():
        lens = item.camera
        assert lens is not None  # noqa: S101 - as above
        if name in done:
            lines += _fit_lines(name, done[name], options.tolerance)
        else:
            lines.append(
                f"camera {name}: {lens.model}, up to {math.degrees(lens.theta_max):.1f} degrees off the axis"
            )
        if options.out is None:
            text = yaml.safe_dump(
                {"camera": lens.to_dict()}, sort_keys=False, default_flow_style=None, width=110
            )
            lines += [f"    {line}" for line in text.splitlines()]
    lines += [f"wrote {path}" for path in (options.out, options.picture) if path is not None]
    return lines


def _fit_lines(name: str, conversion: Conversion, tolerance: float) -> list[str]:
    limit = math.degrees(conversion.theta_max)
    agreed = math.degrees(conversion.agrees_to(tolerance))
    models = f"{conversion.source.model} to {conversion.camera.model}"
    lines = [
        f"camera {name}: {models}, fitted up to {limit:.1f} degrees off the axis",
        f"  apart    {conversion.rms:.4f} px rms, {conversion.worst:.4f} px at most",
        f"  agree    within {tolerance:g} px up to {agreed:.1f} degrees",
    ]
    if limit < math.degrees(conversion.source.theta_max) - 0.1:
        lines.append("  beyond   the new camera sees nothing, the old one does or may")
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
