"""Saying a thing once, not thirty times a second."""

import re
import time
from collections.abc import Callable

_MOST_KEYS = 256
_KIND_LENGTH = 60


def kind_of(reason: str) -> str:
    """Return what a reason has in common with others of its kind: its beginning without numbers and names."""
    return re.sub(r"\d+|'[^']*'", "#", reason)[:_KIND_LENGTH]


class Throttle:
    """Passes a message on at most once per period and key; counts what it held back.

    Args:
        period_s: least time between two messages of one key, in seconds.
        clock: monotonic seconds.
    """

    def __init__(self, period_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._period = period_s
        self._clock = clock
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def __call__(self, key: str, message: str) -> str | None:
        """Return what to say now: the message, or None when `key` was heard within the period."""
        now = self._clock()
        if now - self._last.get(key, -self._period) < self._period:
            self._held[key] = self._held.get(key, 0) + 1
            return None
        if len(self._last) >= _MOST_KEYS:
            # Whatever a broken camera makes up, memory stays flat.
            self._last.clear()
            self._held.clear()
        held = self._held.pop(key, 0)
        self._last[key] = now
        return f"{message} ({held} more like this)" if held else message
