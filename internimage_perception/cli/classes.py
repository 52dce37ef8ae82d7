"""Read a list of classes, such as `config/classes.yaml`."""

from pathlib import Path

import yaml

from internimage_perception.errors import ConfigError
from internimage_perception.inference.bundle import ClassSpec


def read_classes(path: Path) -> tuple[ClassSpec, ...]:
    """Return the classes of a YAML file: `classes:` with `{id, name, color: [r, g, b]}`, ids from 0 upwards.

    Raises ConfigError naming the entry that is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as a list of classes: {error}") from error
    entries = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path} holds no classes; write `classes:` and a list of id, name and color")
    classes = tuple(_class(path, index, entry) for index, entry in enumerate(entries))
    names = [spec.name for spec in classes]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path}: class {', '.join(repeated)} appears twice")
    return classes


def _class(path: Path, index: int, entry: object) -> ClassSpec:
    where = f"{path}: classes[{index}]"
    if not isinstance(entry, dict) or entry.get("id") != index:
        raise ConfigError(f"{where} needs `id: {index}`: ids count up from 0 without gaps")
    name, color = entry.get("name"), entry.get("color")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where} needs a name")
    parts = color if isinstance(color, list) else []
    if len(parts) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in parts):
        raise ConfigError(f"{where} needs `color: [r, g, b]`, each from 0 to 255, not {color!r}")
    return ClassSpec(index, name, (parts[0], parts[1], parts[2]))
