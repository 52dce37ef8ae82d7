"""`Street`: an endless procedural street; `Moment`: all of it near the car at one time."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh

from internimage_perception.data.street import palettes
from internimage_perception.data.street.appearance import Appearance, draw_appearance
from internimage_perception.data.street.blocks import BLOCK_M, Block, build_block
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.compiled import Compiled, compile_pieces, concatenate
from internimage_perception.data.street.ground import land
from internimage_perception.data.street.materials import grey, plain
from internimage_perception.data.street.mesh import Piece
from internimage_perception.data.street.noise import atlas
from internimage_perception.data.street.plants import foliage
from internimage_perception.data.street.route import Route
from internimage_perception.data.street.section import draw_section
from internimage_perception.data.street.seeds import Split, stream
from internimage_perception.data.street.traffic import draw_queues, movers
from internimage_perception.data.street.vehicles import EgoShape, ego_body
from internimage_perception.geometry.poses import invert

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

VIEW_M = 75.0
"""How far along the street, ahead and behind, things are built."""
_KEPT_BLOCKS = 32


@dataclass(frozen=True, eq=False)
class StreetObject:
    """A car, person or rider near the own car, in `base_link`.

    Attributes:
        instance_id: as in the instance images.
        class_id: of its pixels. A rider's box holds the bicycle too.
        pose: 4x4, of the object's frame: on the ground below its middle, x forward.
        velocity: over ground, in the axes of `base_link`, m/s, (3,).
        size: length, width, height, metres.
    """

    instance_id: int
    class_id: StreetClass
    pose: Floats
    velocity: Floats
    size: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Motion:
    """Pose of the own car in the street frame, its speed, m/s, and yaw rate, rad/s."""

    street_from_base: Floats
    speed: float
    yaw_rate: float


@dataclass(frozen=True, eq=False)
class Moment:
    """The street around the car at one time; everything is in `base_link` unless it says otherwise.

    Attributes:
        time_s: since the start.
        street_from_base: pose of the car in the street frame, 4x4.
        velocity: of the car over ground, m/s along x of `base_link`.
        yaw_rate: of the car, rad/s.
        scene: triangles and their parts.
        objects: cars, persons and riders.
        appearance: light, air, camera; its sun is in the street frame.
        textures: noise, see `noise.atlas`.
    """

    time_s: float
    street_from_base: Floats
    velocity: float
    yaw_rate: float
    scene: Compiled
    objects: tuple[StreetObject, ...]
    appearance: Appearance
    textures: Singles

    def seen_by(self, appearance: Appearance) -> "Moment":
        """Return the same scene under other light or through another camera, without building it again."""
        other = replace(self, appearance=appearance)
        for name in ("corners", "caster", "normals"):
            other.__dict__[name] = getattr(self, name)
        return other

    @cached_property
    def corners(self) -> Singles:
        """Corners of all triangles, float32 (n, 3, 3)."""
        return self.scene.corners.astype(np.float32)

    @cached_property
    def caster(self) -> rtcore_scene.EmbreeScene:
        """Embree's scene of the triangles; the hit's `primID` is the triangle's index."""
        return embree_scene(self.corners)

    @cached_property
    def sun(self) -> Singles:
        """Unit vector towards the sun in `base_link`, float32 (3,)."""
        return (self.street_from_base[:3, :3].T @ self.appearance.sun).astype(np.float32)

    @cached_property
    def normals(self) -> Singles:
        """Unit normals of all triangles, float32 (n, 3)."""
        c = self.corners
        normal = np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0])
        unit: Singles = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.float32(1e-12))
        return unit


def moment_of(
    pieces: Sequence[tuple[Piece, int]], appearance: Appearance | None = None, textures: Singles | None = None
) -> Moment:
    """Return a moment that shows nothing but these pieces, in `base_link`, each with its instance id.

    Args:
        pieces: what is there.
        appearance: light and air; None draws one.
        textures: see `noise.atlas`; None takes those of the first training street.
    """
    look = appearance or draw_appearance(np.random.default_rng(0))
    noise = atlas("train", 0) if textures is None else textures
    return Moment(0.0, np.eye(4), 0.0, 0.0, compile_pieces(pieces), (), look, noise)


def embree_scene(corners: Singles) -> rtcore_scene.EmbreeScene:
    """Return Embree's scene of triangles, float32 (n, 3, 3)."""
    scene = rtcore_scene.EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(corners))
    return scene


