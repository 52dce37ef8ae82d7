"""`open_sources`: the stream of samples that a training configuration describes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from internimage_perception.data.datasets import Dataset, open_dataset
from internimage_perception.data.sample import IGNORED, Sample
from internimage_perception.errors import ConfigError
from internimage_perception.training.config import Operations, SourceConfig
from internimage_perception.training.pipeline.operation import Pipeline, build_pipeline
from internimage_perception.training.pipeline.stream import SampleStream, Source


def open_sources(
    sources: Sequence[SourceConfig],
    common: Operations = (),
    *,
    seed: int = 0,
    labelled: bool = True,
    student: Operations | None = None,
) -> SampleStream:
    """Open datasets and return the stream of their samples.

    Args:
        sources: the datasets, with shares and operations of their own.
        common: operations for all samples after those.
        seed: of everything drawn by lot.
        labelled: samples must have labels, and datasets the same classes.
        student: operations whose image is given besides, see `SampleStream`.

    Raises:
        ConfigError: an option of a dataset or operation is wrong; shares are given for some only; classes
            differ; an operation writes labels that are no classes.
        DatasetError: a dataset or backgrounds cannot be used.
    """
    after = build_pipeline(common, where="data.pipeline")
    opened: list[Source] = []
    for number, config in enumerate(sources):
        title = _title(config, number)
        own = build_pipeline(config.pipeline, where=f"{title}: pipeline")
        joined = Pipeline([*own.operations, *after.operations])
        dataset = open_dataset(config.dataset)
        opened.append(Source(title, dataset, joined.bound(OtherSamples(dataset))))
        if labelled:
            _check_classes(opened[0], opened[-1])
            _check_labels(opened[-1].dataset, joined, title)
    given = [config.share for config in sources if config.share is not None]
    if given and len(given) != len(sources):
        raise ConfigError("give `share` for every source or for none: the others' would be unclear")
    further = None if student is None else build_pipeline(student, where="student_pipeline")
    return SampleStream(opened, given or None, seed, labelled=labelled, student=further)


@dataclass(frozen=True)
class OtherSamples:
    """Draws samples of a dataset, without objects, for operations that join several pictures."""

    dataset: Dataset

    def __call__(self, rng: np.random.Generator) -> Sample:
        """Return a sample. Raises DatasetError when it cannot be read."""
        return dataclasses.replace(self.dataset[int(rng.integers(len(self.dataset)))], objects=None)


def _title(config: SourceConfig, number: int) -> str:
    dataset = config.dataset
    named = dataset.get("kind", "?") if isinstance(dataset, Mapping) else Path(dataset).name
    return f"source {number} ({named})"


def _check_classes(first: Source, other: Source) -> None:
    mine, theirs = first.dataset.classes, other.dataset.classes
    if mine == theirs:
        return
    if len(mine) != len(theirs):
        said = f"{len(mine)} and {len(theirs)} classes"
    else:
        index = next(index for index, names in enumerate(zip(mine, theirs, strict=True)) if len({*names}) > 1)
        said = f"different classes: {index} is {mine[index]!r} and {theirs[index]!r}"
    raise ConfigError(
        f"{first.title} and {other.title} have {said}; choose label maps with the same classes "
        "(docs/datasets.md)"
    )


def _check_labels(dataset: Dataset, pipeline: Pipeline, title: str) -> None:
    count = len(dataset.classes)
    for place, label in pipeline.written_labels.items():
        if count <= label != IGNORED:
            raise ConfigError(
                f"{title}: {place} is {label}, but there are {count} classes, 0 to {count - 1}; set it to "
                f"{IGNORED}, or choose a label map with that class"
            )
