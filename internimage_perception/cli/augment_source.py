"""The pictures that `augment` reads: folders with labels and objects, or any dataset."""

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from internimage_perception.data.datasets import Dataset, LabelMap, open_dataset
from internimage_perception.data.datasets.coco import Coco
from internimage_perception.data.datasets.folders import FolderPairs
from internimage_perception.data.datasets.label_map_file import read_yaml
from internimage_perception.data.datasets.options import parameters
from internimage_perception.data.datasets.registry import dataset_class
from internimage_perception.data.sample import IGNORED, Sample
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.inference.bundle import sha256_of


@dataclass(frozen=True)
class SourceOptions:
    """What the command line says of the pictures; see `FolderPairs` and `Coco`.

    Attributes:
        images: folder of the pictures.
        labels: folder of their labels.
        image_ending: of the pictures' names.
        label_ending: of the label files' names.
        label_map: what label ids mean.
        raw_labels: keep label ids as they are.
        objects: COCO JSON.
        regions: folder of their regions.
        calibration: lens of all the pictures.
        dataset: a dataset in YAML instead.
    """

    images: Path | None = None
    labels: Path | None = None
    image_ending: str = ""
    label_ending: str = ""
    label_map: str | None = None
    raw_labels: bool = False
    objects: Path | None = None
    regions: Path | None = None
    calibration: Path | None = None
    dataset: Path | None = None

    def reading(self) -> dict[str, str]:
        """Return what decides how the pictures are read: files by their content, folders by being there."""
        read: dict[str, str] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value is None or value == item.default:
                continue
            path = Path(str(value))
            if path.is_file():
                read[item.name] = sha256_of(path)[:16]
            else:
                read[item.name] = "folder" if isinstance(value, Path) else str(value)
        return read


def folders_read(options: SourceOptions) -> dict[str, Path]:
    """Return the folders that are read, by what names them: an option, or a key of the dataset's file.

    Raises ConfigError where that file cannot be read or names no kind of dataset.
    """
    given = {"--input": options.images, "--labels": options.labels, "--regions": options.regions}
    if options.dataset is not None:
        content = read_yaml(options.dataset, "a dataset")
        known = parameters(dataset_class(str(content.get("kind")), f"{options.dataset}: "))
        for key, value in content.items():
            hint = known.get(key, (None, None))[0]
            if isinstance(value, str) and (hint is Path or Path in typing.get_args(hint)):
                given[f"{options.dataset}: {key}"] = options.dataset.parent / Path(value).expanduser()
    return {name: path for name, path in given.items() if path is not None and path.is_dir()}


def open_source(options: SourceOptions) -> Dataset:
    """Return the dataset of the options.

    Raises:
        ConfigError: options that exclude each other, or none that says where pictures are.
        DatasetError: the pictures and what belongs to them do not fit together.
    """
    if options.dataset is not None:
        if dataclasses.replace(options, dataset=None) != SourceOptions():
            raise ConfigError("--dataset says all of the pictures; leave out --input and what goes with it")
        return open_dataset(options.dataset)
    if options.images is None:
        raise ConfigError("give --input, a folder of pictures, or --dataset, a dataset in YAML")
    label_map: LabelMap | str | None = options.label_map
    if options.raw_labels:
        if label_map is not None:
            raise ConfigError("give --label-map or --raw-labels, not both")
        label_map = LabelMap.identity([f"label {number}" for number in range(IGNORED)])
    pairs = FolderPairs(
        options.images, options.labels, options.image_ending, options.label_ending, label_map=label_map,
        regions=options.regions, calibration=options.calibration,
    )  # fmt: skip
    if options.objects is None:
        return pairs
    return WithObjects(pairs, Coco(options.objects, options.images), options.image_ending)


class WithObjects:
    """Pictures with the objects of a COCO file that belong to them, by relative name; others have none.

    Args:
        pictures: with labels or without.
        objects: of pictures in the same folder.
        ending: of the pictures' names, that their samples' names lack.

    Raises:
        DatasetError: the COCO file has none of the pictures.
    """

    def __init__(self, pictures: Dataset, objects: Coco, ending: str = "") -> None:
        self._pictures, self._objects = pictures, objects
        keys = [PurePosixPath(name).with_suffix("").as_posix().removesuffix(ending) for name in objects.names]
        self._index = {key: index for index, key in enumerate(keys)}
        if not {*self._index} & {*pictures.names}:
            raise DatasetError(
                f"{objects.title} has none of the pictures (it has such as {objects.names[0]}, the folder "
                f"{pictures.names[0]}); its file names must start from the folder of pictures"
            )

    @property
    def names(self) -> Sequence[str]:
        """`Sample.name` of every sample."""
        return self._pictures.names

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels' classes; those of objects are the COCO file's."""
        return self._pictures.classes

    @property
    def description(self) -> str:
        """What is in it, in a line for people."""
        return f"{self._pictures.description}; {self._objects.description}"

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample. Raises DatasetError naming the file that cannot be used."""
        sample = self._pictures[index]
        found = self._index.get(sample.name)
        if found is None:
            return sample
        return dataclasses.replace(sample, objects=self._objects[found].objects)
