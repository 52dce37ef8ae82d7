"""What moves: endless queues of cars, riders and walkers, each at its queue's constant speed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street import people, vehicles
from internimage_perception.data.street.blocks import size_of
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.compiled import Compiled, compile_pieces
from internimage_perception.data.street.mesh import Piece
from internimage_perception.data.street.route import Route
from internimage_perception.data.street.section import Section
from internimage_perception.data.street.seeds import Split, stream

Floats = npt.NDArray[np.float64]

_FIRST_ID = 1 << 26
_IDS_PER_QUEUE = 1 << 20


@dataclass(frozen=True)
class Queue:
    """Movers of one kind on one path: number `i` is at s = direction * (i * gap + jitter + speed * t)."""

    number: int
    kind: StreetClass
    offset: float
    direction: int
    speed: float
    gap: float
    height: float
    share: float


@dataclass(frozen=True, eq=False)
class Mover:
    """A mover at one time: pose and velocity in the street frame; size is length, width, height."""

    instance_id: int
    class_id: StreetClass
    pose: Floats
    velocity: Floats
    size: tuple[float, float, float]
    compiled: Compiled


def draw_queues(rng: np.random.Generator, section: Section, ego_speed: float, ego_lane: int) -> list[Queue]:
    """Draw the queues of a street; number 0 is the ego's, whose own place stays free."""
    queues: list[Queue] = []

    def add(
        kind: StreetClass,
        offset: float,
        direction: int,
        speed: float,
        gap: float,
        height: float,
        share: float,
    ) -> None:
        queues.append(Queue(len(queues), kind, offset, direction, speed, gap, height, share))

    offset, direction = section.lanes[ego_lane]
    density = rng.uniform(0.15, 0.8)
    add(StreetClass.CAR, offset, direction, ego_speed, 16.0, 0.0, density)
    for index, (lane, way) in enumerate(section.lanes):
        if index != ego_lane:
            add(StreetClass.CAR, lane, way, rng.uniform(5.0, 13.0), rng.uniform(13.0, 20.0), 0.0, density)
    for sign, side in section.sides.items():
        way = next((d for t, d in section.lanes if t * sign > 0), 1)
        if side.cycling is not None:
            add(
                StreetClass.RIDER,
                sign * side.cycling,
                way,
                rng.uniform(3.0, 6.0),
                7.0,
                0.0,
                rng.uniform(0.3, 0.8),
            )
        near, far = side.pavement
        for place, heading in ((0.35, 1), (0.7, -1)):
            share = rng.uniform(0.2, 0.65)
            path = sign * (near + place * (far - near))
            add(StreetClass.PERSON, path, heading, rng.uniform(0.9, 1.7), 6.0, side.kerb_height, share)
    return queues


def movers(
    split: Split, seed: int, route: Route, queues: list[Queue], time_s: float, window: tuple[float, float]
) -> list[Mover]:
    """Return what moves between the arc lengths of `window` at `time_s`."""
    found: list[Mover] = []
    for queue in queues:
        ends = sorted(queue.direction * end for end in window)
        first = int(np.floor((ends[0] - queue.speed * time_s) / queue.gap)) - 1
        last = int(np.ceil((ends[1] - queue.speed * time_s) / queue.gap)) + 1
        for index in range(first, last + 1):
            if queue.number == 0 and index == 0:
                continue
            plan = _plan(split, seed, queue, index)
            if plan is None:
                continue
            travelled = index * queue.gap + plan.jitter + queue.speed * time_s
            s = queue.direction * travelled
            if not window[0] <= s <= window[1]:
                continue
            found.append(_mover(route, queue, index, plan, s, travelled))
    return found


@dataclass(frozen=True, eq=False)
class _Plan:
    jitter: float
    sideways: float
    figure: people.Figure | None
    compiled: Compiled | None
    size: tuple[float, float, float]
    bicycle: list[Piece]


@lru_cache(maxsize=4096)
def _plan(split: Split, seed: int, queue: Queue, index: int) -> _Plan | None:
    """Return the looks of one mover, or None where the place in the queue is empty."""
    rng = stream(split, seed, 5, queue.number, index)
    if rng.random() >= queue.share:
        return None
    identity = _identity(queue, index)
    slack = 0.5 * (queue.gap - (6.5 if queue.kind == StreetClass.CAR else 2.5))
    jitter = rng.uniform(-slack, slack)
    if queue.kind == StreetClass.CAR:
        shape = vehicles.draw_car_shape(rng, split)
        compiled = compile_pieces([(piece, identity) for piece in vehicles.car(rng, shape)])
        return _Plan(jitter, rng.normal(0.0, 0.1), None, compiled, shape.size, [])
    figure = people.draw_figure(rng, split, cyclist=queue.kind == StreetClass.RIDER)
    if queue.kind == StreetClass.PERSON:
        return _Plan(
            jitter, rng.uniform(-0.25, 0.25), figure, None, size_of(people.walking(figure, 0.5 * np.pi)), []
        )
    bike = vehicles.bicycle(rng, split)
    return _Plan(
        jitter, rng.uniform(-0.15, 0.15), figure, None, size_of([*bike, *people.riding(figure, 0.0)]), bike
    )


def _mover(route: Route, queue: Queue, index: int, plan: _Plan, s: float, travelled: float) -> Mover:
    identity = _identity(queue, index)
    pose = route.pose(s, queue.offset + plan.sideways, reverse=queue.direction < 0)
    pose[:3, 3] += (0.0, 0.0, queue.height)
    compiled = plan.compiled
    if compiled is None:
        assert plan.figure is not None  # noqa: S101  # every plan without triangles has a figure
        if queue.kind == StreetClass.PERSON:
            parts = [
                (piece, identity)
                for piece in people.walking(plan.figure, 2 * np.pi * travelled / (0.85 * plan.figure.height))
            ]
        else:
            parts = [(piece, identity) for piece in people.riding(plan.figure, -travelled / 0.8)]
            parts += [(piece, 0) for piece in plan.bicycle]
        compiled = compile_pieces(parts)
    # The offset path is longer or shorter than the centre line by its curvature.
    bend = float(route.heading(s + 0.5) - route.heading(s - 0.5))
    along = queue.speed * (1.0 - bend * (queue.offset + plan.sideways))
    return Mover(identity, queue.kind, pose, pose[:3, 0] * along, plan.size, compiled)


def _identity(queue: Queue, index: int) -> int:
    number = 2 * index if index >= 0 else -2 * index - 1
    return _FIRST_ID + queue.number * _IDS_PER_QUEUE + number % _IDS_PER_QUEUE
