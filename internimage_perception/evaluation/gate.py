"""Thresholds that an evaluation must reach, from a YAML file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from internimage_perception.errors import CalibrationError, ConfigError
from internimage_perception.evaluation.rings import RINGS
from internimage_perception.geometry.yaml_section import Section, read_section

_MEANS = ("miou", "miou12", "miou13", "accuracy")
_TIMES = ("p50", "p95", "p99", "mean", "max")


@dataclass(frozen=True, slots=True)
class Limit:
    """One threshold: where the value stands in the report, and how low or high it may be."""

    keys: tuple[str, ...]
    limit: float
    at_most: bool = False

    @property
    def name(self) -> str:
        """The value's place, such as `per_class.Road`."""
        return ".".join(self.keys)


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold and the value found; None where the evaluation had nothing to measure it on."""

    limit: Limit
    value: float | None

    @property
    def passed(self) -> bool:
        """Whether the value is there and good enough."""
        if self.value is None:
            return False
        return self.value <= self.limit.limit if self.limit.at_most else self.value >= self.limit.limit

    def to_dict(self) -> dict[str, object]:
        """Return the check as plain values."""
        kind = "at_most" if self.limit.at_most else "at_least"
        return {
            "name": self.limit.name,
            kind: self.limit.limit,
            "value": self.value,
            "passed": self.passed,
        }


class Gate:
    """Thresholds for one model's evaluation.

    Args:
        path: the file they come from.
        limits: the thresholds.
    """

    def __init__(self, path: Path, limits: Sequence[Limit]) -> None:
        self.path = path
        self.limits = tuple(limits)

    @classmethod
    def load(cls, path: Path, classes: Sequence[str]) -> "Gate":
        """Read a gate file, see docs/evaluation.md, for a model with these classes.

        Raises ConfigError naming file, line and key of what is unknown or out of range.
        """
        try:
            section = read_section(path)
            section.restrict(*_MEANS, "per_class", "per_ring", "per_camera", "latency_ms", "scored_frames")
            limits = list(_score(section, (), classes, ("per_ring", "per_camera")))
            if "latency_ms" in section:
                times = section.section("latency_ms")
                times.restrict(*_TIMES)
                limits += [Limit(("latency_ms", key), _above_zero(times, key), at_most=True) for key in times]
            if "scored_frames" in section:
                limits.append(Limit(("frames", "scored"), _above_zero(section, "scored_frames")))
            if not limits:
                raise section.error("", "holds no threshold")
        except CalibrationError as error:
            # The reader is the rig file's; its complaint stands, its kind would mislead.
            raise ConfigError(f"gate {error}") from error
        return cls(path, limits)

    def check(self, report: Mapping[str, object]) -> list[Check]:
        """Compare a report with the thresholds, in the file's order.

        Raises ConfigError for a camera that was not evaluated.
        """
        checks = []
        for limit in self.limits:
            if limit.keys[0] == "per_camera":
                cameras = report.get("per_camera")
                names = list(cameras) if isinstance(cameras, dict) else []
                if limit.keys[1] not in names:
                    raise ConfigError(
                        f"gate {self.path}: per_camera: there is no camera {limit.keys[1]!r} in this "
                        f"evaluation; it has {', '.join(names)}"
                    )
            checks.append(Check(limit, _look_up(report, limit.keys)))
        return checks


def _score(
    section: Section, keys: tuple[str, ...], classes: Sequence[str], parts: Sequence[str]
) -> Iterator[Limit]:
    """Yield the thresholds of a section whose keys are those of a score in the report."""
    for key in section:
        if key in _MEANS:
            yield Limit((*keys, key), _share(section, key))
        elif key == "per_class":
            table = section.section(key)
            for name in table:
                yield Limit((*keys, key, _class(table, name, classes)), _share(table, name))
        elif key in parts:
            table = section.section(key)
            if key == "per_ring":
                table.restrict(*RINGS)
            inner = ("per_ring",) if key == "per_camera" else ()
            for name in table:
                yield from _part(table, name, (*keys, key, name), classes, inner)


def _part(
    table: Section, name: str, keys: tuple[str, ...], classes: Sequence[str], parts: Sequence[str]
) -> Iterator[Limit]:
    """Yield the thresholds of a ring or camera: a number stands for the mean over all classes."""
    if isinstance(table.value(name), dict):
        section = table.section(name)
        section.restrict(*_MEANS, "per_class", *parts)
        yield from _score(section, keys, classes, parts)
    else:
        yield Limit((*keys, "miou"), _share(table, name))


def _class(table: Section, name: str, classes: Sequence[str]) -> str:
    for known in classes:
        if known.casefold() == name.casefold():
            return known
    raise table.error(name, f"the model has no such class; it has {', '.join(classes)}")


def _share(section: Section, key: str) -> float:
    value = section.number(key)
    if not 0.0 <= value <= 1.0:
        raise section.error(key, f"must be from 0 to 1, not {value:g}")
    return value


def _above_zero(section: Section, key: str) -> float:
    value = section.number(key)
    if value <= 0.0:
        raise section.error(key, f"must be greater than 0, not {value:g}")
    return value


def _look_up(report: Mapping[str, object], keys: Sequence[str]) -> float | None:
    value: object = report
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else None
