"""Camera matrices and coefficients as cv2.FileStorage and its users write them, under many spellings."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import yaml

from internimage_perception.geometry import poses
from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Wanted
from internimage_perception.geometry.calibration.document import Document, keys_of
from internimage_perception.geometry.calibration.values import (
    Floats,
    build,
    camera_matrix,
    image_size,
    matrix,
    numbers,
    pixel_count,
)
from internimage_perception.geometry.camera import CameraModel
from internimage_perception.geometry.camera_info import camera_from_coefficients
from internimage_perception.geometry.fisheye import KannalaBrandtCamera
from internimage_perception.geometry.pinhole import PinholeCamera
from internimage_perception.geometry.unified import MeiCamera
from internimage_perception.geometry.yaml_section import Section

NAME = "OpenCV"
SIGNS = "camera_matrix, cameraMatrix, K, M1, ... with dist_coeffs, distortion_coefficients, D, ..."

_FISHEYE, _PINHOLE, _MEI = KannalaBrandtCamera.model, PinholeCamera.model, MeiCamera.model

MODEL_NAMES = {
    **dict.fromkeys(
        ("fisheye", "equidistant", "kannala_brandt", "kannalabrandt", "opencv_fisheye"), _FISHEYE
    ),
    **dict.fromkeys(("pinhole", "plumb_bob", "radtan", "brown_conrady", "perspective"), _PINHOLE),
    **dict.fromkeys(("rational_polynomial", "rational", "radial-tangential", "opencv"), _PINHOLE),
    **dict.fromkeys(("mei", "omni", "omnidir"), _MEI),
}
"""What files and callers say, and the `model` of the camera class meant."""

# Without case and punctuation. A number, l, r, left or right may follow, left or right also precede.
_SPELLINGS = {
    "matrix": "cameramatrix|cammatrix|cameramat|intrinsicmatrix|intrinsics?|mtx|k|m",
    "coefficients": "distortioncoefficients?|distortioncoeffs?|distortion|distcoeffs?|distcoefs?|dist|d",
    "size": "imagesize|imgsize|resolution",
    "width": "imagewidth|imgwidth|width",
    "height": "imageheight|imgheight|height",
    "xi": "xi",
    "lens": "distortionmodel|distmodel|fisheyemodel|isfisheye|usefisheye|fisheye",
    "camera": "cameramodel|cameratype|projectionmodel|lensmodel|modeltype|model",
}
_SIDES = {"l": "left", "r": "right"}
_PATTERNS = {
    role: re.compile(rf"(left|right)?(?:{names})(left|right|[lr]|\d+)?") for role, names in _SPELLINGS.items()
}
# Of cv2.fisheye alone since OpenCV 5: recompute_extrinsic, check_cond, fix_skew.
_FISHEYE_FLAGS = 0b111 << 23
# Lists or matrices; scalars such as the coefficients k1 and d1 share their spellings. The rest are scalars.
_STRUCTURED = ("matrix", "coefficients", "size")
# What ROS 2 puts between a name and its values.
_PARAMETERS = "ros__parameters"

_Keys = Mapping[tuple[str, str], str]


def matches(outline: dict[str, yaml.Node]) -> bool:
    """Return whether the top-level keys are those of this format."""
    return _has_matrix(outline) or bool(_blocks(outline))


def read(document: Document, wanted: Wanted) -> list[CalibratedCamera]:
    """Return the cameras of the top level, or of the blocks below it, which then name them.

    Several of one level are told apart by the ends of their keys (M1, M2; K_left, K_right). A stereo
    file's R and T, which take points of the first camera to the second, give both a pose in the first
    camera's frame. Other poses are not read: nothing fixes their keys or directions.
    """
    top = document.section(NAME)
    if _has_matrix(document.outline):
        return _cameras(top, wanted)
    cameras = []
    parents: dict[tuple[str, ...], Section] = {(): top}
    blocks = {path: [key for key in path if key != _PARAMETERS] for path in _blocks(document.outline)}
    last = [keys[-1] for keys in blocks.values()]
    for path, keys in blocks.items():
        for end in range(1, len(path)):
            if path[:end] not in parents:
                parents[path[:end]] = parents[path[: end - 1]].section(path[end - 1])
        name = keys[-1] if last.count(keys[-1]) == 1 else "_".join(keys)
        section = parents[path[:-1]].section(path[-1], f"{NAME}, camera {name!r}")
        found = _cameras(section, replace(wanted, stem=name))
        names = [name] if len(found) == 1 else [f"{name}_{camera.name}" for camera in found]
        cameras += [replace(camera, name=own) for own, camera in zip(names, found, strict=True)]
    return cameras


def _cameras(top: Section, wanted: Wanted) -> list[CalibratedCamera]:
    keys = _roles(top)
    sides = [side for role, side in keys if role == "matrix"]
    names = [_name(top, side, wanted) for side in sides]
    frames: list[dict[str, Floats]] = [{} for _ in sides]
    if len(sides) == 2 and "R" in top and "T" in top:
        frames = [{names[0]: np.eye(4)}, {names[0]: _stereo_pose(top)}]
    return [
        CalibratedCamera(name=name, camera=_camera(top, keys, side, wanted), poses=frame)
        for name, side, frame in zip(names, sides, frames, strict=True)
    ]


def _has_matrix(keys: Mapping[str, yaml.Node]) -> bool:
    roles = (_role(key) for key, node in keys.items() if _is_stored(node))
    return any(role is not None and role[0] == "matrix" for role in roles)


def _is_stored(node: yaml.Node) -> bool:
    """Return whether a node can be a matrix or a vector: a list, or {rows, cols, data}."""
    return isinstance(node, yaml.SequenceNode) or not {"rows", "data"}.isdisjoint(keys_of(node))


def _blocks(outline: Mapping[str, yaml.Node], depth: int = 3) -> list[tuple[str, ...]]:
    """Return the paths of the mappings below the top level that hold a camera matrix."""
    paths: list[tuple[str, ...]] = []
    for key, node in outline.items():
        keys = keys_of(node)
        if _has_matrix(keys):
            paths.append((key,))
        elif keys and depth > 1:
            paths += [(key, *path) for path in _blocks(keys, depth - 1)]
    return paths


def _role(key: str) -> tuple[str, str] | None:
    """Return the role of a key and the side it names."""
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    for role, pattern in _PATTERNS.items():
        if (match := pattern.fullmatch(plain)) is not None:
            side = match[1] or match[2] or ""
            return role, _SIDES.get(side, side)
    return None


def _roles(top: Section) -> dict[tuple[str, str], str]:
    """Return the key that fills each role of each side. Two keys for one role are refused."""
    keys: dict[tuple[str, str], str] = {}
    for key in top:
        if (role := _role(key)) is None:
            continue
        value = top.value(key)
        stored = isinstance(value, list) or (
            isinstance(value, dict) and bool({"rows", "data"} & value.keys())
        )
        if role[0] != "xi" and stored is not (role[0] in _STRUCTURED):
            continue
        if role in keys:
            raise top.error(key, f"says the same as {keys[role]}; keep one of them")
        keys[role] = key
    return keys


def _name(top: Section, side: str, wanted: Wanted) -> str:
    if side:
        return side if side in _SIDES.values() else f"camera{side}"
    return top.text("camera_name", wanted.stem)


def _stereo_pose(top: Section) -> Floats:
    translation = numbers(top, "T")
    if len(translation) != 3:
        raise top.error("T", f"must be 3 numbers, not {len(translation)}")
    try:
        return poses.invert(poses.pose(translation, matrix(top, "R", 3, 3)))
    except poses.PoseError as error:
        raise top.error("R", str(error)) from error


def _camera(top: Section, keys: _Keys, side: str, wanted: Wanted) -> CameraModel:
    def find(role: str) -> str:
        return keys.get((role, side)) or keys.get((role, "")) or ""

    matrix_key, d_key = keys["matrix", side], find("coefficients")
    if not d_key:
        raise top.error(matrix_key, "its distortion coefficients (dist_coeffs) are missing; zeros mean none")
    intrinsics = camera_matrix(top, matrix_key)
    d = numbers(top, d_key)
    width, height = _size(top, find("size"), find("width"), find("height"), wanted)
    said = _said(top, find("lens"), find("camera"), find("xi"), wanted)
    model = wanted.model or said or _told_by_count(top, d_key, len(d))
    if said and said != model:
        message = f"the file says {said!r}, although model={wanted.model!r} was given"
        raise top.error(find("lens") or find("camera") or find("xi"), message)
    parameters: dict[str, object] = {**intrinsics, "width": width, "height": height}
    places = {"fx": matrix_key, "fy": matrix_key, "xi": find("xi"), "": d_key}
    if model == _MEI:
        if not find("xi"):
            raise top.error(matrix_key, "its xi is missing, which a mei camera needs")
        return build(top, MeiCamera, {**parameters, "xi": _scalar(top, find("xi")), "d": d}, places)
    name = model if model == _FISHEYE else "plumb_bob" if len(d) < 8 else "rational_polynomial"
    return build(top, camera_from_coefficients, {**parameters, "distortion_model": name, "d": d}, places)


def _size(top: Section, size: str, width: str, height: str, wanted: Wanted) -> tuple[float, float]:
    given = []
    if size:
        given.append(image_size(top, size))
    if width and height:
        given.append((pixel_count(top, width), pixel_count(top, height)))
    elif width or height:
        raise top.error(width or height, "width and height are needed, but one of them is missing")
    if len(set(given)) > 1:
        raise top.error(width, f"contradicts {size}")
    if not given and wanted.size is None:
        raise top.error("", "the image size (image_width, image_height) is missing; add it, or give size=")
    return given[0] if given else (wanted.size or (0, 0))


def _said(top: Section, lens: str, camera: str, xi: str, wanted: Wanted) -> str:
    """Return the model that the file names, or "" where it does not."""
    said = {key: _named(top, key, wanted) for key in (lens, camera) if key}
    models = {model for model in said.values() if model}
    if xi:
        models.add(_MEI)
    if lens and said[lens] == _FISHEYE and camera and said[camera] == _PINHOLE:
        # As in Kalibr: a pinhole whose distortion is the fisheye's.
        models.discard(_PINHOLE)
    if len(models) > 1:
        listed = ", ".join(key for key in (lens, camera, xi) if key)
        raise top.error(lens or camera, f"{listed} contradict each other: {' and '.join(sorted(models))}")
    if not models and "flags" in top and isinstance(flags := top.value("flags"), int):
        return _FISHEYE if flags & _FISHEYE_FLAGS else ""
    return models.pop() if models else ""


def _named(top: Section, key: str, wanted: Wanted) -> str:
    value = top.value(key)
    if value in (0, 1):  # also false and true
        if "fisheye" not in key.lower():
            raise top.error(key, f"must be the name of a model, not {value!r}")
        return _FISHEYE if value else _PINHOLE
    word = str(value).strip().lower().replace(" ", "_")
    model = MODEL_NAMES.get(word, "")
    if not model and not wanted.model:
        known = ", ".join(sorted(MODEL_NAMES))
        raise top.error(
            key, f"unknown model {reprlib.repr(value)}; known: {known}. Give model= to disregard it"
        )
    return model


def _told_by_count(top: Section, key: str, count: int) -> str:
    if count == 4:
        raise top.error(
            key,
            "4 coefficients fit OpenCV's fisheye (k1 to k4) and its pinhole (k1, k2, p1, p2), and the "
            "file does not say which; give model='fisheye' or model='pinhole', or add fisheye_model: 1 (0)",
        )
    return _PINHOLE


def _scalar(top: Section, key: str) -> float:
    """Return a number, which OpenCV may store as a 1 x 1 matrix."""
    value = top.value(key)
    if not isinstance(value, (list, dict)):
        return top.number(key)
    values = numbers(top, key)
    if len(values) != 1:
        raise top.error(key, f"must be one number, not {len(values)}")
    return values[0]
