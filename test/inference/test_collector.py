"""The collector under everything a vehicle and a bag can do to it."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.errors import ConfigError
from internimage_perception.inference.collector import CollectorConfig, RigCollector
from internimage_perception.inference.frames import Frame, FrameSet

MS = 1_000_000
T0 = 1_700_000_000_000 * MS
NAMES = ("front", "left", "rear", "right")


def frame(camera: str, stamp_ms: float) -> Frame:
    stamp = 0 if stamp_ms == 0 else T0 + round(stamp_ms * MS)
    return Frame(camera, camera, stamp, 0, 2, 2, "rgb8", 6, np.zeros(12, np.uint8))


def feed(collector: RigCollector, arrivals: list[tuple[float, str, float]]) -> list[FrameSet]:
    """Hand in (arrival ms, camera, stamp ms); polls every 10 ms in between, like a node's timer."""
    sets: list[FrameSet] = []
    last = None
    for now, camera, stamp in sorted(arrivals, key=lambda item: item[0]):
        if last is not None:
            for tick in range(int(last) + 10, int(now), 10):
                sets += collector.poll(T0 + tick * MS)
        sets += collector.add(frame(camera, stamp), T0 + round(now * MS))
        last = now
    return sets


def rounds(count: int, names=NAMES, period: float = 100.0, start: float = 1000.0, latency: float = 5.0):
    return [
        (start + i * period + latency + k, name, start + i * period + 0.3 * k)
        for i in range(count)
        for k, name in enumerate(names)
    ]


def stamps(found: FrameSet) -> dict[str, float]:
    return {name: (item.stamp_ns - T0) / MS for name, item in found.frames.items()}


def test_complete_sets_leave_with_their_last_frame() -> None:
    collector = RigCollector(NAMES)
    for index in range(5):
        base = 1000 + 100 * index
        for name in NAMES[:-1]:
            assert collector.add(frame(name, base), T0 + (base + 5) * MS) == []
        (found,) = collector.add(frame("right", base), T0 + (base + 6) * MS)
        assert found.index == index
        assert tuple(found.frames) == NAMES
        assert found.missing == ()
        assert set(stamps(found).values()) == {base}


def test_arrival_order_does_not_matter() -> None:
    # 20 Hz cameras beside a 10 Hz anchor: the older frame is within tolerance, the right one comes later.
    collector = RigCollector(("front", "left"), CollectorConfig(tolerance_ns=60 * MS))
    arrivals = []
    for i in range(10):
        arrivals += [(100 * i + 1001, "front", 100 * i + 1000), (100 * i + 1004, "left", 100 * i + 1000)]
        arrivals += [(100 * i + 1054, "left", 100 * i + 1050)]
    sets = feed(collector, arrivals)
    for found in sets[1:]:
        if len(found.frames) == 2:
            assert stamps(found)["front"] == stamps(found)["left"]
    assert sum(len(found.frames) == 2 for found in sets) == 10


@pytest.mark.parametrize("order", list(permutations(NAMES)))
def test_no_order_of_arrival_splits_a_moment(order: tuple[str, ...]) -> None:
    """From the very first moment on, whichever camera is heard first, stamped first or last."""
    arrivals = [
        (1000 + 100 * i + 5 + rank, name, 1000 + 100 * i + (3 - rank if i % 2 else rank))
        for i in range(6)
        for rank, name in enumerate(order)
    ]
    collector = RigCollector(NAMES)
    sets = feed(collector, arrivals) + collector.flush()
    assert [len(found.frames) for found in sets] == [4] * 6
    assert [found.stamp_ns for found in sets] == [found.frames["front"].stamp_ns for found in sets]


def test_anchor_that_returns_last_splits_only_its_first_moment() -> None:
    """Nobody waits for a dead camera, so that the moment of its return has left without it."""
    others = NAMES[1:]
    late_anchor = ("left", "rear", "right", "front")
    arrivals = rounds(3) + rounds(10, others, start=1300.0) + rounds(5, late_anchor, start=2300.0)
    collector = RigCollector(NAMES)
    sets = feed(collector, arrivals) + collector.flush()
    assert [len(found.frames) for found in sets] == [4] * 3 + [3] * 10 + [3, 1] + [4] * 4


def test_dead_camera_is_named_and_soon_not_waited_for() -> None:
    collector = RigCollector(NAMES)
    alive = ("front", "left", "right")
    sets = feed(collector, rounds(3) + rounds(8, alive, start=1300.0))
    assert [found.missing for found in sets[:3]] == [()] * 3
    late = sets[3:]
    assert late and all(found.missing == ("rear",) for found in late)
    # Once it is known to be dead, a set leaves with its last living frame.
    collector.add(frame("front", 2100), T0 + 2105 * MS)
    collector.add(frame("left", 2100), T0 + 2106 * MS)
    (found,) = collector.add(frame("right", 2100), T0 + 2107 * MS)[-1:]
    assert found.missing == ("rear",) and stamps(found)["front"] == 2100


