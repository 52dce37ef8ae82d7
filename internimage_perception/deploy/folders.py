"""Folders of models, made beside their place and moved there when they are whole."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from internimage_perception.errors import BundleError, PerceptionError
from internimage_perception.inference.bundle import MANIFEST, Bundle


def check_target(out_dir: Path, *, overwrite: bool) -> None:
    """Raise BundleError unless a model may be written to `out_dir`, or may replace the one there."""
    if out_dir.exists() and not overwrite:
        message = f"{out_dir} already exists; choose another folder or overwrite it (--overwrite)"
        raise BundleError(message)
    if out_dir.exists() and not (out_dir / MANIFEST).is_file():
        message = (
            f"{out_dir} is no bundle (it has no {MANIFEST}) and is not overwritten; choose another folder"
        )
        raise BundleError(message)


@contextmanager
def model_folder(out_dir: Path) -> Iterator[Path]:
    """Yield a folder to write a model to, which takes the name `out_dir` when it is whole.

    What the reading side refuses does not take the name, nor what is left when the block raises.

    Raises:
        PerceptionError: no folder can be made there.
        BundleError: what was written is no bundle.
    """
    folder = _temporary_beside(out_dir)
    try:
        yield folder
        Bundle.load(folder)
        _move_into_place(folder, out_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary_beside(out_dir: Path) -> Path:
    """Return a new folder beside `out_dir`. Raises PerceptionError when none can be made there."""
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", suffix=".part", dir=out_dir.parent))
    except OSError as error:
        message = f"cannot write {out_dir}: {error.strerror or error}; choose another output folder"
        raise PerceptionError(message) from error
    # mkdtemp makes private folders; a bundle follows the user's umask like any other output.
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    return folder


def _move_into_place(folder: Path, out_dir: Path) -> None:
    """Give `folder` the name `out_dir`, in the place of what is there."""
    if not out_dir.exists():
        folder.rename(out_dir)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", suffix=".old", dir=out_dir.parent))
    out_dir.rename(old / out_dir.name)
    folder.rename(out_dir)
    shutil.rmtree(old, ignore_errors=True)
