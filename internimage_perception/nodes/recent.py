"""How much a count has grown of late: rates and levels that a single second would make flicker."""

import time
from collections import deque
from collections.abc import Callable

PERIOD_S = 10.0
"""What "of late" means, in seconds: a camera of one image in three seconds has a rate within it."""


class Recent:
    """Follows one count by its samples of the last `PERIOD_S`.

    Args:
        start_s: when it was 0, by the clock.
        clock: monotonic seconds.
    """

    def __init__(self, start_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque([(start_s, 0)])

    def sample(self, count: int) -> int:
        """Take the count as it is now; returns how much it has grown within the period."""
        now = self._clock()
        self._samples.append((now, count))
        # The sample at the period's beginning stays, or a little of the period would be lost.
        while len(self._samples) > 2 and self._samples[1][0] <= now - PERIOD_S:
            self._samples.popleft()
        return count - self._samples[0][1]

    @property
    def rate_hz(self) -> float:
        """How often a second the count has grown, between the oldest and the last sample; two digits."""
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return round((last - first) / (end - start), 2) if end > start else 0.0