def test_deadline_bounds_the_wait() -> None:
    collector = RigCollector(("front", "left"), CollectorConfig(deadline_ns=50 * MS))
    assert collector.add(frame("front", 1000), T0 + 1000 * MS) == []
    assert collector.next_due_ns() == T0 + 1050 * MS
    assert collector.poll(T0 + 1049 * MS) == []
    (found,) = collector.poll(T0 + 1050 * MS)
    assert found.missing == ("left",)
    assert collector.next_due_ns() is None


def test_camera_that_dies_and_returns() -> None:
    sets = feed(
        RigCollector(NAMES),
        rounds(3) + rounds(10, ("front", "left", "right"), start=1300.0) + rounds(5, start=2300.0),
    )
    assert [len(found.frames) for found in sets] == [4] * 3 + [3] * 10 + [4] * 5


def test_dead_anchor_costs_nothing_but_its_own_frames() -> None:
    collector = RigCollector(NAMES)
    others = NAMES[1:]
    sets = feed(collector, rounds(3) + rounds(20, others, start=1300.0) + rounds(4, start=3300.0))
    sets += collector.flush()
    assert [len(found.frames) for found in sets] == [4] * 3 + [3] * 20 + [4] * 4
    assert all(found.missing == ("front",) for found in sets[3:23])


@pytest.mark.parametrize("behind_ms", [800.0, 10_000.0, 1e9])
def test_a_camera_whose_clock_is_behind_does_not_slow_the_rest(behind_ms: float) -> None:
    arrivals = [
        (now, name, stamp - behind_ms if name == "right" else stamp) for now, name, stamp in rounds(20)
    ]
    collector = RigCollector(NAMES)
    last_of_rest = {round(stamp): now for now, name, stamp in arrivals if name == "rear"}
    late, seen = [], []
    for now, name, stamp in arrivals:
        for found in collector.add(frame(name, stamp), T0 + round(now * MS)):
            seen.append(found)
            if "front" in found.frames:
                assert found.missing == ("right",)
                late.append(now - last_of_rest[round(stamps(found)["rear"])])
    assert max(late[1:]) == 0
    seen += collector.flush()
    assert sum(len(found.frames) for found in seen) == len(arrivals)


def test_a_pause_of_all_cameras_splits_nothing() -> None:
    sets = feed(RigCollector(NAMES), rounds(5) + rounds(5, start=9000.0))
    assert len(sets) == 10
    assert all(not found.missing for found in sets)


def test_half_rate_camera_does_not_slow_the_rest() -> None:
    arrivals = rounds(10, ("front", "left")) + rounds(5, ("rear",), period=200.0)
    collector = RigCollector(("front", "left", "rear"))
    latencies = []
    for now, camera, stamp in sorted(arrivals):
        for found in collector.add(frame(camera, stamp), T0 + round(now * MS)):
            latencies.append(now - (found.stamp_ns - T0) / MS)
    assert len(latencies) >= 9
    # The first sets teach the periods; after that nobody waits for a frame that is not due.
    assert max(latencies[4:]) < 20


def test_duplicates_and_disorder() -> None:
    collector = RigCollector(("front", "left"))
    arrivals = rounds(4, ("front", "left"))
    arrivals += [(1150, "left", 1100.3), (1151, "left", 1100.3)]
    sets = feed(collector, arrivals) + collector.flush()
    assert [len(found.frames) for found in sets] == [2] * 4
    assert collector.stats["left"].duplicates == 2
    swapped = RigCollector(("front", "left"))
    sets = feed(
        swapped,
        [
            (1005, "front", 1000), (1006, "left", 1000), (1105, "front", 1100), (1106, "left", 1200),
            (1107, "left", 1100), (1205, "front", 1200),
        ],
    )  # fmt: skip
    sets += swapped.flush()
    assert swapped.stats["left"].out_of_order == 1
    # Nobody waits for a frame that its camera seems to have passed over; when it comes, it is not lost.
    assert sorted(tuple(stamps(found).items()) for found in sets) == [
        (("front", 1000.0), ("left", 1000.0)),
        (("front", 1100.0),),
        (("front", 1200.0), ("left", 1200.0)),
        (("left", 1100.0),),
    ]


