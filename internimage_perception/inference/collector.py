"""`RigCollector`: which frames of a rig's cameras belong to one moment.

Pure logic: no thread, no clock of its own; `now_ns` is an argument, so that replay drives it with a bag's
receive times and tests with any times at all. Every frame ends in exactly one set, whatever dies, stalls,
repeats or runs backwards, unless a fixed rate passes it over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from internimage_perception.errors import ConfigError
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.ring import CameraStats, Entry, FrameRing

_PATIENCE = 3
"""Sets a camera may miss in a row before nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """How frames are grouped. Times in nanoseconds.

    Attributes:
        anchor: the camera whose frames open sets; empty takes the rig's first. While it is silent, the
            first camera that is not takes its place.
        rate_hz: above 0, sets are formed at this fixed rate from each camera's newest frame instead.
        tolerance_ns: largest distance of a frame from its set's reference time.
        deadline_ns: longest wait for a camera after the set's first frame arrived.
        ring_size: frames kept per camera.
        max_future_ns: a stamp this far ahead of the clock is not trusted.
        jump_ns: a stamp this far behind its predecessor is a restart of time, not a late frame.
    """

    anchor: str = ""
    rate_hz: float = 0.0
    tolerance_ns: int = 40_000_000
    deadline_ns: int = 100_000_000
    ring_size: int = 8
    max_future_ns: int = 1_000_000_000
    jump_ns: int = 500_000_000


@dataclass(slots=True)
class _OpenSet:
    reference_ns: int
    due_ns: int
    opener: Entry


