"""`LabelMap`: what the label ids of a published set mean in the classes one wants."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from internimage_perception.data.sample import IGNORED
from internimage_perception.errors import ConfigError, DatasetError

Bytes = npt.NDArray[np.uint8]
Unknown = Literal["error", "ignore"]


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a set.

    Attributes:
        id: number in the set's label files.
        name: as the set calls it.
        target: class id it becomes, or `IGNORED`.
        color: (r, g, b) in the set's label pictures, for sets that have colours instead of ids.
    """

    id: int
    name: str
    target: int
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class LabelMap:
    """Maps every label of a set to a class or to `IGNORED`; immutable.

    Attributes:
        name: of the map, for people.
        source: whose labels they are, for people.
        classes: names of the classes mapped to, in the order of their ids.
        labels: every label of the set, ids and names unique.
        unknown: what becomes of a label the map does not list: "error", or "ignore" like `IGNORED`.
        ignored: how often this copy of the map, in this process, ignored which unlisted label: pixels by id
            or colour, objects by name or number.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    labels: tuple[Label, ...]
    unknown: Unknown = "error"
    ignored: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    @classmethod
    def identity(cls, classes: Sequence[str]) -> "LabelMap":
        """Return the map of labels that are class ids already, with 255 for ignored pixels."""
        labels = [Label(index, name, index) for index, name in enumerate(classes)]
        if len(labels) <= IGNORED:
            labels.append(Label(IGNORED, "ignored", IGNORED))
        return cls("identity", "class ids", tuple(classes), tuple(labels))

    def changed(self, change: Mapping[str, str | int], unknown: Unknown | None = None) -> "LabelMap":
        """Return the map with other targets.

        Args:
            change: name of a label to the name or id of a class, or "ignore".
            unknown: what becomes of labels that are not listed; None: as before.

        Raises:
            ConfigError: a label or class that does not exist.
        """
        if missing := [name for name in change if name not in self._by_name]:
            known = ", ".join(self._by_name)
            raise ConfigError(f"label map {self.name}: no label {missing[0]!r} to change; there are {known}")
        labels = tuple(
            dataclasses.replace(item, target=class_target(change[item.name], self.classes, self.name))
            if item.name in change
            else item
            for item in self.labels
        )
        name = f"{self.name} (changed)" if change else self.name
        return dataclasses.replace(self, name=name, labels=labels, unknown=unknown or self.unknown)

    def target_of(self, name: str) -> int | None:
        """Return the class id of a label's name, `IGNORED`, or None for a name the map does not list."""
        return self._target(self._by_name.get(name), name)

    def target_of_id(self, number: int) -> int | None:
        """Return the class id of a label's number, `IGNORED`, or None for one the map does not list."""
        return self._target(self._by_id.get(number), number)

    def apply(self, ids: Bytes, where: object) -> Bytes:
        """Return the class ids of label ids, uint8 of any shape (height, width).

        Raises DatasetError naming `where` (a file), the id and its first pixel, for an id that is not listed.
        """
        if not (known := self._known[ids]).all():
            if self.unknown == "ignore":
                self._count(ids[~known])
                return self._targets[ids]
            row, column = np.argwhere(~known)[0].tolist()
            raise DatasetError(
                f"{where} holds label id {ids[row, column]} (row {row}, column {column}; "
                f"{np.count_nonzero(~known)} pixels have ids that are not in the label map {self.name}, made "
                f"for {self.source}); choose the map for these labels, add the id, or set `unknown: ignore`"
            )
        return self._targets[ids]

    def apply_colors(self, image: Bytes, where: object) -> Bytes:
        """Return the class ids of a colour-coded label picture, uint8 RGB (height, width, 3).

        Raises DatasetError naming `where` and the colour, for a colour that is not listed.
        """
        keys = _color_keys(image)
        order, colors, targets = self._colors
        if not colors.size:
            raise ConfigError(f"label map {self.name} has no colours: use it for label pictures of ids")
        found = np.minimum(np.searchsorted(colors, keys), colors.size - 1)
        known = colors[found] == keys
        if self.unknown == "ignore":
            self._count(keys[~known], "#{:06x}")
        elif not known.all():
            row, column = np.argwhere(~known)[0].tolist()
            raise DatasetError(
                f"{where} has the colour {image[row, column].tolist()} (row {row}, column {column}; "
                f"{np.count_nonzero(~known)} pixels have colours that are not in the label map {self.name}); "
                "was the picture resized or saved with loss? Else add the colour, or set `unknown: ignore`"
            )
        result: Bytes = np.where(known, targets[order[found]], np.uint8(IGNORED)).astype(np.uint8)
        return result

    def __str__(self) -> str:
        """Return a table for people: label, its id, what it becomes."""
        width = max(len(item.name) for item in self.labels)
        lines = [f"{self.name}: {self.source} to {len(self.classes)} classes; unknown labels: {self.unknown}"]
        for item in self.labels:
            goal = "ignored" if item.target == IGNORED else f"{item.target} {self.classes[item.target]}"
            lines.append(f"  {item.id:>3} {item.name:<{width}} -> {goal}")
        return "\n".join(lines)

    def _target(self, label: Label | None, given: object) -> int | None:
        if label is not None:
            return label.target
        if self.unknown == "error":
            return None
        self.ignored[str(given)] += 1
        return IGNORED

    def _count(self, values: npt.NDArray[np.uint8] | npt.NDArray[np.uint32], form: str = "{}") -> None:
        for value, count in zip(*np.unique(values, return_counts=True), strict=True):
            self.ignored[form.format(int(value))] += int(count)

    @cached_property
    def _by_name(self) -> dict[str, Label]:
        return {item.name: item for item in self.labels}

    @cached_property
    def _by_id(self) -> dict[int, Label]:
        return {item.id: item for item in self.labels}

    @cached_property
    def _targets(self) -> Bytes:
        table = np.full(256, IGNORED, np.uint8)
        for item in self.labels:
            if item.id < table.size:
                table[item.id] = item.target
        return table

    @cached_property
    def _known(self) -> npt.NDArray[np.bool_]:
        table = np.zeros(256, np.bool_)
        table[[item.id for item in self.labels if item.id < table.size]] = True
        return table

    @cached_property
    def _colors(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint32], Bytes]:
        colored = [item for item in self.labels if item.color is not None]
        colors = np.array([item.color for item in colored], np.uint8).reshape(1, -1, 3)
        keys = _color_keys(colors)[0]
        order = np.argsort(keys)
        return order, keys[order], np.array([item.target for item in colored], np.uint8)


def class_target(given: object, classes: Sequence[str], where: str) -> int:
    """Return the class id that `given` means: a name, an id, or "ignore". Raises ConfigError."""
    if given == "ignore":
        return IGNORED
    if isinstance(given, str) and given in classes:
        return classes.index(given)
    if isinstance(given, int) and not isinstance(given, bool) and (0 <= given < len(classes)):
        return given
    known = f"{', '.join(classes)}, their ids 0 to {len(classes) - 1}"
    raise ConfigError(f"label map {where}: {given!r} is no class; write ignore or one of {known}")


def _color_keys(image: Bytes) -> npt.NDArray[np.uint32]:
    red, green, blue = (image[..., channel].astype(np.uint32) for channel in range(3))
    return np.asarray((red << 16) | (green << 8) | blue, np.uint32)
