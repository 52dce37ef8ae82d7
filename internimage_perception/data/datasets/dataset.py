"""`Dataset`: what training and evaluation read samples from, and the common part of sets of picture files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.label_map import LabelMap
from internimage_perception.data.datasets.pictures import read_image, read_labels
from internimage_perception.data.sample import ObjectLabel, Regions, Sample
from internimage_perception.errors import DatasetError
from internimage_perception.geometry import CameraModel

Bytes = npt.NDArray[np.uint8]
Size = tuple[int, int]


@runtime_checkable
class Dataset(Protocol):
    """Samples by index, read when asked for.

    Making one only lists what there is. It can be pickled, so that several processes can read from it.
    Indices count as those of a list do: -1 is the last sample, beyond the end is an IndexError. A sample
    that cannot be read raises DatasetError naming the file; the other samples can be read all the same.
    """

    @property
    def names(self) -> Sequence[str]:
        """`Sample.name` of every sample, without reading it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""

    @property
    def description(self) -> str:
        """What is in it, in a line for people."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Files of one sample.

    Attributes:
        name: `Sample.name`.
        image: picture.
        labels: label picture, or None.
    """

    name: str
    image: Path
    labels: Path | None = None


class FileDataset:
    """A dataset of picture files and label pictures; kinds add what else they know.

    Attributes:
        label_map: what the labels mean.
    """

    def __init__(self, title: str, entries: Sequence[Entry], label_map: LabelMap) -> None:
        if not entries:
            raise DatasetError(f"{title}: there are no samples")
        self.title = title
        self.label_map = label_map
        self._entries = tuple(entries)
        self._names = [entry.name for entry in entries]

    @property
    def names(self) -> Sequence[str]:
        """`Sample.name` of every sample."""
        return self._names

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return self.label_map.classes

    @property
    def description(self) -> str:
        """What is in it, in a line for people."""
        labelled = sum(entry.labels is not None for entry in self._entries)
        known = f"{labelled} with labels" if labelled else "without labels"
        return (
            f"{self.title}: {len(self)} pictures, {known}, {len(self.classes)} classes "
            f"(label map {self.label_map.name})"
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample. Raises DatasetError naming the file that cannot be used."""
        entry = self._entries[index]
        image = read_image(entry.image)
        size = (image.shape[0], image.shape[1])
        return Sample(
            entry.name, image, self._labels(entry, size), self._objects(entry, size),
            self._camera(entry, size), self._regions(entry, size),
        )  # fmt: skip

    def _labels(self, entry: Entry, size: Size) -> Bytes | None:
        return None if entry.labels is None else read_labels(entry.labels, self.label_map, size)

    def _objects(self, entry: Entry, size: Size) -> tuple[ObjectLabel, ...] | None:  # noqa: ARG002 - kinds read it
        return None

    def _camera(self, entry: Entry, size: Size) -> CameraModel | None:  # noqa: ARG002 - kinds read it
        return None

    def _regions(self, entry: Entry, size: Size) -> Regions | None:  # noqa: ARG002 - kinds read it
        return None
