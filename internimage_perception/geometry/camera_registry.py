"""Camera models by name: the dictionaries of rig files become cameras here."""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Callable, Mapping
from typing import TypeVar

from internimage_perception.geometry.camera import CameraModel, CameraParameterError

_MODELS: dict[str, type[CameraModel]] = {}
_Model = TypeVar("_Model", bound=type[CameraModel])


def register_camera_model(*aliases: str) -> Callable[[_Model], _Model]:
    """Make a model class known to `camera_from_dict` under its `model` name and `aliases` (decorator)."""

    def register(cls: _Model) -> _Model:
        for name in (cls.model, *aliases):
            _MODELS[name] = cls
        return cls

    return register


def camera_keys(model: str) -> frozenset[str]:
    """Return the keys `camera_from_dict` takes for `model`. Raises CameraParameterError if it is unknown."""
    if model not in _MODELS:
        close = difflib.get_close_matches(model, _MODELS, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        known = ", ".join(sorted(_MODELS))
        raise CameraParameterError("model", f"unknown camera model {model!r}{hint}; known models: {known}")
    names = (field.name for field in dataclasses.fields(_MODELS[model]))
    return frozenset((*names, "model", "theta_max_deg"))


def camera_from_dict(values: Mapping[str, object]) -> CameraModel:
    """Build the camera that `to_dict` or a rig file's `camera` block describes.

    `theta_max_deg` may stand for `theta_max` (radians). Raises CameraParameterError naming the key.
    """
    if "model" not in values:
        known = ", ".join(sorted(_MODELS))
        raise CameraParameterError("model", f"the camera model is not named; add `model`, one of: {known}")
    model = str(values["model"])
    known_keys = camera_keys(model)
    for key in values:
        if key not in known_keys:
            known = ", ".join(sorted(known_keys))
            raise CameraParameterError(key, f"unknown key {key!r} of model {model!r}; known keys: {known}")
    cls = _MODELS[model]
    parameters = {key: value for key, value in values.items() if key not in {"model", "theta_max_deg"}}
    if (degrees := values.get("theta_max_deg")) is not None:
        if "theta_max" in values:
            raise CameraParameterError("theta_max_deg", "give theta_max_deg or theta_max (radians), not both")
        if isinstance(degrees, bool) or not isinstance(degrees, numbers.Real):
            raise CameraParameterError("theta_max_deg", f"theta_max_deg is {degrees!r}; it must be a number")
        parameters["theta_max"] = math.radians(degrees)
    for field in dataclasses.fields(cls):
        if field.name not in parameters and field.default is dataclasses.MISSING:
            message = f"the key {field.name!r} of this {model} camera is missing"
            raise CameraParameterError(field.name, message)
    build: Callable[..., CameraModel] = cls
    return build(**parameters)
