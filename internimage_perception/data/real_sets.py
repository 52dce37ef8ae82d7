"""Find real data in a folder, recordings and image sets alike, and make each ready to replay."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from internimage_perception.data.camera_bag import CameraBagWriter
from internimage_perception.data.image_sets import LOADERS, ImageSet, load_image_set
from internimage_perception.errors import PerceptionError

_BAG_SUFFIXES = (".bag", ".mcap", ".db3")
_RECEIVE_DELAY_NS = 5_000_000


@dataclass(frozen=True, slots=True)
class RealSet:
    """Something to replay.

    Attributes:
        name: for folders and reports.
        source: a bag, or the folder of an image set.
        loader: reads the image set; None: `source` is a bag already.
    """

    name: str
    source: Path
    loader: Callable[[Path], ImageSet] | None = None

    def prepare(self, folder: Path) -> tuple[Path, Path | None]:
        """Return the bag and the rig file to replay, made in `folder` unless the source is a bag.

        The bag holds the pictures' files byte by byte. Raises PerceptionError when the set is incomplete.
        """
        if self.loader is None:
            return self.source, None
        found = load_image_set(self.source, self.loader)
        rig = folder / "rig.yaml"
        found.rig.save(rig)
        with CameraBagWriter(folder / "images", found.rig) as bag:
            for picture in sorted(found.pictures, key=lambda item: item.stamp_ns):
                try:
                    data = picture.path.read_bytes()
                except OSError as error:
                    message = f"camera {picture.camera}: cannot read {picture.path}: {error.strerror}"
                    raise PerceptionError(message) from error
                bag.write(picture.camera, data, picture.stamp_ns, picture.stamp_ns + _RECEIVE_DELAY_NS)
        return folder / "images", rig


def find_real_sets(folder: Path, *, besides: Path | None = None) -> list[RealSet]:
    """Return everything in `folder` that can be replayed: known image sets, then bags of every kind.

    Args:
        folder: searched with all its subfolders.
        besides: a folder left out, such as the one results go to.

    Raises:
        PerceptionError: the folder is missing or holds nothing of the kind.
    """
    if not folder.is_dir():
        raise PerceptionError(f"there is no folder {folder}: give the one with your bags or image sets")
    root = folder.resolve()
    excluded = besides.resolve() if besides is not None else None
    found: dict[str, RealSet] = {}
    for source, loader in (*_image_sets(root), *((path, None) for path in _bags(root))):
        if excluded is not None and excluded in (source, *source.parents):
            continue
        relative = source.relative_to(root).as_posix()
        base = name = re.sub(r"\W+", "_", root.name if relative == "." else relative).strip("_")
        number = 2
        while name in found:
            name, number = f"{base}_{number}", number + 1
        found[name] = RealSet(name, source, loader)
    if not found:
        known = ", ".join(pattern.partition("/")[0] for pattern in LOADERS)
        raise PerceptionError(f"{folder} holds no bags (rosbag2, .mcap, .db3, .bag) and none of {known}")
    return list(found.values())


def _image_sets(root: Path) -> Iterator[tuple[Path, Callable[[Path], ImageSet]]]:
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    for pattern, loader in LOADERS.items():
        yield from ((folder, loader) for folder in folders if folder.match(pattern))


def _bags(root: Path) -> Iterator[Path]:
    folders = sorted(path.parent for path in root.rglob("metadata.yaml") if _is_rosbag2(path))
    yield from folders
    for path in sorted(root.rglob("*")):
        if path.suffix in _BAG_SUFFIXES and path.is_file() and path.parent not in folders:
            yield path


def _is_rosbag2(metadata: Path) -> bool:
    try:
        return b"rosbag2_bagfile_information" in metadata.read_bytes()
    except OSError:
        return False
