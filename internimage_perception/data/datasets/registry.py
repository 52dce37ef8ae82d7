"""Open a dataset by its kind: from YAML, from a mapping, or from Python."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from internimage_perception.data.datasets.dataset import Dataset
from internimage_perception.data.datasets.label_map_file import read_yaml
from internimage_perception.data.datasets.options import make
from internimage_perception.errors import ConfigError

# Modules are imported when a kind is first asked for: bags and the street need libraries of their own.
_SHIPPED = {
    "bag": "bag:BagImages",
    "camvid": "camvid:CamVid",
    "cityscapes": "cityscapes:Cityscapes",
    "coco": "coco:Coco",
    "dacon": "dacon:Dacon",
    "folders": "folders:FolderPairs",
    "kitti360": "kitti360:Kitti360",
    "nuscenes": "nuscenes:NuScenes",
    "street": "street:RandomStreets",
    "woodscape": "woodscape:WoodScape",
}
_added: dict[str, type] = {}


def dataset_kinds() -> list[str]:
    """Return the kinds that `open_dataset` knows."""
    return sorted({*_SHIPPED, *_added})


def register_dataset(kind: str, cls: type) -> None:
    """Make a class of one's own a kind; its constructor's typed parameters become the options.

    Raises ConfigError when the kind exists already.
    """
    if kind in dataset_kinds():
        raise ConfigError(f"there is a kind of dataset called {kind!r} already")
    _added[kind] = cls


def dataset_class(kind: str, where: str = "") -> type:
    """Return the class of a kind. Raises ConfigError, begun by `where`, listing the kinds there are."""
    if kind in _added:
        return _added[kind]
    if kind not in _SHIPPED:
        known = ", ".join(dataset_kinds())
        raise ConfigError(f"{where}no kind of dataset is called {kind!r}; known are {known}")
    module, _, name = _SHIPPED[kind].partition(":")
    found = importlib.import_module(f"internimage_perception.data.datasets.{module}")
    return cast("type", getattr(found, name))


def load_dataset(kind: str, **options: object) -> Dataset:
    """Return a dataset of a kind, see docs/datasets.md for kinds and options.

    Raises:
        ConfigError: no such kind; an option that is unknown, missing or of the wrong type.
        DatasetError: the folder is missing, empty, or its files do not fit together.
    """
    return _make(kind, options, "dataset", Path())


def open_dataset(given: str | Path | Mapping[str, object]) -> Dataset:
    """Return the dataset that a mapping, or the YAML file at a path, describes: `kind` and its options.

    Relative paths in a file start from the file's folder. Raises as `load_dataset`.
    """
    if isinstance(given, Mapping):
        content, where, folder = dict(given), "dataset", Path()
    else:
        file = Path(given)
        content, where, folder = read_yaml(file, "a dataset"), str(file), file.parent
    kind = content.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: `kind` is missing; it is one of {', '.join(dataset_kinds())}")
    return _make(kind, content, where, folder)


def _make(kind: str, options: Mapping[str, object], where: str, folder: Path) -> Dataset:
    cls = dataset_class(kind, f"{where}: ")
    return cast("Dataset", make(cls, options, f"{where}: {kind}", folder))
