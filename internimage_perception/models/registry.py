"""Networks by name: each file in `config/models` is one architecture."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.config import (
    ClassifierConfig,
    Config,
    SegmentorConfig,
    parse_config,
)
from internimage_perception.models.internimage import InternImage
from internimage_perception.models.segmentor import Segmentor
from internimage_perception.resources import share_path

_FOLDER = "config/models"


def model_names() -> list[str]:
    """Return the names `create_model` knows."""
    return sorted(path.stem for path in share_path(_FOLDER).glob("*.yaml"))


def load_config(source: str | Path | Mapping[str, object]) -> Config:
    """Return the configuration of a registered name, a YAML file or a mapping.

    A mapping or file may name another architecture under `base`; its own fields then replace that one's.
    Raises ConfigError.
    """
    try:
        return parse_config(_resolve(source, depth=0))
    except ConfigError as error:
        label = "model configuration" if isinstance(source, Mapping) else f"model {source}"
        message = f"{label}: {error}"
        raise ConfigError(message) from error


def create_model(
    source: str | Path | Mapping[str, object] | Config,
) -> InternImage | Segmentor | Classifier:
    """Build a network with fresh weights, in training mode.

    Args:
        source: a name such as "upernet_internimage_t" (see `model_names`), the path of a YAML file, a
            mapping of the fields of `InternImageConfig` with those of `SegmentorConfig` or
            `ClassifierConfig`, or one of these three.

    Returns:
        `Segmentor` when the configuration has `head_channels`, `Classifier` when it has only `num_classes`,
        else `InternImage`.

    Raises:
        ConfigError: unknown name or field, wrong type or value; the message names it and the known ones.
    """
    config = load_config(source) if isinstance(source, str | Path | Mapping) else source
    if isinstance(config, SegmentorConfig):
        return Segmentor(config)
    if isinstance(config, ClassifierConfig):
        return Classifier(config)
    return InternImage(config)


def lineage(source: str | Path) -> list[str]:
    """Return the name of an architecture and of those it goes back to by `base`, the nearest first.

    A file's name is that without folder and ending. Raises ConfigError.
    """
    load_config(source)  # refuses a chain that is broken or has no end
    names: list[str] = []
    following: object = source
    while isinstance(following, str | Path):
        names.append(Path(following).stem)
        following = _read(following).get("base")
    return names


def _resolve(source: str | Path | Mapping[str, object], depth: int) -> dict[str, object]:
    if depth > 8:
        message = "the chain of `base` entries does not end"
        raise ConfigError(message)
    fields = dict(source) if isinstance(source, Mapping) else _read(source)
    if "base" not in fields:
        return fields
    base = fields.pop("base")
    if not isinstance(base, str):
        message = f"base must be the name of an architecture, got {base!r}"
        raise ConfigError(message)
    return _resolve(base, depth + 1) | fields


def _read(source: str | Path) -> dict[str, object]:
    path = Path(source)
    if path.suffix not in {".yaml", ".yml"}:
        try:
            path = share_path(f"{_FOLDER}/{source}.yaml")
        except PerceptionError:
            names = ", ".join(model_names())
            message = (
                f"there is no model {str(source)!r}; there are {names}, or give the path of a .yaml file"
            )
            raise ConfigError(message) from None
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"cannot read {path}: {error}"
        raise ConfigError(message) from error
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        message = f"{path} must hold fields of one architecture, `name: value`"
        raise ConfigError(message)
    return fields
