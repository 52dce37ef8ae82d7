"""Find the pictures of a dataset's folder and what labels them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from internimage_perception.errors import DatasetError

PICTURES = (".png", ".jpg", ".jpeg")


def check_folder(folder: Path, what: str) -> Path:
    """Return a folder that exists. Raises DatasetError saying `what` should have been there."""
    if folder.is_dir():
        return folder
    if folder.exists():
        raise DatasetError(f"{folder} is a file, but {what} are in a folder; give the folder")
    missing = folder
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    try:
        beside = sorted(path.name for path in missing.parent.iterdir() if path.name[0] != ".")[:8]
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror or error}") from error
    found = f"{missing.parent} holds {', '.join(beside)}" if beside else f"{missing.parent} is empty"
    raise DatasetError(f"there is no folder {folder}, where {what} should be ({found})")


def first_folder(root: Path, candidates: Sequence[str], what: str) -> Path:
    """Return the first of the folders that exists below `root`. Raises DatasetError naming all of them."""
    check_folder(root, what)
    for name in candidates:
        if (root / name).is_dir():
            return root / name
    raise DatasetError(f"{root} has no folder of {what}: none of {', '.join(candidates)}")


def list_files(folder: Path, suffixes: Sequence[str], what: str, *, ending: str = "") -> dict[str, Path]:
    """Return files below a folder by their relative path without ending and suffix, in order of the paths.

    Args:
        folder: searched with all its subfolders, links followed, each once; hidden ones are left out.
        suffixes: such as (".png",); letters may be small or large.
        what: they are, for the complaint.
        ending: that names have before their suffix, such as "_leftImg8bit".

    Raises:
        DatasetError: no such folder, no file of the kind in it, or two files of one name.
    """
    check_folder(folder, what)
    found: dict[str, Path] = {}
    entered: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        # Links may lead in circles.
        if (real := os.path.realpath(place)) in entered:
            folders.clear()
            continue
        entered.add(real)
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a third of the time, with many files
            if name[0] == "." or suffix.lower() not in suffixes or not stem.endswith(ending):
                continue
            path = Path(place, name)
            key = path.relative_to(folder).with_name(stem.removesuffix(ending) or stem).as_posix()
            if key in found:
                raise DatasetError(f"{path} and {found[key].name} have one name; keep one of them")
            found[key] = path
    if not found:
        kinds = " or ".join(f"*{ending}{suffix}" for suffix in suffixes)
        raise DatasetError(f"{folder} holds no {what}: no file {kinds} in it or its subfolders")
    return dict(sorted(found.items()))


def pair(
    images: Mapping[str, Path], labels: Mapping[str, Path], *, unlabelled: bool = False
) -> dict[str, tuple[Path, Path | None]]:
    """Return each picture with its label file, by name.

    Args:
        images: by name.
        labels: by name.
        unlabelled: allow pictures without label file.

    Raises:
        DatasetError: a picture without label file, or the reverse.
    """
    if stray := [path for name, path in labels.items() if name not in images]:
        raise DatasetError(f"{_some(stray)} without its picture; complete the pictures or remove the labels")
    if not unlabelled and (bare := [path for name, path in images.items() if name not in labels]):
        expected = next(iter(labels.values())).name if labels else "none at all"
        raise DatasetError(
            f"{_some(bare)} without label file (there are {len(labels)}, such as {expected}); complete the "
            "labels, or open the pictures as unlabelled"
        )
    return {name: (path, labels.get(name)) for name, path in images.items()}


def _some(paths: Iterable[Path]) -> str:
    """Return the first path and how many more there are."""
    listed = list(paths)
    return f"{listed[0]} is" if len(listed) == 1 else f"{listed[0]} and {len(listed) - 1} more are"
