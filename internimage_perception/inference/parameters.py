"""The one table of a running perception's parameters: names, types, ranges, meanings.

The node declares them, launch files and replay pass them, the documentation lists them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from internimage_perception.errors import ConfigError
from internimage_perception.inference.backends import BACKENDS
from internimage_perception.inference.collector import CollectorConfig

Value = bool | int | float | str | tuple[str, ...]

MOST_THREADS = 256
"""Runtimes start as many threads as they are told, until the memory is full."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a parameter means and which values it takes."""

    description: str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()


def _parameter(
    default: Value,
    description: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    choices: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401 - like dataclasses.field, it stands for a value of the field's type
    constraint = Constraint(description, minimum, maximum, choices)
    return field(default=default, metadata={"constraint": constraint})


@dataclass(frozen=True)
class PerceptionParameters:
    """Parameters of the perception node; `rows()` describes each."""

    bundle: str = _parameter("", "Folder of the model bundle, or the name of a shipped one. Required.")
    rig: str = _parameter(
        "", "Rig file (YAML): cameras, topics, lenses, poses. This or image_topics is required."
    )
    image_topics: tuple[str, ...] = _parameter(
        (), "Cameras without a rig file: `name=/topic` each, or the topic alone."
    )
    tasks: tuple[str, ...] = _parameter(("segmentation",), "What to compute.", choices=("segmentation",))
    backend: str = _parameter("auto", "What runs the graph.", choices=BACKENDS)
    threads: int = _parameter(
        0, "CPU threads of the graph; 0 leaves it to the backend.", minimum=0, maximum=MOST_THREADS
    )
    anchor: str = _parameter("", "Camera whose images open a set; empty takes the rig's first.")
    rate_hz: float = _parameter(
        0.0, "Above 0: form sets at this fixed rate from the newest images.", minimum=0.0, maximum=1000.0
    )
    tolerance_ms: float = _parameter(
        40.0, "Largest distance of an image from its set's reference time.", minimum=0.0, maximum=10000.0
    )
    deadline_ms: float = _parameter(
        100.0, "Longest wait for a camera after the set's first image.", minimum=0.0, maximum=10000.0
    )
    ring_size: int = _parameter(8, "Images kept per camera while sets form.", minimum=2, maximum=64)
    queue_depth: int = _parameter(
        1, "Sets that may wait for the task; the oldest gives way.", minimum=1, maximum=1000
    )
    segmentation_max_rate_hz: float = _parameter(
        0.0, "Above 0: segment at most this often.", minimum=0.0, maximum=1000.0
    )
    segmentation_nice: int = _parameter(
        0, "Nice value of the segmentation worker; higher yields to other tasks.", minimum=0, maximum=19
    )
    sync_policy: str = _parameter(
        "collector", "Who groups the cameras; approximate uses message_filters.",
        choices=("collector", "approximate"),
    )  # fmt: skip
    image_conversion: str = _parameter(
        "native", "Who decodes images; cv_bridge uses that package.", choices=("native", "cv_bridge")
    )
    input_reliability: str = _parameter(
        "auto", "Reliability of image subscriptions; auto follows the publishers.",
        choices=("auto", "best_effort", "reliable"),
    )  # fmt: skip
    input_depth: int = _parameter(5, "Queue depth of image subscriptions.", minimum=1, maximum=1000)
    output_reliability: str = _parameter(
        "reliable", "Reliability of published masks.", choices=("reliable", "best_effort")
    )
    output_depth: int = _parameter(5, "Queue depth of published masks.", minimum=1, maximum=1000)
    overlay_width: int = _parameter(640, "Columns of overlay pictures.", minimum=16, maximum=8192)
    stale_after_s: float = _parameter(
        2.0, "A camera without an image for this long is reported.", minimum=0.1, maximum=3600.0
    )
    set_log: str = _parameter("", "File that lists the images of every set, for exact replay.")
    auto_start: bool = _parameter(True, "Configure and activate without a lifecycle manager.")

    def collector_config(self) -> CollectorConfig:
        """Return the collector's part."""
        return CollectorConfig(
            anchor=self.anchor,
            rate_hz=self.rate_hz,
            tolerance_ns=round(self.tolerance_ms * 1e6),
            deadline_ns=round(self.deadline_ms * 1e6),
            ring_size=self.ring_size,
        )


def constraints() -> dict[str, tuple[Value, Constraint]]:
    """Return every parameter's default and constraint, in the table's order."""
    found: dict[str, tuple[Value, Constraint]] = {}
    for item in fields(PerceptionParameters):
        default: Any = item.default
        found[item.name] = (default, item.metadata["constraint"])
    return found


def parameters_from(values: Mapping[str, object]) -> PerceptionParameters:
    """Check values against the table.

    Raises ConfigError naming the parameter that is unknown, of the wrong type or out of range.
    """
    table = constraints()
    checked: dict[str, Value] = {}
    for name, value in values.items():
        if name not in table:
            near = get_close_matches(name, table, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(table)}"
            raise ConfigError(f"unknown parameter {name!r}; {hint}")
        default, constraint = table[name]
        checked[name] = _check(name, value, default, constraint)
    return PerceptionParameters(**checked)  # type: ignore[arg-type]


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return (name, type, default, allowed values, description) of every parameter, for documentation."""
    found = []
    for name, (default, constraint) in constraints().items():
        kind = "string[]" if isinstance(default, tuple) else type(default).__name__
        shown = "[" + ", ".join(default) + "]" if isinstance(default, tuple) else str(default).lower()
        found.append((name, kind, shown or '""', _allowed(constraint), constraint.description))
    return found


def _allowed(constraint: Constraint) -> str:
    if constraint.choices:
        return ", ".join(constraint.choices)
    if math.isfinite(constraint.minimum):
        return f"{constraint.minimum:g} to {constraint.maximum:g}"
    return ""


def _check(name: str, value: object, default: Value, constraint: Constraint) -> Value:
    converted = _convert(value, default)
    if converted is None:
        kind = "list of strings" if isinstance(default, tuple) else type(default).__name__
        raise ConfigError(f"parameter {name} is {value!r} ({type(value).__name__}); it needs a {kind}")
    values = converted if isinstance(converted, tuple) else (converted,)
    for item in values:
        if constraint.choices and item not in constraint.choices:
            raise ConfigError(f"parameter {name} is {item!r}; it takes {_allowed(constraint)}")
        if isinstance(item, int | float) and not constraint.minimum <= item <= constraint.maximum:
            raise ConfigError(f"parameter {name} is {item!r}; it takes {_allowed(constraint)}")
    return converted


def _convert(value: object, default: Value) -> Value | None:
    """Return the value as the default's type, or None; a whole number serves as float, nothing else does."""
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(str(item) for item in value)
        return None
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool | int | float | str) and type(value) is type(default):
        return value
    return None
