"""Writing files so that an interruption never leaves half a file under its final name."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from internimage_perception.errors import PerceptionError


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`; rename it to `final` when the block ends without an error.

    The temporary file is flushed to disk before the rename and removed when the block raises.
    Raises PerceptionError when the folder cannot be written.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent)
    except OSError as error:
        message = f"cannot write {final}: {error.strerror or error}; choose another output folder"
        raise PerceptionError(message) from error
    os.close(handle)
    # mkstemp makes private files; outputs follow the user's umask like any other file.
    umask = os.umask(0)
    os.umask(umask)
    temporary = Path(name)
    temporary.chmod(0o666 & ~umask)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(final: Path, text: str) -> None:
    """Write `text` (UTF-8) to `final` atomically."""
    with atomic_path(final) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(final: Path, data: bytes) -> None:
    """Write `data` to `final` atomically."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(data)


def try_lock(handle: int) -> bool:
    """Lock an open file or folder for this process alone; return whether no other process has it.

    The system releases the lock when the handle is closed or the process ends, however it ends.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network file systems cannot lock; one writer works there all the same.
        return True
    return True
