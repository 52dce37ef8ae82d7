"""Pictures of synthetic streets, as many as one wants."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.label_map_file import class_names
from internimage_perception.data.sample import Sample
from internimage_perception.errors import ConfigError
from internimage_perception.resources import share_path

Bytes = npt.NDArray[np.uint8]


class RandomStreets:
    """Random labelled pictures with random lenses, see docs/street.md; the same arguments give the same ones.

    A street's pictures are rendered in order, and kept until another street is asked for: read them in
    order, or shuffle streets, not pictures.

    Args:
        length: how many pictures there are; the first are the same whatever the length.
        seed: of the first street.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        split: streets for training or held-out ones.
        per_street: pictures of each street.
        rays: per pixel, 1 or 4.
        tall: cameras up to 2.4 m above the ground, on vans and cars.

    Raises:
        ConfigError: a number out of range, or the extra `sim` is not installed.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        width: int = 320,
        height: int = 256,
        split: Literal["train", "test"] = "train",
        *,
        per_street: int = 12,
        rays: Literal[1, 4] = 4,
        tall: bool = False,
    ) -> None:
        for name, value, least in (
            ("length", length, 1), ("seed", seed, 0), ("width", width, 8), ("height", height, 8),
            ("per_street", per_street, 1),
        ):  # fmt: skip
            if value < least:
                raise ConfigError(f"street: {name} must be at least {least}, not {value}")
        file = share_path("config/classes.yaml")
        self._classes = class_names(file, "classes", file.parent)
        self._length, self._seed, self._size = length, seed, (width, height)
        self._split: Literal["train", "test"] = split
        self._per_street, self._rays, self._tall = per_street, rays, tall
        self._street = -1
        self._drawn: list[tuple[Bytes, Bytes]] = []
        self._rest: Iterator[tuple[Bytes, Bytes]] = iter(())
        self._start(0)

    @property
    def names(self) -> Sequence[str]:
        """`Sample.name` of every sample: split, seed of the street, number of the picture."""
        return [self._name(index) for index in range(self._length)]

    @property
    def run_length(self) -> int:
        """Samples of one street, which are read much faster in order."""
        return self._per_street

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return self._classes

    @property
    def description(self) -> str:
        """What is in it, in a line for people."""
        streets = -(-self._length // self._per_street)
        return (
            f"synthetic streets ({self._split}): {self._length} pictures, all with labels, of "
            f"{self._size[0]}x{self._size[1]} in {streets} streets from seed {self._seed}, "
            f"{len(self.classes)} classes"
        )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """Render a sample, after those before it on its street."""
        place = range(self._length)[index]
        street, view = divmod(place, self._per_street)
        if street != self._street:
            self._start(street)
        while len(self._drawn) <= view:
            self._drawn.append(next(self._rest))
        image, labels = self._drawn[view]
        # Copies: what a caller does to a sample must not be in it the next time.
        return Sample(self._name(place), image.copy(), labels.copy())

    def __getstate__(self) -> dict[str, object]:
        """Return what another process needs; it renders for itself."""
        return {**self.__dict__, "_street": -1, "_drawn": [], "_rest": iter(())}

    def _start(self, street: int) -> None:
        try:
            from internimage_perception.data.street.samples import random_samples  # noqa: PLC0415 - an extra
        except ImportError as error:
            message = f"streets need the extra `sim`: pip install internimage_perception[sim] ({error})"
            raise ConfigError(message) from error
        self._street, self._drawn = street, []
        self._rest = random_samples(
            self._seed + street, self._per_street, width=self._size[0], height=self._size[1],
            split=self._split, samples=self._rays, tall=self._tall,
        )  # fmt: skip

    def _name(self, place: int) -> str:
        street, view = divmod(place, self._per_street)
        return f"{self._split}/{self._seed + street}/{view}"