def test_zero_and_future_stamps_are_matched_by_arrival_and_kept_as_they_are() -> None:
    collector = RigCollector(("front", "left"))
    sets: list[FrameSet] = []
    for i in range(4):
        now = T0 + (1000 + 100 * i) * MS
        sets += collector.add(frame("front", 1000 + 100 * i), now)
        sets += collector.add(frame("left", 0 if i % 2 else 90_000_000 + i), now + MS)
    assert [len(found.frames) for found in sets] == [2] * 4
    assert sets[1].frames["left"].stamp_ns == 0
    assert collector.stats["left"].zero_stamps == 2
    assert collector.stats["left"].future_stamps == 2


def test_all_cameras_unstamped_lose_nothing() -> None:
    collector = RigCollector(("front", "left"))
    sets: list[FrameSet] = []
    for i in range(5):
        now = T0 + (1000 + 100 * i) * MS
        sets += collector.add(frame("front", 0), now)
        sets += collector.add(frame("left", 0), now)
    assert [len(found.frames) for found in sets] == [2] * 5


@pytest.mark.parametrize("silent", [None, "rear", "front"])
def test_bag_that_loops(silent: str | None) -> None:
    """The second pass gives what the first one gave, also when a camera fell silent before the loop."""
    collector = RigCollector(NAMES)
    alive = tuple(name for name in NAMES if name != silent)
    first = rounds(10) + rounds(10, alive, start=2000.0)
    one = feed(collector, first)
    # The recorder's stamps start over; the clock goes on.
    second = [(now + 2000 + 30, camera, stamp) for now, camera, stamp in first]
    two = feed(collector, second) + collector.flush()
    sizes = [len(found.frames) for found in (*one, *two)]
    expected = [4] * 10 + [len(alive)] * 10
    assert sizes == expected * 2
    assert sum(stats.time_jumps for stats in collector.stats.values()) == 4


def test_clock_that_loops_with_the_bag() -> None:
    collector = RigCollector(NAMES)
    for _ in range(3):
        sets = feed(collector, rounds(6)) + collector.poll(T0 + 1700 * MS)
        assert [len(found.frames) for found in sets] == [4] * 6


def test_fixed_rate_takes_the_newest_and_names_the_stale() -> None:
    collector = RigCollector(("front", "left"), CollectorConfig(rate_hz=5.0))
    arrivals = rounds(20, ("front",), period=50.0) + rounds(4, ("left",), period=50.0)
    sets = feed(collector, arrivals)
    assert 4 <= len(sets) <= 5
    assert sets[0].missing == () and sets[-1].missing == ("left",)
    counts = collector.stats["front"]
    assert counts.received == 20 and counts.collected == len(sets)
    collector.flush()
    assert counts.collected + counts.skipped == 20


def test_more_frames_than_the_ring_holds_are_not_lost() -> None:
    collector = RigCollector(("front", "left"), CollectorConfig(ring_size=4, deadline_ns=1000 * MS))
    sets = feed(collector, rounds(50, ("front",), period=5.0)) + collector.flush()
    assert sum(len(found.frames) for found in sets) == 50
    assert [found.index for found in sets] == list(range(len(sets)))


def test_configuration_is_checked() -> None:
    with pytest.raises(ConfigError, match="anchor camera 'top' is not in the rig: front, left"):
        RigCollector(("front", "left"), CollectorConfig(anchor="top"))
    with pytest.raises(ConfigError, match="each name once"):
        RigCollector(("front", "front"))
    with pytest.raises(ConfigError, match="ring_size"):
        RigCollector(("front",), CollectorConfig(ring_size=1))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(-300, 400), st.integers(0, 120)),
        min_size=1, max_size=80,
    ),
    st.sampled_from([0, 30, 100]),
)  # fmt: skip
def test_every_frame_ends_in_exactly_one_set(events: list[tuple[str, int, int]], tolerance: int) -> None:
    """Whatever arrives whenever: nothing is lost, nothing is used twice, sets hold what fits together."""
    collector = RigCollector(NAMES, CollectorConfig(tolerance_ns=tolerance * MS, ring_size=4))
    now = 5000.0
    sets: list[FrameSet] = []
    handed_in = 0
    for camera, lag, pause in events:
        now += pause
        sets += collector.add(frame(camera, now - lag), T0 + round(now * MS))
        handed_in += 1
    sets += collector.flush()
    seen = [id(item) for found in sets for item in found.frames.values()]
    assert len(seen) == len(set(seen))
    stats = collector.stats.values()
    lost = sum(item.duplicates + item.skipped for item in stats)
    assert len(seen) + lost == handed_in
    for found in sets:
        assert set(found.frames) | set(found.missing) == set(NAMES)
        for item in found.frames.values():
            assert abs(item.stamp_ns - found.stamp_ns) <= tolerance * MS
