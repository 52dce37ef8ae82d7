"""The pictures that `predict` reads: files and folders, a list in CSV, or any dataset."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from internimage_perception.cli.augment_source import SourceOptions, folders_read
from internimage_perception.data.datasets import Dataset, LabelMap, load_label_map, open_dataset
from internimage_perception.data.datasets.dataset import Entry, FileDataset
from internimage_perception.data.datasets.files import PICTURES, list_files
from internimage_perception.data.datasets.picture_list import read_picture_list
from internimage_perception.data.names import check_names
from internimage_perception.data.sample import Sample
from internimage_perception.errors import ConfigError
from internimage_perception.inference.bundle import sha256_of

_LABEL_MAP = "dacon_255_to_12"


@dataclass(frozen=True)
class SourceChoice:
    """What the command line says of the pictures.

    Attributes:
        inputs: pictures, folders of pictures, or one list in CSV.
        dataset: a dataset in YAML instead.
        classes: names of the model's classes.
        score: read labels too, and demand that there are some.
        label_map: what the label ids of a list mean; None: the contest's.
    """

    inputs: Sequence[Path]
    dataset: Path | None
    classes: Sequence[str]
    score: bool = False
    label_map: str | None = None


class Pictures:
    """Pictures by index, each with the name of its outputs.

    Args:
        dataset: where they come from.
        paths: of the pictures; empty where they are not known.
        folders: that are read as a whole, by what names them.
        described: tells these pictures from others, beside names and paths.
    """

    def __init__(
        self, dataset: Dataset, paths: Sequence[Path], folders: dict[str, Path], described: str = ""
    ) -> None:
        check_names(dataset.names)
        self.dataset, self.paths, self.folders = dataset, tuple(paths), folders
        self._described = described
        # Files are read side by side; what else a dataset reads from may have one position for all.
        self._lock = None if isinstance(dataset, FileDataset) else Lock()

    @property
    def names(self) -> Sequence[str]:
        """Names of the outputs: relative paths without suffix, or ids."""
        return self.dataset.names

    def read(self, index: int) -> Sample:
        """Read a picture, from any thread. Raises DatasetError naming the file that cannot be used."""
        if self._lock is None:
            return self.dataset[index]
        with self._lock:
            return self.dataset[index]

    def identity(self) -> dict[str, object]:
        """Return what tells these pictures from others, as plain values."""
        digest = hashlib.sha256(self._described.encode())
        for index, name in enumerate(self.names):
            path = os.path.abspath(self.paths[index]) if self.paths else ""  # noqa: PTH100 - keeps links
            digest.update(f"{name}\0{path}\0".encode("utf-8", "surrogateescape"))
        return {"count": len(self.names), "digest": digest.hexdigest()[:16]}


def open_pictures(choice: SourceChoice) -> Pictures:
    """Return the pictures of the command line.

    Raises:
        ConfigError: no pictures, or options that exclude each other; nothing to score with.
        DatasetError: a list or dataset cannot be used, or two pictures would have outputs of one name.
    """
    if choice.label_map is not None and not (choice.score and choice.dataset is None):
        raise ConfigError("--label-map is for --score with a list in CSV; a dataset says its own")
    if choice.dataset is not None:
        return _of_dataset(choice, choice.dataset)
    if not choice.inputs:
        raise ConfigError("give pictures, folders of pictures, a list in CSV, or --dataset")
    lists = [path for path in choice.inputs if path.suffix.lower() == ".csv" and path.is_file()]
    if not lists:
        return _of_paths(choice)
    if len(choice.inputs) > 1:
        raise ConfigError(f"{lists[0]} is a list of pictures, which is given alone; label others separately")
    return _of_list(choice, lists[0])


def _of_paths(choice: SourceChoice) -> Pictures:
    if choice.score:
        raise ConfigError("--score needs labels: a list in CSV with the column gt_path, or --dataset")
    found: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    for given in choice.inputs:
        if given.is_dir():
            folders[str(given)] = given
            pictures = list_files(given, PICTURES, "pictures")
        elif given.exists():
            pictures = {given.stem: given}
        else:
            raise ConfigError(f"there is no {given}; give pictures, folders of pictures, or a list in CSV")
        for name, path in pictures.items():
            if name in found:
                raise ConfigError(
                    f"{found[name]} and {path} would both become {name}.png; label them into separate folders"
                )
            found[name] = path
    entries = [Entry(name, path) for name, path in found.items()]
    title = ", ".join(map(str, choice.inputs[:3])) + (", ..." if len(choice.inputs) > 3 else "")
    return Pictures(_files(title, entries, choice), list(found.values()), folders)


def _of_list(choice: SourceChoice, file: Path) -> Pictures:
    entries = read_picture_list(file, labelled=None if choice.score else False)
    if choice.score and not any(entry.labels for entry in entries):
        raise ConfigError(f"--score needs labels, but {file} has no column gt_path, or nothing in it")
    return Pictures(_files(str(file), entries, choice), [entry.image for entry in entries], {})


def _files(title: str, entries: Sequence[Entry], choice: SourceChoice) -> FileDataset:
    if not choice.score:
        return FileDataset(title, entries, LabelMap.identity(choice.classes))
    label_map = load_label_map(choice.label_map or _LABEL_MAP)
    _check_classes(label_map.classes, choice, f"the label map {label_map.name}")
    return FileDataset(title, entries, label_map)


def _of_dataset(choice: SourceChoice, file: Path) -> Pictures:
    if choice.inputs:
        raise ConfigError("--dataset says all of the pictures; leave out the others")
    folders = folders_read(SourceOptions(dataset=file))
    dataset = open_dataset(file)
    if choice.score:
        _check_classes(dataset.classes, choice, str(file))
    return Pictures(dataset, (), folders, sha256_of(file))


def _check_classes(classes: Sequence[str], choice: SourceChoice, where: str) -> None:
    """Raise ConfigError unless the truth's class ids mean what the model's do."""
    model = list(choice.classes)
    if list(classes) != model[: len(classes)]:
        raise ConfigError(
            f"{where} gives the classes {', '.join(classes)}, but the model has {', '.join(model)}; "
            "--score needs ids of one meaning: choose another label map"
        )