class Street:
    """An endless street: the same split and seed give the same street, wherever one looks first.

    Use `Street.generate`. Blocks of it are built when the car comes near and kept for a while.

    Attributes:
        split: "train" or "test".
        seed: of layout, shapes, textures and light.
        route: centre line and elevation.
        section: cross-section.
        speed_mps: of the own car.
    """

    def __init__(self, split: Split, seed: int, speed_mps: float) -> None:
        self.split, self.seed, self.speed_mps = split, seed, speed_mps
        rng = stream(split, seed, 0)
        self.route = Route(rng)
        self.section = draw_section(rng, split)
        ahead = [i for i, (_, direction) in enumerate(self.section.lanes) if direction > 0]
        self._lane = int(rng.choice(ahead))
        self._queues = draw_queues(rng, self.section, speed_mps, self._lane)
        self._lawn = foliage(rng)
        paint = plain(rng, palettes.car_paint(rng), strength=0.3, gloss=rng.uniform(0.1, 0.4))
        self._ego_paint = (paint, plain(rng, grey(rng, 0.05, 0.3), strength=0.2, gloss=0.4))
        self._appearance = draw_appearance(rng)
        self._textures = atlas(split, seed)
        self._blocks: OrderedDict[int, Block] = OrderedDict()

    @classmethod
    def generate(cls, seed: int, *, split: Split = "train", speed_mps: float = 8.0) -> "Street":
        """Return the street of a seed.

        Args:
            seed: 0 or more.
            split: "train" and "test" share no seed stream, texture, or family of shapes.
            speed_mps: of the own car.

        Raises:
            ValueError: another split or a negative seed.
        """
        return cls(split, seed, speed_mps)

    def ego_pose(self, time_s: float) -> Floats:
        """Return the 4x4 pose of the own car, rear axle on the ground, in the street frame."""
        return self.route.pose(self.speed_mps * time_s, self.section.lanes[self._lane][0])

    def motion(self, time_s: float) -> Motion:
        """Return where the own car is and how it moves, without building anything."""
        step = 0.05
        before, after = self.ego_pose(time_s - step)[:3], self.ego_pose(time_s + step)[:3]
        speed = float(np.linalg.norm(after[:, 3] - before[:, 3])) / (2 * step)
        turned = np.arctan2(after[1, 0], after[0, 0]) - np.arctan2(before[1, 0], before[0, 0])
        yaw_rate = float(np.arctan2(np.sin(turned), np.cos(turned))) / (2 * step)
        return Motion(self.ego_pose(time_s), speed, yaw_rate)

    def at(
        self, time_s: float, *, ego: EgoShape | None = None, appearance: Appearance | None = None
    ) -> Moment:
        """Return the street at a time, seconds since the start.

        Args:
            time_s: may be negative.
            ego: the own car's body; None takes the usual one.
            appearance: light and air other than the street's own.
        """
        s = self.speed_mps * time_s
        window = (s - VIEW_M, s + VIEW_M)
        street_from_base = self.ego_pose(time_s)
        base_from_street = invert(street_from_base)
        blocks = [self._block(i) for i in range(int(window[0] // BLOCK_M), int(window[1] // BLOCK_M) + 1)]
        moving = movers(self.split, self.seed, self.route, self._queues, time_s, window)
        around = compile_pieces([(land(self.route, street_from_base[:2, 3], self._lawn), 0)])
        groups = [around, *(block.compiled for block in blocks), *(m.compiled.moved(m.pose) for m in moving)]
        own = compile_pieces([(piece, 0) for piece in ego_body(ego or EgoShape(), *self._ego_paint)])
        scene = concatenate([concatenate(groups).moved(base_from_street), own])
        turn = base_from_street[:3, :3]
        objects = [
            StreetObject(o.instance_id, o.class_id, base_from_street @ o.pose, np.zeros(3), o.size)
            for block in blocks for o in block.objects
        ]  # fmt: skip
        objects += [
            StreetObject(m.instance_id, m.class_id, base_from_street @ m.pose, turn @ m.velocity, m.size)
            for m in moving
        ]
        motion = self.motion(time_s)
        return Moment(
            time_s, street_from_base, motion.speed, motion.yaw_rate, scene, tuple(objects),
            appearance or self._appearance, self._textures,
        )  # fmt: skip

    def _block(self, index: int) -> Block:
        if index not in self._blocks:
            rng = stream(self.split, self.seed, 4, index)
            self._blocks[index] = build_block(rng, self.split, self.route, self.section, index)
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(index)
        return self._blocks[index]
