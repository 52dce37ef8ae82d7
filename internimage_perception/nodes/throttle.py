"""Saying a thing once, not thirty times a second."""

import time
from collections.abc import Callable


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
        held = self._held.pop(key, 0)
        self._last[key] = now
        return f"{message} ({held} more like this)" if held else message
