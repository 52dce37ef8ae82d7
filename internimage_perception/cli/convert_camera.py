"""`internimage-perception convert-camera`: lenses of a rig or calibration file in another camera model."""

import argparse
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from internimage_perception.errors import CalibrationError
from internimage_perception.files import write_bytes, write_text
from internimage_perception.geometry import CameraModel, Rig
from internimage_perception.geometry.calibration import load_calibration
from internimage_perception.geometry.conversion import Conversion, convert_camera
from internimage_perception.geometry.poses import matrix_to_quaternion

_NOT_SEEN = (60, 60, 60)
_WORST_SHOWN_PX = 2.0


@dataclass(frozen=True)
class _Source:
    """A camera of the file: its lens and what else a rig file can hold of it."""

    lens: CameraModel
    entry: dict[str, object]


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
    parser.add_argument("--source-model", metavar="MODEL", help="fisheye or pinhole, where FILE does not say")
    parser.add_argument("--source-size", metavar="WxH", help="image size, where FILE does not say")
    parser.add_argument("--out", type=Path, metavar="YAML", help="write the cameras as a rig file")
    parser.add_argument(
        "--picture", type=Path, metavar="PNG", help="draw how far the pixels of both lie apart"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Convert, report, write."""
    base_frame, sources = _read(options)
    limit = None if options.theta_max_deg is None else math.radians(options.theta_max_deg)
    done = {}
    for name, source in sources.items():
        try:
            done[name] = convert_camera(source.lens, options.to or source.lens.model, theta_max=limit)
        except CalibrationError as error:
            message = f"{options.path}: camera {name!r}: {error}"
            raise CalibrationError(message) from error
    entries: dict[str, object] = {}
    for name, source in sources.items():
        lens = done[name].camera if options.to else source.lens
        entries[name] = {**source.entry, "camera": lens.to_dict()}
    report = {name: _report(conversion, options.tolerance) for name, conversion in done.items()}
    if options.out is not None:
        document = {"base_frame": base_frame, "cameras": entries}
        write_text(options.out, yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=110))
    if options.picture is not None:
        picture = np.vstack([draw_errors(conversion) for conversion in done.values()])
        write_bytes(options.picture, cv2.imencode(".png", picture)[1].tobytes())
    if options.json:
        print(json.dumps({"kind": "conversion", "base_frame": base_frame, "cameras": report}, indent=2))
    else:
        print("\n".join(_lines(done, options, sources)))
    return 0


def _read(options: argparse.Namespace) -> tuple[str, dict[str, _Source]]:
    """Return the base frame and the cameras asked for."""
    if options.source_model is None and options.source_size is None and _is_rig(options.path):
        base_frame, sources = _from_rig(options.path)
    else:
        base_frame, sources = _from_calibration(options)
    if options.camera is None:
        return base_frame, sources
    if options.camera not in sources:
        message = f"{options.path}: there is no camera {options.camera!r}; there are {', '.join(sources)}"
        raise CalibrationError(message)
    return base_frame, {options.camera: sources[options.camera]}


def _is_rig(path: Path) -> bool:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and isinstance(content.get("cameras"), dict)


def _from_rig(path: Path) -> tuple[str, dict[str, _Source]]:
    rig = Rig.load(path)
    sources = {}
    for name, item in rig.cameras.items():
        if item.camera is None:
            continue
        entry: dict[str, object] = {"image_topic": item.image_topic}
        entry |= {
            key: value
            for key, value in (("info_topic", item.info_topic), ("frame_id", item.frame_id))
            if value
        }
        if item.base_from_camera is not None:
            entry["base_from_camera"] = _pose(item.base_from_camera)
        sources[name] = _Source(item.camera, entry)
    if not sources:
        message = f"{path}: no camera of this rig has a lens (`camera`); it comes with the recordings"
        raise CalibrationError(message)
    return rig.base_frame, sources


def _from_calibration(options: argparse.Namespace) -> tuple[str, dict[str, _Source]]:
    calibration = load_calibration(options.path, model=options.source_model, size=_size(options.source_size))
    # A frame that knows every camera can be the rig's base.
    frames = [set(item.poses) for item in calibration.cameras.values()]
    shared = sorted(set.intersection(*frames))
    base_frame = shared[0] if shared else "base_link"
    sources = {}
    for name, item in calibration.cameras.items():
        topic = item.image_topic or f"/camera/{re.sub(r'[^A-Za-z0-9_]', '_', name)}/image_raw"
        entry: dict[str, object] = {"image_topic": topic}
        if shared:
            entry["base_from_camera"] = _pose(item.poses[base_frame])
        sources[re.sub(r"[^A-Za-z0-9_]", "_", name)] = _Source(item.camera, entry)
    return base_frame, sources


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if found is None:
        message = f"--source-size is {text!r}; give columns and rows like 1920x1080"
        raise CalibrationError(message)
    return int(found[1]), int(found[2])


def _pose(pose: npt.NDArray[np.float64]) -> dict[str, object]:
    rotation = matrix_to_quaternion(pose[:3, :3]).tolist()
    return {"translation": pose[:3, 3].tolist(), "rotation": rotation, "optical": True}


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


def _lines(
    done: dict[str, Conversion], options: argparse.Namespace, sources: dict[str, _Source]
) -> list[str]:
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
        if limit < math.degrees(sources[name].lens.theta_max) - 0.1:
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
