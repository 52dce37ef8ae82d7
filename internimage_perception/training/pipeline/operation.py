"""Operations on samples: their interface, their names, and pipelines of them."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from internimage_perception.data.datasets.options import make
from internimage_perception.data.distortion.augmentation import DrawSample
from internimage_perception.data.sample import Sample
from internimage_perception.errors import ConfigError
from internimage_perception.training.pipeline.colours import Colour, Photometric
from internimage_perception.training.pipeline.crop import Crop
from internimage_perception.training.pipeline.lenses import Composite, Distort, Relabel
from internimage_perception.training.pipeline.placement import Placement, PlaceOperation
from internimage_perception.training.pipeline.resize import Resize
from internimage_perception.training.pipeline.turns import Flip, Rotate

Rng = np.random.Generator


class Operation(Protocol):
    """One step: a sample in, a sample out, which is never the same one changed.

    Everything random comes from `rng`. A sample that it cannot be applied to raises ConfigError: another one
    is taken in its place. It can be pickled, so that several processes can use it.
    """

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return the changed sample."""


_SHIPPED: dict[str, type[Operation]] = {
    "colour": Colour,
    "composite": Composite,
    "crop": Crop,
    "distort": Distort,
    "flip": Flip,
    "photometric": Photometric,
    "relabel": Relabel,
    "resize": Resize,
    "rotate": Rotate,
}
_added: dict[str, type[Operation]] = {}


def operation_names() -> list[str]:
    """Return the operations that `build_pipeline` knows."""
    return sorted({*_SHIPPED, *_added})


def register_operation(name: str, cls: type[Operation]) -> None:
    """Make a class of one's own an operation; its constructor's typed parameters become the options.

    Processes that prepare samples get the built operation, not the name: register in the process that reads
    the configuration. Raises ConfigError when the name exists already.
    """
    if name in operation_names():
        raise ConfigError(f"there is an operation called {name!r} already")
    _added[name] = cls


class Pipeline:
    """Operations one after the other; itself an operation.

    Neighbours that only move pixels (`PlaceOperation`) are joined: the picture is interpolated once.

    Args:
        operations: names and operations, in order.
    """

    def __init__(self, operations: Sequence[tuple[str, Operation]]) -> None:
        self.operations = tuple(operations)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return the sample after all operations. Raises ConfigError naming the one it does not fit."""
        placement: Placement | None = None
        for name, operation in self.operations:
            try:
                if isinstance(operation, PlaceOperation):
                    placement = operation.place(placement or Placement.of(sample), rng)
                else:
                    if placement is not None:
                        sample, placement = placement.sample(), None
                    sample = operation(sample, rng)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from error
        return sample if placement is None else placement.sample()

    def bound(self, another: DrawSample) -> "Pipeline":
        """Return the pipeline with a dataset's other samples at hand, for operations that join several."""
        return Pipeline(
            [
                (name, item.bound(another) if isinstance(item, Distort) else item)
                for name, item in self.operations
            ]
        )

    @property
    def written_labels(self) -> dict[str, int]:
        """Class ids that operations write into labels, by operation and option."""
        return {
            f"{name}: {option}": label
            for name, operation in self.operations
            for option, label in getattr(operation, "written_labels", {}).items()
        }


def build_pipeline(
    operations: Sequence[Mapping[str, object]], *, folder: Path | None = None, where: str = "pipeline"
) -> Pipeline:
    """Return the pipeline that a list of mappings describes: `op` and its options, see docs/training_data.md.

    Args:
        operations: as YAML gives them.
        folder: that relative paths start from; None: the current one.
        where: begins every complaint.

    Raises:
        ConfigError: no such operation; an option that is unknown, missing, of the wrong type or out of range.
        DatasetError: a folder of backgrounds cannot be used.
    """
    return Pipeline([_made(given, folder or Path(), where) for given in operations])


def _made(given: Mapping[str, object], folder: Path, where: str) -> tuple[str, Operation]:
    options = dict(given)
    name = options.pop("op", None)
    known = {**_SHIPPED, **_added}
    if not isinstance(name, str) or name not in known:
        close = difflib.get_close_matches(str(name), known, 1)
        maybe = f" (did you mean {close[0]}?)" if close else ""
        said = "`op` is missing" if name is None else f"no operation is called {name!r}{maybe}"
        raise ConfigError(f"{where}: {said}; known are {', '.join(sorted(known))}")
    place = f"{where}: {name}"
    try:
        return name, make(known[name], options, place, folder)
    except ConfigError as error:
        # Constructors do not know where their options come from.
        if str(error).startswith(place):
            raise
        raise ConfigError(f"{place}: {error}") from error
