"""Augmenting a whole dataset into a folder, by several processes, resumable."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from internimage_perception.data.datasets.dataset import Dataset
from internimage_perception.data.distortion.augmentation import DistortionAugmentation
from internimage_perception.data.distortion.backgrounds import BackgroundBank
from internimage_perception.data.distortion.config import DistortionConfig
from internimage_perception.data.distortion.output import OutputFolder, spec_of
from internimage_perception.data.processes import results_in_order
from internimage_perception.data.sample import IGNORED, Sample
from internimage_perception.errors import ConfigError, DatasetError, PerceptionError

_VERSION = 1
# Per process.
_TASKS_AHEAD = 4


@dataclass(frozen=True)
class JobSpec:
    """What is made; the same specification and dataset give the same bytes.

    Attributes:
        config: what the augmentation draws from.
        seed: of the draws, 0 or more. A sample's draws depend on it, the sample's name and the copy's number
            alone.
        copies: samples made of each.
        suffix: of the pictures, ".png" or ".jpg".
        reading: how the dataset is read (its label map, for example), to tell two readings of the same
            pictures apart.
    """

    config: DistortionConfig
    seed: int = 0
    copies: int = 1
    suffix: str = ".png"
    reading: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobResult:
    """What came of a job.

    Attributes:
        made: names of all samples that are in the folder now, in order.
        going_on: how many of them an earlier run had made.
        failed: samples that could not be read or warped, each with the reason.
    """

    made: tuple[str, ...]
    going_on: int
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Task:
    index: int
    origin: str
    copy: int
    name: str


def augment_dataset(
    dataset: Dataset,
    out: Path,
    spec: JobSpec,
    *,
    backgrounds: BackgroundBank | None = None,
    workers: int = 1,
    on_sample: Callable[[int, int], None] = lambda _done, _total: None,
) -> JobResult:
    """Augment every sample of a dataset, or go on where an earlier call was interrupted.

    Args:
        dataset: what to augment; it is only read.
        out: gets the results; see docs/augmentation.md.
        spec: what to make.
        backgrounds: frames behind the warped pictures.
        workers: processes; the result does not depend on it.
        on_sample: called with how many samples are finished, and of how many.

    Raises:
        PerceptionError: the folder holds something else or cannot be written, no sample could be used, a
            sample's name leads out of the folder, or the configuration's labels are no classes.
    """
    _check_names(dataset.names)
    # Before the folder is begun, which would then be for these options.
    with suppress(DatasetError):
        _check_labels(spec.config, dataset.classes, dataset[0])
    folder = OutputFolder(out, _described(dataset, spec, backgrounds), spec.suffix)
    for leftover in out.rglob(".*.part"):
        leftover.unlink(missing_ok=True)
    tasks = [
        _Task(index, name, copy, name if spec.copies == 1 else f"{name}_{copy}")
        for index, name in enumerate(dataset.names)
        for copy in range(spec.copies)
    ]
    missing = [task for task in tasks if not folder.done(task.name)]
    done = len(tasks) - len(missing)
    on_sample(done, len(tasks))
    failed: dict[str, str] = {}
    maker = partial(_maker, dataset, folder, spec, backgrounds)
    results = results_in_order(maker, missing, workers, ahead=_TASKS_AHEAD)
    for number, (task, reason) in enumerate(results, start=1):
        if reason:
            failed[task.origin] = reason
        on_sample(done + number, len(tasks))
    made = tuple(task.name for task in tasks if task.origin not in failed)
    if not made:
        name, reason = next(iter(failed.items()))
        raise PerceptionError(f"none of {len(failed)} pictures could be used; {name}: {reason}")
    folder.finish(made, dataset.classes)
    return JobResult(made, done, tuple(failed.items()))


class _Worker:
    """Makes samples; what a process keeps."""

    def __init__(
        self, dataset: Dataset, folder: OutputFolder, spec: JobSpec, backgrounds: BackgroundBank | None
    ) -> None:
        self._dataset, self._folder, self._spec = dataset, folder, spec
        self._augmentation = DistortionAugmentation(spec.config, backgrounds)

    def make(self, task: _Task) -> tuple[_Task, str]:
        """Make and write a sample; returns the reason if it cannot be read or does not fit."""
        try:
            sample = self._dataset[task.index]
        except DatasetError as error:
            return task, str(error)
        _check_labels(self._spec.config, self._dataset.classes, sample)
        try:
            made = self._augmentation.augment(sample, self._stream(task), self._another)
        except (DatasetError, ConfigError) as error:
            return task, str(error)
        made = replace(made, sample=replace(made.sample, name=task.name))
        self._folder.write(made, {"source": task.origin, "copy": task.copy, "seed": self._spec.seed})
        return task, ""

    def _another(self, rng: np.random.Generator) -> Sample:
        return self._dataset[int(rng.integers(len(self._dataset)))]

    def _stream(self, task: _Task) -> np.random.Generator:
        digest = hashlib.sha256(task.origin.encode()).digest()
        return np.random.default_rng(
            [self._spec.seed, task.copy, *np.frombuffer(digest[:16], "<u4").tolist()]
        )


def _maker(
    dataset: Dataset, folder: OutputFolder, spec: JobSpec, backgrounds: BackgroundBank | None
) -> Callable[[_Task], tuple[_Task, str]]:
    return _Worker(dataset, folder, spec, backgrounds).make


def _check_names(names: Sequence[str]) -> None:
    """Raise PerceptionError for a name whose files would not lie in the folder: they might be the inputs."""
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            message = f"the sample {name!r} leads out of the output folder; names must be relative paths"
            raise PerceptionError(message)


def _check_labels(config: DistortionConfig, classes: Sequence[str], sample: Sample) -> None:
    """Raise PerceptionError where labelled pixels would get a class id that the dataset does not have."""
    if sample.labels is None:
        return
    for key in ("outside_label", "ego_label", "no_source_label"):
        if len(classes) <= (label := getattr(config, key)) != IGNORED:
            message = (
                f"{key} is {label}, but the dataset's labels have {len(classes)} classes, 0 to "
                f"{len(classes) - 1}; set it to {IGNORED}, or choose a label map with that class"
            )
            raise PerceptionError(message)


def _described(dataset: Dataset, spec: JobSpec, backgrounds: BackgroundBank | None) -> dict[str, object]:
    names = hashlib.sha256("\n".join(dataset.names).encode()).hexdigest()[:16]
    behind = hashlib.sha256()
    for frame in backgrounds.frames if backgrounds is not None else ():
        behind.update(frame.name.encode() + frame.image.tobytes())
        behind.update(b"".join(np.packbits(mask).tobytes() for mask in frame.regions))
    return {
        "made_by": "augment",
        "version": _VERSION,
        "seed": spec.seed,
        "copies": spec.copies,
        "pictures": {"kind": spec.suffix, "count": len(dataset), "names": names, "read": dict(spec.reading)},
        "backgrounds": None if backgrounds is None else behind.hexdigest()[:16],
        "config": spec_of(spec.config),
    }
