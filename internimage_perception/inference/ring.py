"""The last frames of one camera, sorted by time, and what can be learned from them."""

from bisect import insort
from dataclasses import dataclass, field
from statistics import median

from internimage_perception.inference.frames import Frame


@dataclass(slots=True)
class CameraStats:
    """Counts of one camera's frames since the collector was made.

    Attributes:
        received: frames handed in.
        collected: frames that went into a set.
        duplicates: frames with a stamp that was there already; left out.
        out_of_order: frames older than their predecessor; sorted in.
        zero_stamps: frames without a stamp; matched by arrival time.
        future_stamps: frames stamped later than they arrived; matched by arrival time.
        time_jumps: times the camera's clock went back (a bag that loops, a driver that restarts).
        skipped: frames that went into no set (pushed out of the ring, or passed over by a fixed rate).
    """

    received: int = 0
    collected: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    zero_stamps: int = 0
    future_stamps: int = 0
    time_jumps: int = 0
    skipped: int = 0


@dataclass(order=True, slots=True)
class Entry:
    """A frame that waits, with the time it is matched by and the clock's time of arrival."""

    time_ns: int
    arrived_ns: int = field(compare=False)
    frame: Frame = field(compare=False)


class FrameRing:
    """Frames of one camera that no set has used yet, at most `size`, sorted by matching time."""

    def __init__(self, size: int, max_future_ns: int, jump_ns: int) -> None:
        self.entries: list[Entry] = []
        self.stats = CameraStats()
        self.misses = 0
        self.last_arrival_ns: int | None = None
        self._size = size
        self._max_future_ns = max_future_ns
        self._jump_ns = jump_ns
        self._recent: list[int] = []

    @property
    def full(self) -> bool:
        """Whether the next frame pushes the oldest out."""
        return len(self.entries) >= self._size

    @property
    def newest_ns(self) -> int | None:
        """Matching time of the newest frame seen in this stretch of time."""
        return self._recent[-1] if self._recent else None

    @property
    def period_ns(self) -> int | None:
        """Median distance of the last frames; None until two are known."""
        if len(self._recent) < 2:
            return None
        return int(median(b - a for a, b in zip(self._recent, self._recent[1:], strict=False)))

    def add(self, frame: Frame, now_ns: int) -> Entry | None:
        """Take a frame in; returns its entry, or None for a duplicate."""
        stats = self.stats
        stats.received += 1
        self.last_arrival_ns = now_ns
        self.misses = 0
        # A stamp that cannot be trusted must not shift the matching of all others.
        zero = frame.stamp_ns == 0
        future = frame.stamp_ns > now_ns + self._max_future_ns
        stats.zero_stamps += zero
        stats.future_stamps += future
        time_ns = now_ns if zero or future else frame.stamp_ns
        if self._recent and time_ns < self._recent[-1] - self._jump_ns:
            stats.time_jumps += 1
            stats.skipped += len(self.entries)
            self.entries.clear()
            self._recent.clear()
        elif time_ns in self._recent and time_ns == frame.stamp_ns:
            stats.duplicates += 1
            return None
        elif self._recent and time_ns < self._recent[-1]:
            stats.out_of_order += 1
        insort(self._recent, time_ns)
        del self._recent[: -2 * self._size]
        entry = Entry(time_ns, now_ns, frame)
        insort(self.entries, entry)
        if len(self.entries) > self._size:
            del self.entries[0]
            stats.skipped += 1
        return entry

    def restart(self) -> None:
        """Forget the old time after the clock went back."""
        self.stats.skipped += len(self.entries)
        self.entries.clear()
        self._recent.clear()
        self.last_arrival_ns = None
        self.misses = 0

    def take(self, entry: Entry) -> Frame:
        """Hand a frame out; it is used once."""
        self.entries = [other for other in self.entries if other is not entry]
        self.stats.collected += 1
        return entry.frame

    def drop_before(self, time_ns: int) -> None:
        """Forget unused frames older than `time_ns`."""
        keep = [entry for entry in self.entries if entry.time_ns >= time_ns]
        self.stats.skipped += len(self.entries) - len(keep)
        self.entries = keep

    def nearest(self, time_ns: int, tolerance_ns: int) -> Entry | None:
        """Return the unused frame nearest to `time_ns` within the tolerance."""
        best = min(self.entries, key=lambda entry: abs(entry.time_ns - time_ns), default=None)
        if best is None or abs(best.time_ns - time_ns) > tolerance_ns:
            return None
        return best
