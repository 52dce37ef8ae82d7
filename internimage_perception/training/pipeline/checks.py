"""Checks of operations' options, in words."""

from collections.abc import Sequence

from internimage_perception.errors import ConfigError

LARGEST_SIDE = 32_000
"""Pixels of a picture's longest side that operations make."""


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless a number lies in a range."""
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be from {low:g} to {high:g}")


def check_numbers(name: str, values: Sequence[float], count: int, low: float, high: float) -> None:
    """Raise ConfigError unless there are as many numbers as asked for, all in a range."""
    if len(values) != count:
        raise ConfigError(f"{name} is {list(values)}; it must be {count} numbers")
    for value in values:
        check_number(name, value, low, high)


def check_range(name: str, values: Sequence[float], low: float, high: float) -> None:
    """Raise ConfigError unless there are a lowest and a highest number in a range."""
    check_numbers(name, values, 2, low, high)
    if values[0] > values[1]:
        raise ConfigError(f"{name} is {list(values)}; the lowest number comes first")


def check_size(name: str, size: Sequence[int]) -> None:
    """Raise ConfigError unless it is columns and rows of a picture."""
    check_numbers(name, size, 2, 1, LARGEST_SIDE)


def check_colour(name: str, colour: Sequence[int]) -> None:
    """Raise ConfigError unless it is red, green and blue."""
    check_numbers(name, colour, 3, 0, 255)
