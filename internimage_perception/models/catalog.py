"""The registered networks with what they cost and what was published about them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch

from internimage_perception.errors import ConfigError
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.flops import count_parameters, measure_cost
from internimage_perception.models.published import Publication, publication
from internimage_perception.models.registry import create_model, model_names
from internimage_perception.models.segmentor import Segmentor


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """One registered network.

    Attributes:
        name: as `create_model` takes it.
        task: "segmentation", "classification" or "backbone".
        classes: of the logits; None for a backbone.
        parameters: learned numbers, those of an auxiliary head included.
        multiply_adds: for one image of `size`, as `models.flops` counts; None: not counted.
        size: (height, width) they were counted for.
        publication: scores, source, licence.
    """

    name: str
    task: str
    classes: int | None
    parameters: int
    multiply_adds: int | None
    size: tuple[int, int] | None
    publication: Publication

    def to_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        values = asdict(self)
        return values | values.pop("publication")

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        classes = "" if self.classes is None else f", {self.classes} classes"
        yield f"{self.name}: {self.task}{classes}, {self.parameters / 1e6:,.1f} M parameters"
        if self.multiply_adds is not None and self.size is not None:
            height, width = self.size
            yield f"  {self.multiply_adds / 1e9:,.1f} G multiply-adds for an image of {height}x{width}"
        for score in self.publication.scores:
            several = (
                "" if score.multi_scale is None else f", {score.multi_scale} with several scales and flips"
            )
            trained = " -> ".join(score.trained_on)
            yield f"  {score.dataset}: {score.metric} {score.value}{several} (trained on {trained})"
        if self.publication.source:
            yield f"  source: {self.publication.source}"
        yield f"  licence: {self.publication.licence}"


def describe_model(name: str, size: tuple[int, int] | None = None) -> ModelDescription:
    """Describe a registered network without making its weights.

    Args:
        name: one of `model_names()`.
        size: (height, width) to count the multiply-adds for, which takes about a second; None: not counted.

    Raises:
        ConfigError: there is no such name, or the network cannot take that size.
    """
    if name not in model_names():
        message = f"there is no model {name!r}; there are {', '.join(model_names())}"
        raise ConfigError(message)
    with torch.device("meta"):
        model = create_model(name)
    task, classes = "backbone", None
    if isinstance(model, Segmentor):
        task, classes = "segmentation", model.config.num_classes
    elif isinstance(model, Classifier):
        task, classes = "classification", model.classifier.num_classes
    cost = None if size is None else measure_cost(model, size)
    return ModelDescription(
        name=name,
        task=task,
        classes=classes,
        parameters=count_parameters(model),
        multiply_adds=None if cost is None else cost.multiply_adds,
        size=size,
        publication=publication(name),
    )
