"""Label maps as YAML: the shipped ones by name, one's own by path, small changes in place."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from internimage_perception.data.datasets.label_map import Label, LabelMap, Unknown, class_target
from internimage_perception.errors import ConfigError
from internimage_perception.resources import share_path

LabelMapLike = LabelMap | str | Path | Mapping[str, object]
"""A map; the name of a shipped one; the path of a YAML file; or the content of one.

Content may also be `{base: NAME OR PATH, change: {LABEL: CLASS}, unknown: ignore}`.
"""

_FOLDER = "config/label_maps"
_KEYS = ("source", "classes", "labels", "unknown")
_CHANGE_KEYS = ("base", "change", "unknown")


def shipped_label_maps() -> list[str]:
    """Return the names of the label maps that travel with the package."""
    return sorted(path.stem for path in share_path(_FOLDER).glob("*.yaml"))


def load_label_map(given: LabelMapLike) -> LabelMap:
    """Return a label map, see `LabelMapLike` and docs/datasets.md.

    Raises ConfigError naming file and entry: not readable, an unknown key, a label twice, no such class.
    """
    if isinstance(given, LabelMap):
        return given
    if isinstance(given, Mapping):
        if "base" in given:
            return _changed(given)
        return _parse(dict(given), "label map", "(given)", Path())
    path = Path(given)
    if path.suffix in {".yaml", ".yml"}:
        return _parse(read_yaml(path, "a label map"), str(path), path.stem, path.parent)
    if str(given) not in (names := shipped_label_maps()):
        known = ", ".join(names)
        raise ConfigError(f"no label map {str(given)!r}; give a .yaml file, or one of these: {known}")
    path = share_path(f"{_FOLDER}/{given}.yaml")
    return _parse(read_yaml(path, "a label map"), str(path), path.stem, path.parent)


def map_or_classes(label_map: LabelMapLike | None, classes: Path | Sequence[str] | None) -> LabelMap:
    """Return the label map, or that of ids of `classes`; without either, those of `config/classes.yaml`.

    Raises ConfigError where both are given, or one cannot be used.
    """
    if label_map is not None and classes is not None:
        raise ConfigError("give label_map, which has its classes, or classes, not both")
    if label_map is not None:
        return load_label_map(label_map)
    names = share_path("config/classes.yaml") if classes is None else classes
    return LabelMap.identity(class_names(names, "classes", Path()))


def class_names(given: object, where: str, folder: Path) -> tuple[str, ...]:
    """Return names of classes.

    Args:
        given: a list of names; the path of a list of classes such as `config/classes.yaml`; or
            `{file: PATH, first: N}` for its first N classes.
        where: begins every complaint.
        folder: that relative paths start from.

    Raises:
        ConfigError: none of these, an unreadable file, a name twice, or fewer classes than asked for.
    """
    if isinstance(given, str | Path):
        given = {"file": str(given)}
    if isinstance(given, Mapping) and isinstance(given.get("file"), str) and {*given} <= {"file", "first"}:
        file = folder / Path(str(given["file"])).expanduser()
        content = read_yaml(file, "a list of classes").get("classes")
        entries = content if isinstance(content, list) else []
        names = tuple(item.get("name") if isinstance(item, dict) else None for item in entries)
        if any(item.get("id") != index for index, item in enumerate(entries) if isinstance(item, dict)):
            raise ConfigError(f"{file}: the ids of classes must count up from 0")
        first = given.get("first", len(names))
        if not isinstance(first, int) or not 1 <= first <= len(names):
            raise ConfigError(f"{where}: first: {first!r} classes of {file}, which has {len(names)}")
        names = names[:first]
    elif isinstance(given, list | tuple):
        names = tuple(given)
    else:
        raise ConfigError(f"{where}: classes must be a list of names or {{file: PATH, first: N}}")
    if not names or not all(isinstance(name, str) and name for name in names) or len({*names}) < len(names):
        raise ConfigError(f"{where}: classes must be different names, not {list(names)}")
    return tuple(str(name) for name in names)


def read_yaml(path: Path, what: str) -> dict[str, object]:
    """Return the mapping in a YAML file. Raises ConfigError when there is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as {what}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not {what}: it must be a mapping of keys to values")
    return {str(key): value for key, value in content.items()}


def _changed(given: Mapping[str, object]) -> LabelMap:
    _restrict(given, _CHANGE_KEYS, "label map")
    base, change = given["base"], given.get("change", {})
    if not isinstance(base, str | Path):
        raise ConfigError(f"label map: base must be a name or a path, not {base!r}")
    if not isinstance(change, Mapping):
        raise ConfigError(f"label map: change must be a mapping such as {{truck: ignore}}, not {change!r}")
    return load_label_map(base).changed(dict(change), _unknown(given.get("unknown"), "label map"))


def _parse(content: dict[str, object], where: str, name: str, folder: Path) -> LabelMap:
    _restrict(content, _KEYS, where)
    classes = class_names(content.get("classes"), where, folder)
    entries = content.get("labels")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where}: needs `labels:`, a list of {{id, name, to}}")
    labels = tuple(_label(entry, index, classes, where) for index, entry in enumerate(entries))
    for what, keys in (("id", [str(i.id) for i in labels]), ("name", [i.name for i in labels])):
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ConfigError(f"{where}: the {what} {twice[0]} appears twice")
    source = content.get("source", name)
    unknown = _unknown(content.get("unknown"), where) or "error"
    return LabelMap(name, str(source), classes, labels, unknown)


def _label(entry: object, index: int, classes: tuple[str, ...], where: str) -> Label:
    place = f"{where}: labels[{index}]"
    if not isinstance(entry, dict):
        raise ConfigError(f"{place} must be {{id, name, to}}, not {entry!r}")
    _restrict(entry, ("id", "name", "to", "color"), place)
    number, name, color = entry.get("id", index), entry.get("name"), entry.get("color")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ConfigError(f"{place}: id must be a whole number, at least 0, not {number!r}")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{place} needs a name")
    if "to" not in entry:
        raise ConfigError(f"{place} ({name}) needs `to:`, a class or ignore")
    if color is None:
        return Label(number, name, class_target(entry["to"], classes, place))
    parts = color if isinstance(color, list) else []
    if len(parts) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in parts):
        raise ConfigError(f"{place} ({name}): color must be [r, g, b], each from 0 to 255, not {color!r}")
    return Label(number, name, class_target(entry["to"], classes, place), (parts[0], parts[1], parts[2]))


def _unknown(given: object, where: str) -> Unknown | None:
    if given is None or given == "error" or given == "ignore":  # noqa: PLR1714 - a set would not narrow the type
        return given
    raise ConfigError(f"{where}: unknown must be error or ignore, not {given!r}")


def _restrict(given: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    if wrong := [key for key in given if key not in known]:
        raise ConfigError(f"{where}: unknown key {wrong[0]!r}; known are {', '.join(known)}")
