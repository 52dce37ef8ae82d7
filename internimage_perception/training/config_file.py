"""Training configurations in YAML: one file on top of another, and single values from the command line."""

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from internimage_perception.data.datasets.label_map_file import read_yaml
from internimage_perception.errors import ConfigError
from internimage_perception.resources import share_path
from internimage_perception.training.config import TrainingConfig

_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_FOLDER = "config/training/segmentation"
_MOST_BASES = 8
# Half of one file's and half of another's would fit nobody's intention.
_REPLACED_WHOLE = {"model", "dataset", "sources"}


def training_names() -> list[str]:
    """Return the names of the configurations that travel with the package."""
    return sorted(path.stem for path in share_path(_FOLDER).glob("*.yaml"))


def load_training(given: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Return the configuration of a file, or of a name such as those of `training_names`.

    Args:
        given: a .yaml file or a name. `base` in a file names another one (relative to it, or by name) whose
            values hold where the file has none.
        overrides: `key=value` with keys such as `optimizer.learning_rate` or `data.sources.0.dataset.root`,
            and values as in YAML.

    Raises:
        ConfigError: naming file and key: not readable, unknown, of the wrong type or out of range.
    """
    path = _locate(str(given), Path())
    content = _layers(path)
    for word in overrides:
        _override(content, word)
    return _checked(content, str(path))


def _locate(given: str, folder: Path) -> Path:
    path = folder / Path(given).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        return path
    if given in (names := training_names()):
        return share_path(f"{_FOLDER}/{given}.yaml")
    close = difflib.get_close_matches(given, names, 1)
    maybe = f" (did you mean {close[0]}?)" if close else ""
    raise ConfigError(f"no training is called {given!r}{maybe}; give a .yaml file, or: {', '.join(names)}")


def _layers(path: Path) -> dict[str, Any]:
    """Return the content of a file on top of its bases."""
    layers: list[dict[str, Any]] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        if following.resolve() in seen or len(seen) >= _MOST_BASES:
            raise ConfigError(f"{path}: its bases go round in circles, by way of {following}")
        seen.append(following.resolve())
        layer = dict(read_yaml(following, "a training configuration"))
        base = layer.pop("base", None)
        if base is not None and not isinstance(base, str):
            raise ConfigError(f"{following}: base must name a file or a configuration, not {base!r}")
        layers.append(layer)
        following = _locate(base, following.parent) if base else None
    content: dict[str, Any] = {}
    for layer in reversed(layers):
        content = _merged(content, layer)
    return content


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; mappings are joined key by key, except networks and datasets, which are replaced whole."""
    found = copy.deepcopy(dict(below))
    for key, value in above.items():
        mine = found.get(key)
        if isinstance(mine, dict) and isinstance(value, dict) and key not in _REPLACED_WHOLE:
            found[key] = _merged(mine, value)
        else:
            found[key] = copy.deepcopy(value)
    return found


def _override(content: dict[str, Any], word: str) -> None:
    """Set the value that `key=value` names."""
    key, sign, text = word.partition("=")
    names = key.split(".")
    if not sign or not all(names):
        raise ConfigError(f"{word!r} is no setting; write key=value, such as optimizer.learning_rate=1e-4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{word!r}: the value is no YAML: {error}") from error
    place: Any = content
    for index, name in enumerate(names[:-1]):
        place = _inner(place, name, word, ".".join(names[: index + 1]))
    last = names[-1]
    if isinstance(place, list):
        place[_position(place, last, word)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise ConfigError(f"{word!r}: {'.'.join(names[:-1])} is {place!r}, which holds no {last}")


def _inner(place: object, name: str, word: str, path: str) -> object:
    if isinstance(place, list):
        return place[_position(place, name, word)]
    if isinstance(place, dict):
        if place.get(name) is None:
            place[name] = {}
        return place[name]
    raise ConfigError(f"{word!r}: {path} does not exist")


def _position(items: Sequence[object], name: str, word: str) -> int:
    if not name.isdecimal() or int(name) >= len(items):
        raise ConfigError(f"{word!r}: {name!r} is no place in a list of {len(items)}; counting begins at 0")
    return int(name)


def _checked(content: Mapping[str, Any], where: str) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate(_floats(content))
    except ValidationError as error:
        lines = []
        found = error.errors()
        for item in found:
            # A list is also too short for pydantic when what it holds is wrong.
            if item["type"] == "too_short" and any(_inside(other["loc"], item["loc"]) for other in found):
                continue
            key = ".".join(map(str, item["loc"]))
            if item["type"] == "extra_forbidden":
                lines.append(_unknown(tuple(item["loc"])))
            elif item["type"] == "missing":
                lines.append(f"{key} is missing")
            else:
                reason = item["msg"].removeprefix("Value error, ")
                shown = "" if isinstance(item["input"], dict) else f" (it is {item['input']!r})"
                lines.append(f"{key}: {reason}{shown}" if key else reason)
        raise ConfigError(f"{where}: " + "; ".join(dict.fromkeys(lines))) from error


def _inside(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _floats(value: object) -> Any:  # noqa: ANN401  # what a file holds, before it is checked
    """Return YAML content in which texts like 6e-5 are numbers, which YAML 1.1 wants written 6.0e-5."""
    if isinstance(value, Mapping):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _unknown(place: tuple[int | str, ...]) -> str:
    """Return the complaint about an unknown key, with the closest known one."""
    kind: type[BaseModel] | None = TrainingConfig
    for name in place[:-1]:
        if isinstance(name, int) or kind is None:
            continue
        field = kind.model_fields.get(name)
        kind = _section(field.annotation) if field is not None else None
    known = list(kind.model_fields) if kind is not None else []
    close = difflib.get_close_matches(str(place[-1]), known, 1)
    maybe = f" (did you mean {close[0]}?)" if close else f"; known are {', '.join(known)}" if known else ""
    return f"unknown key {'.'.join(map(str, place))}{maybe}"


def _section(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _section(argument)) is not None:
            return found
    return cast("type[BaseModel] | None", None)
