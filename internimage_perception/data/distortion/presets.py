"""Configurations of the augmentation by name, and the way from the keys of a YAML file."""

import dataclasses
import difflib
from collections.abc import Mapping

from internimage_perception.data.distortion.config import COEFFICIENTS, DistortionConfig
from internimage_perception.errors import CalibrationError, ConfigError
from internimage_perception.geometry import CameraModel, camera_from_dict

PRESETS: Mapping[str, DistortionConfig] = {
    "fisheye": DistortionConfig(),
    "lenses": DistortionConfig(
        models=tuple(model for model in COEFFICIENTS if model != "pinhole"), field_of_view_deg=(150.0, 205.0)
    ),
    "dacon2023": DistortionConfig(
        warp="division", interpolation="nearest", outside_label=12, ego_label=12, no_source_label=12,
        image_fill=(12, 12, 12), vignette=(0.0, 0.0), blur_px=(0.0, 0.0), backgrounds="suffix",
    ),
}  # fmt: skip
"""Configurations by name: Kannala-Brandt fisheyes, fisheyes of every model, a DACON 2023 entry's."""


def config_from_dict(values: Mapping[str, object], preset: str = "fisheye") -> DistortionConfig:
    """Return a preset with the values of a YAML file in place of its own.

    Args:
        values: keys are `DistortionConfig`'s; `preset` names another one; `cameras` is a list of blocks such
            as a rig file's `camera`.
        preset: where `values` names none.

    Raises:
        ConfigError: an unknown key or preset, or a value out of range.
    """
    given = dict(values)
    name = str(given.pop("preset", preset))
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    known = [item.name for item in dataclasses.fields(DistortionConfig)]
    changes: dict[str, object] = {}
    for key, value in given.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else f"; known: {', '.join(known)}"
            raise ConfigError(f"unknown key {key!r}{hint}")
        changes[key] = _cameras(value) if key == "cameras" else _frozen(value)
    try:
        return dataclasses.replace(PRESETS[name], **changes)  # type: ignore[arg-type]
    except (TypeError, AttributeError) as error:
        raise ConfigError(f"a value is of the wrong kind: {error}") from error


def _cameras(value: object) -> tuple[CameraModel, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError("cameras must be a list of lenses, each with its model, width, height, fx, ...")
    try:
        return tuple(camera_from_dict(item) for item in value)
    except CalibrationError as error:
        raise ConfigError(f"cameras: {error}") from error


def _frozen(value: object) -> object:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {str(key): _frozen(item) for key, item in value.items()}
    return value