class RigCollector:
    """Groups the frames of a rig's cameras by stamp.

    Args:
        cameras: names, in the rig's order.
        config: how to group.

    Raises:
        ConfigError: for an unknown anchor or values that cannot work.
    """

    def __init__(self, cameras: Sequence[str], config: CollectorConfig | None = None) -> None:
        self.config = config or CollectorConfig()
        if not cameras or len(set(cameras)) != len(cameras):
            raise ConfigError(f"a rig needs at least one camera, each name once; got {list(cameras)}")
        if self.config.anchor and self.config.anchor not in cameras:
            raise ConfigError(f"anchor camera {self.config.anchor!r} is not in the rig: {', '.join(cameras)}")
        if self.config.ring_size < 2 or self.config.tolerance_ns < 0 or self.config.deadline_ns < 0:
            raise ConfigError("the collector needs ring_size >= 2, tolerance and deadline >= 0")
        anchor = self.config.anchor or cameras[0]
        self._cameras = tuple(cameras)
        self._by_rank = (anchor, *(name for name in cameras if name != anchor))
        self._rings = {
            name: FrameRing(self.config.ring_size, self.config.max_future_ns, self.config.jump_ns)
            for name in cameras
        }
        self._open: list[_OpenSet] = []
        self._index = 0
        self._next_tick_ns: int | None = None
        self._last_now_ns: int | None = None

    @property
    def stats(self) -> Mapping[str, CameraStats]:
        """Counts per camera."""
        return {name: ring.stats for name, ring in self._rings.items()}

    def add(self, frame: Frame, now_ns: int) -> list[FrameSet]:
        """Take a frame in at time `now_ns`; returns the sets that are ready, oldest first.

        Raises KeyError for a camera that is not in the rig.
        """
        ring = self._rings[frame.camera]
        ready = self._watch_clock(now_ns)
        if ring.full and not self.config.rate_hz:
            ready += self._make_room(ring, now_ns)
        entry = ring.add(frame, now_ns)
        # A jump in time wipes frames out; sets that they had opened cannot be completed any more.
        self._open = [wanted for wanted in self._open if self._opener_waits(wanted)]
        if entry is not None and not self.config.rate_hz and frame.camera == self._acting_anchor(now_ns):
            self._open_set(entry, now_ns)
        return ready + self.poll(now_ns)

    def poll(self, now_ns: int) -> list[FrameSet]:
        """Return the sets that are ready at `now_ns` although no frame arrived."""
        ready = self._watch_clock(now_ns)
        if self.config.rate_hz:
            return ready + self._tick(now_ns)
        self._adopt_orphans(now_ns, now_ns - self.config.deadline_ns)
        return ready + self._close_ready(now_ns)

    def flush(self) -> list[FrameSet]:
        """Return everything that still waits, as at the end of a bag."""
        if self.config.rate_hz:
            found = self._newest_set(self._last_now_ns or 0)
            return [found] if found else []
        ready: list[FrameSet] = []
        while self._open or any(ring.entries for ring in self._rings.values()):
            self._adopt_orphans(0, None)
            ready.append(self._close_first())
        return ready

    def next_due_ns(self) -> int | None:
        """Return the clock time at which `poll` should be called, or None when nothing waits."""
        if self.config.rate_hz:
            return self._next_tick_ns
        due = [self._open[0].due_ns] if self._open else []
        due += [
            entry.arrived_ns + self.config.deadline_ns
            for ring in self._rings.values()
            for entry in ring.entries
        ]
        return min(due, default=None)

    # --- anchor ---------------------------------------------------------------------------------------

    def _acting_anchor(self, now_ns: int) -> str:
        """Return the first camera by rank that is not silent."""
        for name in self._by_rank:
            ring = self._rings[name]
            if ring.last_arrival_ns is None:
                continue
            patience = max(_PATIENCE * (ring.period_ns or 0), 2 * self.config.deadline_ns)
            if now_ns - ring.last_arrival_ns <= patience:
                return name
        return self._by_rank[0]

    def _open_set(self, entry: Entry, now_ns: int) -> None:
        for wanted in self._open:
            other = wanted.opener.frame.camera != entry.frame.camera
            if other and abs(wanted.reference_ns - entry.time_ns) <= self.config.tolerance_ns:
                # Another camera stood in while the anchor was silent: the anchor takes its set over.
                wanted.reference_ns, wanted.opener = entry.time_ns, entry
                break
        else:
            self._open.append(_OpenSet(entry.time_ns, now_ns + self.config.deadline_ns, entry))
        self._open.sort(key=lambda wanted: wanted.reference_ns)

    def _adopt_orphans(self, now_ns: int, arrived_until_ns: int | None) -> None:
        """Let frames that no anchor frame came for in time open sets of their own."""
        for name in self._by_rank:
            for entry in self._rings[name].entries:
                if arrived_until_ns is not None and entry.arrived_ns > arrived_until_ns:
                    continue
                if not any(
                    wanted.opener is entry
                    or abs(wanted.reference_ns - entry.time_ns) <= self.config.tolerance_ns
                    for wanted in self._open
                ):
                    self._open.append(_OpenSet(entry.time_ns, now_ns, entry))
        self._open.sort(key=lambda wanted: wanted.reference_ns)

    def _make_room(self, ring: FrameRing, now_ns: int) -> list[FrameSet]:
        """Close what holds the oldest frame of a full ring, rather than lose the frame."""
        oldest = ring.entries[0]
        self._adopt_orphans(now_ns, oldest.arrived_ns)
        for wanted in self._open:
            if wanted.reference_ns <= oldest.time_ns + self.config.tolerance_ns:
                wanted.due_ns = min(wanted.due_ns, now_ns)
        return self._close_ready(now_ns)

    def _opener_waits(self, wanted: _OpenSet) -> bool:
        return any(wanted.opener is entry for entry in self._rings[wanted.opener.frame.camera].entries)

    def _settled(self, wanted: _OpenSet) -> bool:
        """Tell whether no frame yet to come, in order, could improve the set."""
        return all(
            self._camera_settled(ring, wanted)
            for name, ring in self._rings.items()
            if name != wanted.opener.frame.camera
        )

    def _camera_settled(self, ring: FrameRing, wanted: _OpenSet) -> bool:
        newest, reference_ns = ring.newest_ns, wanted.reference_ns
        if ring.misses >= _PATIENCE:
            return True
        if newest is None or ring.last_arrival_ns is None:
            return False
        if reference_ns - newest - (wanted.opener.arrived_ns - ring.last_arrival_ns) > self.config.jump_ns:
            # Its frames arrive with this one and are stamped long before: its clock is another one.
            return True
        if newest >= reference_ns:
            # Far ahead means that this camera has not gone back yet with a bag that loops.
            return newest - reference_ns <= self.config.jump_ns
        expected = newest + ring.period_ns if ring.period_ns is not None else None
        best = ring.nearest(reference_ns, self.config.tolerance_ns)
        if best is not None:
            return expected is None or abs(expected - reference_ns) >= reference_ns - best.time_ns
        return expected is not None and expected - reference_ns > self.config.tolerance_ns

    def _close_ready(self, now_ns: int) -> list[FrameSet]:
        ready: list[FrameSet] = []
        while self._open and (now_ns >= self._open[0].due_ns or self._settled(self._open[0])):
            ready.append(self._close_first())
        return ready

    def _close_first(self) -> FrameSet:
        wanted = self._open.pop(0)
        reference = wanted.reference_ns
        following = self._open[0].reference_ns if self._open else None
        frames: dict[str, Frame] = {}
        for name in self._cameras:
            ring = self._rings[name]
            if name == wanted.opener.frame.camera:
                frames[name] = ring.take(wanted.opener)
                continue
            best = ring.nearest(reference, self.config.tolerance_ns)
            if best is not None and (
                following is None or abs(best.time_ns - reference) <= abs(best.time_ns - following)
            ):
                frames[name] = ring.take(best)
                # A set this frame had opened (it ranked as an orphan) has nothing left to stand on.
                self._open = [other for other in self._open if other.opener is not best]
            else:
                ring.misses += 1
        return self._make(wanted.opener.frame.stamp_ns, frames)

    def _make(self, stamp_ns: int, frames: Mapping[str, Frame]) -> FrameSet:
        missing = tuple(name for name in self._cameras if name not in frames)
        made = FrameSet(self._index, stamp_ns, frames, missing)
        self._index += 1
        return made

    # --- fixed rate -----------------------------------------------------------------------------------

    def _tick(self, now_ns: int) -> list[FrameSet]:
        period = round(1e9 / self.config.rate_hz)
        if self._next_tick_ns is None:
            self._next_tick_ns = now_ns + period
        if now_ns < self._next_tick_ns:
            return []
        # Ticks that nobody asked for are left out rather than made up for in a burst.
        self._next_tick_ns += ((now_ns - self._next_tick_ns) // period + 1) * period
        found = self._newest_set(now_ns)
        return [found] if found else []

    def _newest_set(self, now_ns: int) -> FrameSet | None:
        oldest = now_ns - max(self.config.tolerance_ns, round(1e9 / self.config.rate_hz))
        frames: dict[str, Frame] = {}
        newest: Entry | None = None
        for name in self._cameras:
            ring = self._rings[name]
            if not ring.entries:
                continue
            entry = ring.entries[-1]
            if entry.arrived_ns >= oldest:
                frames[name] = ring.take(entry)
                if newest is None or entry > newest:
                    newest = entry
            ring.drop_before(entry.time_ns + 1)
        return self._make(newest.frame.stamp_ns, frames) if newest else None

    # --- time -----------------------------------------------------------------------------------------

    def _watch_clock(self, now_ns: int) -> list[FrameSet]:
        """When the clock itself restarts (simulated time, a looping bag), close the old time's sets."""
        ready: list[FrameSet] = []
        if self._last_now_ns is not None and now_ns < self._last_now_ns:
            ready = self.flush()
            self._next_tick_ns = None
            for ring in self._rings.values():
                ring.restart()
        self._last_now_ns = now_ns
        return ready
