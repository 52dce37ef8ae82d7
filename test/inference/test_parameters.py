"""The parameter table refuses what does not belong, and says which."""

import math

import pytest

from internimage_perception.errors import ConfigError
from internimage_perception.inference.parameters import (
    PerceptionParameters,
    constraints,
    parameters_from,
    rows,
)


def test_defaults_pass_their_own_table() -> None:
    defaults = PerceptionParameters()
    values = {name: getattr(defaults, name) for name in constraints()}
    assert parameters_from(values) == defaults


def test_values_arrive_with_their_types() -> None:
    found = parameters_from({"rate_hz": 5, "image_topics": ["a=/a"], "queue_depth": 3, "auto_start": False})
    assert found.rate_hz == 5.0 and isinstance(found.rate_hz, float)
    assert found.image_topics == ("a=/a",)
    assert found.queue_depth == 3 and found.auto_start is False
    assert found.collector_config().rate_hz == 5.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tolerance": 3.0}, ["unknown parameter 'tolerance'", "did you mean tolerance_ms?"]),
        ({"zzz": 1}, ["unknown parameter 'zzz'", "known: bundle"]),
        ({"rate_hz": "fast"}, ["rate_hz", "'fast'", "float"]),
        ({"rate_hz": -1.0}, ["rate_hz", "-1.0", "0 to 1000"]),
        ({"rate_hz": math.nan}, ["rate_hz", "nan"]),
        ({"queue_depth": 2.5}, ["queue_depth", "2.5", "int"]),
        ({"queue_depth": True}, ["queue_depth", "True"]),
        ({"auto_start": 1}, ["auto_start", "bool"]),
        ({"image_topics": "a"}, ["image_topics", "list of strings"]),
        ({"image_topics": ["a", 3]}, ["image_topics"]),
        ({"tasks": ["segmentation", "cooking"]}, ["tasks", "'cooking'", "segmentation"]),
    ],
)
def test_what_does_not_belong_is_named(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parameters_from(values)
    for word in words:
        assert word in str(error.value)


def test_documentation_rows_cover_the_table() -> None:
    assert [row[0] for row in rows()] == list(constraints())
    assert all(row[4].endswith(".") for row in rows())
