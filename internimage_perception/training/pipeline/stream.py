"""`SampleStream`: an endless sequence of prepared samples, each a function of seed and number alone."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from internimage_perception.data.datasets import Dataset
from internimage_perception.data.sample import IGNORED, Bytes, Sample
from internimage_perception.errors import ConfigError, DatasetError, PerceptionError
from internimage_perception.training.pipeline.operation import Operation
from internimage_perception.training.pipeline.order import Order

_ATTEMPTS = 20
_TAG = 0


class Failure(NamedTuple):
    """A sample that could not be used.

    Attributes:
        dataset: its title.
        name: of the sample.
        reason: why.
    """

    dataset: str
    name: str
    reason: str


class Drawn(NamedTuple):
    """A prepared sample.

    Attributes:
        sample: with labels in any case.
        student_image: the image after the student's further operations; None: there are none.
        failures: samples that it was taken instead of.
    """

    sample: Sample
    student_image: Bytes | None
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Source:
    """A dataset and what is done to its samples.

    Attributes:
        title: for people.
        dataset: the samples. Where it has `run_length`, as many of its samples stay together and in order.
        operation: done to each sample.
    """

    title: str
    dataset: Dataset
    operation: Operation


class SampleStream:
    """Prepared samples by number, 0, 1, 2, ... without end.

    What a number gives depends on the seed and the number alone: which dataset and sample, see `Order`, and
    all random draws. A sample that cannot be read or does not fit the operations is replaced by another one
    of its dataset, drawn from seed, number and attempt.

    Objects are left out. Unlabelled samples (`labelled=False`) get labels that are 0 where the picture shows
    the scene and `IGNORED` elsewhere; labels that they have are not looked at.

    Args:
        sources: datasets with their operations.
        shares: how often each is asked, in proportion; None: as often as it has samples.
        seed: of everything drawn by lot, 0 or more.
        labelled: samples must have labels.
        student: further operations whose image is given besides; they must not move pixels.

    Raises:
        ConfigError: no sources, or a share that is not positive.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        shares: Sequence[float] | None,
        seed: int,
        *,
        labelled: bool = True,
        student: Operation | None = None,
    ) -> None:
        if not sources or (shares is not None and len(shares) != len(sources)):
            raise ConfigError("a stream of samples needs one or more datasets, and a share for each or none")
        self.sources, self._seed, self._labelled = tuple(sources), seed, labelled
        self._student = student
        self._classes = len(sources[0].dataset.classes)
        runs = [int(getattr(source.dataset, "run_length", 1)) for source in sources]
        self._order = Order([len(source.dataset) for source in sources], shares, seed, runs)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return self.sources[0].dataset.classes

    def __getitem__(self, number: int) -> Drawn:
        """Return a prepared sample.

        Raises:
            DatasetError: none of 20 samples could be used; names them all.
        """
        which, index = self._order[number]
        source = self.sources[which]
        failures: list[Failure] = []
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng([self._seed, _TAG, number, attempt])
            if attempt:
                index = int(rng.integers(len(source.dataset)))
            try:
                sample = self._prepared(source, index, rng)
                student = None if self._student is None else self._student(sample, rng).image
            except PerceptionError as error:
                failures.append(Failure(source.title, source.dataset.names[index], str(error)))
                continue
            return Drawn(sample, student, tuple(failures))
        listed = "".join(f"\n  {failure.name}: {failure.reason}" for failure in failures)
        raise DatasetError(f"{source.title}: none of {_ATTEMPTS} samples in a row could be used:{listed}")

    def _prepared(self, source: Source, index: int, rng: np.random.Generator) -> Sample:
        sample = dataclasses.replace(source.dataset[index], objects=None)
        if not self._labelled:
            sample = dataclasses.replace(sample, labels=_scene(sample))
        elif sample.labels is None:
            raise DatasetError("it has no labels")
        sample = source.operation(sample, rng)
        labels = sample.labels
        if labels is None or labels.shape != sample.image.shape[:2]:
            raise ConfigError("its labels do not have the size of its picture after the operations")
        # One more, in 8 bits, makes IGNORED 0.
        if self._labelled and int((labels + np.uint8(1)).max()) > self._classes:
            highest = int(labels[labels != IGNORED].max())
            raise ConfigError(f"its labels hold {highest}, but there are {self._classes} classes from 0 on")
        return sample


def _scene(sample: Sample) -> Bytes:
    """Return labels of an unlabelled sample: 0 where it shows the scene."""
    labels = np.zeros(sample.image.shape[:2], np.uint8)
    if sample.regions is not None:
        labels[sample.regions.anywhere] = IGNORED
    return labels
