"""Where the files that travel with the package are: messages, configuration, launch files, models."""

from pathlib import Path

from internimage_perception.errors import PerceptionError

_PACKAGE = "internimage_perception"
_BUNDLES = "config/bundles"


def share_path(relative: str) -> Path:
    """Return the path of a shipped file or folder such as `msg/LabelInfo.msg` or `config/fastdds.xml`.

    Looks in the source tree, then in `share/internimage_perception` of every prefix above this file
    (colcon install space, Debian, virtual environment). Raises PerceptionError when it is nowhere.
    """
    here = Path(__file__).resolve().parent
    if (source := here.parent / relative).exists() and (here.parent / "package.xml").exists():
        return source
    # The unresolved path too: a symlink install points back into the source tree.
    for start in (here, Path(__file__).absolute().parent):
        for parent in start.parents:
            candidate = parent / "share" / _PACKAGE / relative
            if candidate.exists():
                return candidate
    message = f"the installation lacks {relative}: reinstall {_PACKAGE} (looked beside and above {here})"
    raise PerceptionError(message)


def shipped_bundles() -> dict[str, Path]:
    """Return the model bundles that travel with the package: name to folder, empty where there are none."""
    try:
        folder = share_path(_BUNDLES)
    except PerceptionError:
        return {}
    return {item.name: item for item in sorted(folder.iterdir()) if item.is_dir() and item.name[0] != "."}


def bundle_path(given: str | Path) -> Path:
    """Return the path `given`, or the shipped bundle of that name where there is no such path."""
    path = Path(given)
    return path if path.exists() else shipped_bundles().get(str(path), path)
