"""Options from YAML or a call, checked against the typed parameters of what they are for."""

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar, Union

from internimage_perception.errors import ConfigError

_T = TypeVar("_T")
_YAML = {".yaml", ".yml"}


def parameters(cls: type) -> dict[str, tuple[object, object]]:
    """Return the options of a class: name to (type, default), `inspect.Parameter.empty` if required."""
    hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]  # the class itself, not an instance
    signature = inspect.signature(cls)
    return {name: (hints[name], item.default) for name, item in signature.parameters.items()}


def make(cls: Callable[..., _T], options: Mapping[str, object], where: str, folder: Path) -> _T:
    """Return `cls(**options)`.

    Args:
        cls: a class whose constructor's parameters are typed: Path, text, numbers, flags, literals, tuples.
        options: as YAML gives them: paths are texts, tuples are lists.
        where: begins every complaint.
        folder: that relative paths start from.

    Raises:
        ConfigError: an option that is unknown, missing, or of the wrong type.
    """
    known = parameters(typing.cast("type", cls))
    for given in options:
        if (name := str(given)) not in known:
            close = difflib.get_close_matches(name, known, 1)
            maybe = f" (did you mean {close[0]}?)" if close else ""
            raise ConfigError(f"{where}: unknown option {name!r}{maybe}; known are {', '.join(known)}")
    for name, (hint, default) in known.items():
        if default is inspect.Parameter.empty and name not in options:
            raise ConfigError(f"{where}: the option {name} is missing: {describe(hint)}")
    values = {}
    for name, value in options.items():
        wanted = known[name][0]
        try:
            values[name] = _converted(value, wanted, folder)
        except TypeError:
            raise ConfigError(f"{where}: {name} must be {describe(wanted)}, not {value!r}") from None
    return cls(**values)


def describe(hint: object) -> str:
    """Return in words which values a type hint takes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        words = [describe(item) for item in arguments if item is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple:
        return f"a list of {describe(arguments[0]).removeprefix('a ')}s"
    names = {Path: "a path", str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    if isinstance(hint, type) and hint in names:
        return names[hint]
    return "a mapping" if origin is not None else getattr(hint, "__name__", str(hint))


def _converted(value: object, hint: object, folder: Path) -> object:
    """Return the value as the hint's type. Raises TypeError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return _converted_to_any(value, arguments, folder)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_converted(item, arguments[0], folder) for item in value)
    if hint is Path and isinstance(value, str | Path) and str(value):
        return folder / Path(value).expanduser()
    if _accepts(hint, value):
        return value
    raise TypeError


def _accepts(hint: object, value: object) -> bool:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return type(value) in {int, float}
    if hint in {int, bool}:
        return type(value) is hint
    wanted = hint if origin is None else origin
    return isinstance(wanted, type) and wanted not in {Path, tuple} and isinstance(value, wanted)


def _converted_to_any(value: object, hints: tuple[object, ...], folder: Path) -> object:
    if value is None and type(None) in hints:
        return None
    # Where both are allowed, a text is a name unless it is a YAML file.
    as_path = isinstance(value, str) and Path(value).suffix in _YAML
    for hint in sorted(hints, key=lambda item: (item is Path) != as_path):
        try:
            return _converted(value, hint, folder)
        except TypeError:
            continue
    raise TypeError
