"""Blocks: what stands along 20 m of street, drawn from the block's own seed."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street import buildings, furniture, palettes, people, plants, vehicles
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.compiled import Compiled, compile_pieces
from internimage_perception.data.street.ground import block_ground
from internimage_perception.data.street.materials import plain
from internimage_perception.data.street.mesh import Piece, Soup, placed_pieces
from internimage_perception.data.street.route import Route
from internimage_perception.data.street.section import Section, Side
from internimage_perception.data.street.seeds import Split

Rng = np.random.Generator
Floats = npt.NDArray[np.float64]

BLOCK_M = 20.0
_IDS_PER_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Standing:
    """A parked car or a person who stands: pose in the street frame, size (length, width, height)."""

    instance_id: int
    class_id: StreetClass
    pose: Floats
    size: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Block:
    """The compiled triangles of a block, in the street frame, and its objects."""

    compiled: Compiled
    objects: tuple[Standing, ...]


def build_block(rng: Rng, split: Split, route: Route, section: Section, index: int) -> Block:
    """Return block `index`, which covers arc lengths from index * BLOCK_M on."""
    return _Builder(rng, split, route, section, index).build()


class _Builder:
    def __init__(self, rng: Rng, split: Split, route: Route, section: Section, index: int) -> None:
        self._rng, self._split, self._route, self._section = rng, split, route, section
        self._low = index * BLOCK_M
        number = 2 * index if index >= 0 else -2 * index - 1
        self._next_id = 1 + number * _IDS_PER_BLOCK
        self._items: list[tuple[Piece, int]] = []
        self._objects: list[Standing] = []

    def build(self) -> Block:
        rng = self._rng
        middle = self._low + rng.uniform(7.0, 13.0)
        crossing = (middle - 1.7, middle + 1.7) if rng.random() < 0.28 else None
        openings = {}
        for sign in (1, -1):
            if crossing is None and rng.random() < 0.08:
                openings[sign] = (self._low + 6.0, self._low + rng.uniform(11.0, 14.0))
        asphalt = plain(rng, palettes.asphalt(rng))
        span = (self._low, self._low + BLOCK_M)
        ground = block_ground(self._route, self._section, span, crossing, openings, asphalt)
        self._items += [(piece, 0) for piece in ground]
        for sign, side in self._section.sides.items():
            self._side(sign, side, crossing, openings.get(sign))
        return Block(compile_pieces(self._items), tuple(self._objects))

    def _side(
        self, sign: int, side: Side, crossing: tuple[float, float] | None, opening: tuple[float, float] | None
    ) -> None:
        rng = self._rng
        blocked = [pair for pair in (crossing, opening) if pair]
        if opening is None:
            self._front(sign, side)
            self._border(sign, side)
        self._planting(sign, side, blocked)
        self._furniture(sign, side, blocked, crossing)
        if side.parking:
            self._parking(sign, side.parking, blocked)
        walkway = side.pavement
        for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.6 else 0):
            t = rng.uniform(walkway[0] + 0.3, walkway[1] - 0.3)
            self._person(self._low + rng.uniform(0, BLOCK_M), sign * t, side.kerb_height)
        if crossing is not None:
            for _ in range(int(rng.integers(0, 4))):
                t = rng.uniform(-self._section.half_width, self._section.half_width)
                self._person(rng.uniform(*crossing), t, 0.0)

    def _front(self, sign: int, side: Side) -> None:
        """Buildings behind the front line, or trees; a backdrop further out."""
        rng = self._rng
        front = side.front + 0.6
        if rng.random() < 0.65:
            length, depth = rng.uniform(9.0, 19.5), rng.uniform(8.0, 13.0)
            start = rng.uniform(0.0, BLOCK_M - length)
            self._place(
                buildings.building(rng, self._split, length, depth), sign, start, front, 0.0, along=length
            )
        else:
            for _ in range(int(rng.integers(1, 4))):
                self._place(
                    plants.tree(rng, self._split),
                    sign,
                    rng.uniform(0, BLOCK_M),
                    front + rng.uniform(0, 10),
                    0.0,
                )
        kind = rng.random()
        out = front + rng.uniform(22.0, 50.0)
        if kind < 0.5:
            length = rng.uniform(12.0, 30.0)
            self._place(buildings.building(rng, self._split, length, 12.0), sign, 0.0, out, 0.0, along=length)
        elif kind < 0.85:
            for _ in range(3):
                self._place(
                    plants.tree(rng, self._split),
                    sign,
                    rng.uniform(0, BLOCK_M),
                    out + rng.uniform(-9, 9),
                    0.0,
                )

    def _border(self, sign: int, side: Side) -> None:
        """What separates the yard from the pavement, in two parts of 10 m, or a row of it at the kerb."""
        rng = self._rng
        yard = side.front - side.pavement[1] > 1.0
        for start in (0.2, 10.2):
            at = side.pavement[1] + 0.15 if yard else side.front + 0.3
            length = rng.uniform(6.0, 9.6)
            kind = rng.random()
            if kind < 0.4:
                self._place(
                    furniture.fence(rng, self._split, length), sign, start, at, side.kerb_height, along=length
                )
            elif kind < 0.52:
                wall = buildings.garden_wall(rng, self._split, length)
                self._place(wall, sign, start, at, side.kerb_height, along=length)
            elif kind < 0.66:
                self._place(plants.hedge(rng, length), sign, start, at + 0.3, side.kerb_height, along=length)
            if rng.random() < 0.1:
                rail = furniture.fence(rng, self._split, length)
                self._place(rail, sign, start, side.kerb + 0.3, side.kerb_height, along=length)

    def _planting(self, sign: int, side: Side, blocked: list[tuple[float, float]]) -> None:
        rng = self._rng
        areas = [(side.pavement[1] + 0.8, side.front)] if side.front - side.pavement[1] > 2.0 else []
        if side.verge:
            areas.append(side.verge)
        for near, far in areas:
            for _ in range(int(rng.integers(1, 5))):
                s, t = self._free(blocked), rng.uniform(near, far)
                make = plants.tree if rng.random() < 0.45 else plants.bush
                self._place(make(rng, self._split), sign, s - self._low, t, side.kerb_height)
            if rng.random() < 0.4 and far - near > 0.5 and not blocked:
                tufts = plants.grass_tufts(rng, 8.0, min(far - near, 3.0))
                self._place(tufts, sign, rng.uniform(0, 10), near, side.kerb_height, along=8.0)
        if not areas and rng.random() < 0.6:
            self._place(
                plants.tree(rng, self._split),
                sign,
                self._free(blocked) - self._low,
                side.kerb + 0.6,
                side.kerb_height,
            )

    def _furniture(
        self, sign: int, side: Side, blocked: list[tuple[float, float]], crossing: tuple[float, float] | None
    ) -> None:
        rng = self._rng
        at, up = side.kerb + 0.45, side.kerb_height
        if rng.random() < 0.8:
            self._place(
                furniture.lamp_post(rng, self._split),
                sign,
                self._free(blocked) - self._low,
                at,
                up,
                facing=0,
                own_id=True,
            )
        for _ in range(int(rng.choice([0, 1, 2, 2, 3]))):
            sign_pieces = furniture.traffic_sign(rng, self._split)
            facing = 1 if rng.random() < 0.75 else -1
            self._place(
                sign_pieces, sign, self._free(blocked) - self._low, at, up, facing=facing, own_id=True
            )
        if (crossing is not None and rng.random() < 0.85) or rng.random() < 0.25:
            light = furniture.traffic_light(rng, self._split)
            s = (crossing[0] - 0.7 if crossing else self._free(blocked)) - self._low
            self._place(light, sign, s, at, up, facing=1, own_id=True)
            if rng.random() < 0.6:
                far = furniture.traffic_light(rng, self._split)
                self._place(far, sign, s + 4.8, at, up, facing=-1, own_id=True)
        if rng.random() < 0.22:
            start, gap = rng.uniform(0, 8.0), rng.uniform(1.2, 2.5)
            pieces = furniture.bollard(rng)
            for number in range(int(rng.integers(2, 6))):
                self._place(pieces, sign, start + number * gap, at, up, own_id=True)
        if rng.random() < 0.3:
            inner = side.pavement[1] - 0.4
            self._place(furniture.clutter(rng), sign, rng.uniform(1, 19), inner, up, own_id=True)

    def _parking(self, sign: int, place: tuple[float, float], blocked: list[tuple[float, float]]) -> None:
        rng = self._rng
        centre = sum(place) / 2
        direction = next((d for t, d in self._section.lanes if t * sign > 0), 1)
        for start in np.arange(0.0, BLOCK_M - 5.9, 6.6):
            s = self._low + start + 3.3 + rng.uniform(-0.4, 0.4)
            if rng.random() < 0.45 or any(low - 4.0 < s < high + 4.0 for low, high in blocked):
                continue
            shape = vehicles.draw_car_shape(rng, self._split)
            reverse = (direction < 0) != (rng.random() < 0.1)
            pose = self._route.pose(s, sign * centre + rng.normal(0.0, 0.08), reverse=reverse)
            self._object(vehicles.car(rng, shape), StreetClass.CAR, pose, shape.size)

    def _person(self, s: float, t: float, height: float) -> None:
        rng = self._rng
        figure = people.draw_figure(rng, self._split)
        if rng.random() < 0.6:
            figure = dataclasses.replace(figure, swing=rng.uniform(0.02, 0.15))
        pieces = people.walking(figure, rng.uniform(0, 6.3))
        pose = self._route.standing(self._route.point(s, t), rng.uniform(0, 2 * np.pi))
        pose[2, 3] += height
        self._object(pieces, StreetClass.PERSON, pose, size_of(pieces))

    def _object(
        self, pieces: Sequence[Piece], class_id: StreetClass, pose: Floats, size: tuple[float, float, float]
    ) -> None:
        number = self._take_id()
        self._objects.append(Standing(number, class_id, pose, size))
        for piece in pieces:
            moved = Soup(piece.soup.corners @ pose[:3, :3].T + pose[:3, 3], piece.soup.uv)
            self._items.append((dataclasses.replace(piece, soup=moved), number))

    def _place(
        self, pieces: Sequence[Piece], sign: int, start: float, t: float, height: float,
        *, along: float = 0.0, facing: int | None = None, own_id: bool = False,
    ) -> None:  # fmt: skip
        """Set pieces up at `start` metres into the block, `t` from the centre line on side `sign`.

        Things with a length lie along the street, x along their front, y away from the road. Things that
        face (1 towards traffic of this side, -1 away, 0 neither) have y towards the road. Others are turned
        at random. Each piece of class light, sign, pole and background gets an instance of its own.
        """
        s = self._low + start + along / 2
        xy = self._route.point(s, sign * t)
        yaw = float(self._route.heading(s))
        flip = 1.0
        shift = 0.0
        if along:
            flip, shift = float(sign), -along / 2
        elif facing is not None:
            towards = next((d for offset, d in self._section.lanes if offset * sign > 0), 1)
            ahead = -towards * facing if facing else 1
            yaw += 0.0 if ahead > 0 else np.pi
            flip = -float(sign * ahead)
        else:
            yaw += float(self._rng.uniform(0, 2 * np.pi))
        base = (*xy, float(self._route.elevation(xy)) + height)
        local = [
            dataclasses.replace(
                p, soup=Soup(p.soup.corners * (1.0, flip, 1.0) + (shift, 0.0, 0.0), p.soup.uv)
            )
            for p in pieces
        ]
        ids: dict[StreetClass, int] = {}
        for piece in placed_pieces(local, base, yaw):
            if own_id and piece.class_id not in ids:
                ids[piece.class_id] = self._take_id()
            self._items.append((piece, ids.get(piece.class_id, 0)))

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _free(self, blocked: list[tuple[float, float]]) -> float:
        """Return an arc length in the block that no crossing or side street takes."""
        s = self._low + float(self._rng.uniform(0.5, BLOCK_M - 0.5))
        for low, high in blocked:
            if low - 0.6 < s < high + 0.6:
                s = low - 0.6 - float(self._rng.uniform(0.0, 3.0))
        return s


def size_of(pieces: Sequence[Piece]) -> tuple[float, float, float]:
    """Return length, width and height of pieces around their local origin; width and length symmetric."""
    corners = np.concatenate([piece.soup.corners.reshape(-1, 3) for piece in pieces])
    reach = np.abs(corners[:, :2]).max(axis=0) * 2.0
    return float(reach[0]), float(reach[1]), float(corners[:, 2].max())
