"""How commands take numbers and sizes of frames: one number, or a range."""

import re

from internimage_perception.errors import ConfigError
from internimage_perception.inference.export_spec import Range

RANGE = "N|LEAST:USUAL:MOST"


def read_range(option: str, text: str, largest: int) -> Range:
    """Return (least, usual, most) of "4" or "1:4:8".

    Args:
        option: the option's name, for errors.
        text: what was given.
        largest: the most that is possible.

    Raises:
        ConfigError: for other texts.
    """
    if not re.fullmatch(r"\d{1,9}(:\d{1,9}:\d{1,9})?", text):
        raise ConfigError(f"{option} is {text!r}; write a number, or LEAST:USUAL:MOST")
    numbers = [int(part) for part in text.split(":")]
    least, usual, most = numbers if len(numbers) == 3 else numbers * 3
    if not 1 <= least <= usual <= most <= largest:
        raise ConfigError(f"{option} is {text!r}; numbers from 1 to {largest} are needed, none falling")
    return least, usual, most
