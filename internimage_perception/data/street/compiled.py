"""Pieces as flat arrays: what a moment of the street is assembled from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.materials import COLUMNS, table
from internimage_perception.data.street.mesh import Piece

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Compiled:
    """Triangles with the index of their part, and the parts' properties.

    Attributes:
        corners: float64 (n, 3, 3).
        uv: float32 (n, 3, 2).
        part: int32 (n,), index into the arrays that follow.
        materials: float32 (parts, columns).
        class_ids: uint8 (parts,).
        instance_ids: int32 (parts,), 0 for none.
        overhead: bool (parts,).
    """

    corners: Floats
    uv: Singles
    part: npt.NDArray[np.int32]
    materials: Singles
    class_ids: npt.NDArray[np.uint8]
    instance_ids: npt.NDArray[np.int32]
    overhead: npt.NDArray[np.bool_]

    def moved(self, pose: Floats) -> "Compiled":
        """Return the same under a 4x4 pose."""
        corners = self.corners @ pose[:3, :3].T + pose[:3, 3]
        return Compiled(
            corners, self.uv, self.part, self.materials, self.class_ids, self.instance_ids, self.overhead
        )


def compile_pieces(pieces: Sequence[tuple[Piece, int]]) -> Compiled:
    """Return the arrays of pieces, each with its instance id."""
    if not pieces:
        return Compiled(
            np.zeros((0, 3, 3)), np.zeros((0, 3, 2), np.float32), np.zeros(0, np.int32),
            np.zeros((0, 6 + len(COLUMNS)), np.float32), np.zeros(0, np.uint8), np.zeros(0, np.int32),
            np.zeros(0, np.bool_),
        )  # fmt: skip
    items = [piece for piece, _ in pieces]
    counts = [len(piece.soup.corners) for piece in items]
    return Compiled(
        np.concatenate([piece.soup.corners for piece in items]),
        np.concatenate([piece.uv for piece in items]).astype(np.float32),
        np.repeat(np.arange(len(items), dtype=np.int32), counts),
        table([piece.material for piece in items]),
        np.array([piece.class_id for piece in items], np.uint8),
        np.array([instance for _, instance in pieces], np.int32),
        np.array([piece.overhead for piece in items], np.bool_),
    )


def concatenate(groups: Sequence[Compiled]) -> Compiled:
    """Return all groups as one."""
    starts = np.cumsum([0, *(len(group.class_ids) for group in groups)])
    return Compiled(
        np.concatenate([group.corners for group in groups]),
        np.concatenate([group.uv for group in groups]),
        np.concatenate([group.part + np.int32(start) for group, start in zip(groups, starts, strict=False)]),
        np.concatenate([group.materials for group in groups]),
        np.concatenate([group.class_ids for group in groups]),
        np.concatenate([group.instance_ids for group in groups]),
        np.concatenate([group.overhead for group in groups]),
    )
