"""Matrices, coefficients and poses of calibration files, in the notations of OpenCV, ROS and plain lists."""

import math
import re
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from internimage_perception.geometry import poses
from internimage_perception.geometry.camera import CameraModel, CameraParameterError
from internimage_perception.geometry.yaml_section import Section

Floats = npt.NDArray[np.float64]


def numbers(section: Section, key: str) -> list[float]:
    """Return the finite numbers of a vector: a list, a matrix of one row or column, or {rows, cols, data}."""
    if not section.is_list(key):
        shape, data = _stored(section, key)
        if len(data) > 1 and 1 not in shape:
            raise section.error(key, f"must be one row or column, not {shape[0]} x {shape[1]}")
        return data
    value = section.value(key)
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        rows, columns = len(value), len(value[0])
        if 1 not in (rows, columns):
            raise section.error(key, f"must be one row or column, not {rows} x {columns}")
        return [item for row in section.rows(key, rows, columns) for item in row]
    return section.numbers(key)


def matrix(section: Section, key: str, rows: int, columns: int) -> Floats:
    """Return a matrix: a list of rows, a flat list by rows, or {rows, cols, data}."""
    if section.is_list(key):
        return np.array(section.rows(key, rows, columns))
    shape, data = _stored(section, key)
    if shape != (rows, columns):
        raise section.error(key, f"must be {rows} x {columns}, not {shape[0]} x {shape[1]}")
    return np.array(data).reshape(shape)


def _stored(section: Section, key: str) -> tuple[tuple[int, int], list[float]]:
    """Return the shape and the numbers of {rows, cols, data}; several channels count as columns."""
    stored = section.section(key)
    shape = []
    for name in ("rows", "cols"):
        count = stored.number(name)
        if count < 0 or count != int(count):
            raise stored.error(name, f"must be a whole number, not {count:g}")
        shape.append(int(count))
    channels = re.match(r"\d*", str(stored.value("dt"))) if "dt" in stored else None
    shape[1] *= int(channels[0]) if channels and channels[0] else 1
    data = stored.numbers("data")
    if len(data) != shape[0] * shape[1]:
        raise stored.error("data", f"has {len(data)} numbers, but rows and cols say {shape[0]} x {shape[1]}")
    return (shape[0], shape[1]), data


def camera_matrix(section: Section, key: str) -> dict[str, float]:
    """Return fx, fy, cx, cy of a 3 x 3 camera matrix."""
    k = matrix(section, key, 3, 3)
    if k[2, 0] != 0.0 or k[2, 1] != 0.0:
        raise section.error(key, "its last row must be 0, 0, 1; is it transposed, as MATLAB writes it?")
    if k[2, 2] != 1.0 or k[1, 0] != 0.0:
        raise section.error(key, "must be fx, 0, cx; 0, fy, cy; 0, 0, 1")
    if k[0, 1] != 0.0:
        raise section.error(key, f"has the skew {k[0, 1]:g}, which is not supported; calibrate without skew")
    return {"fx": float(k[0, 0]), "fy": float(k[1, 1]), "cx": float(k[0, 2]), "cy": float(k[1, 2])}


def pose(section: Section, key: str) -> Floats:
    """Return a rigid 4 x 4 pose."""
    try:
        return poses.check_pose(matrix(section, key, 4, 4))
    except poses.PoseError as error:
        raise section.error(key, str(error)) from error


def build(
    section: Section,
    make: Callable[..., CameraModel],
    parameters: Mapping[str, object],
    places: Mapping[str, str],
) -> CameraModel:
    """Return make(**parameters); a refused parameter is reported at its key of the file.

    Args:
        section: where the file describes the camera.
        make: a camera model, or another maker of cameras.
        parameters: what it takes.
        places: the file's key of each parameter's name; "" for the others.
    """
    try:
        return make(**parameters)
    except CameraParameterError as error:
        raise section.error(places.get(error.key, places[""]), str(error)) from error


def image_size(section: Section, key: str) -> tuple[float, float]:
    """Return width and height from a vector of two whole numbers."""
    values = numbers(section, key)
    if len(values) != 2:
        raise section.error(key, f"must be width and height, not {len(values)} numbers")
    return _pixels(section, key, values[0]), _pixels(section, key, values[1])


def pixel_count(section: Section, key: str) -> float:
    """Return a width or a height: a whole number, at least 1."""
    return _pixels(section, key, section.number(key))


def _pixels(section: Section, key: str, value: float) -> float:
    if value < 1.0 or math.floor(value) != value:
        raise section.error(key, f"must be a whole number of pixels, at least 1, not {value:g}")
    return value
