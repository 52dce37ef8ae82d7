"""Say in people's words why a bag file cannot be opened, and what mends it."""

from pathlib import Path

_MCAP_MAGIC = b"\x89MCAP0\r\n"
_SQLITE_MAGIC = b"SQLite format 3\0"
_ROS1_MAGIC = b"#ROSBAG V"
_MAGICS = {".mcap": (_MCAP_MAGIC, "an MCAP file"), ".db3": (_SQLITE_MAGIC, "a sqlite3 database"),
           ".bag": (_ROS1_MAGIC, "a ROS 1 bag")}  # fmt: skip


def explain_damage(path: Path, error: Exception | None) -> str:
    """Return why `path` cannot be read, given what the parser raised (None: its suffix is unknown)."""
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or error}"
    if path.is_dir():
        return f"{path} cannot be read: {error}"
    if path.stat().st_size == 0:
        return f"{path} is empty (0 bytes): nothing was recorded, or copying it failed"
    return _explain_content(path, error) if path.suffix in _MAGICS else _explain_suffix(path)


def _explain_suffix(path: Path) -> str:
    if path.name.endswith(".bag.active"):
        return (
            f"{path} was not closed by its recorder: run `rosbag reindex {path.name}` and rename it to .bag"
        )
    if path.suffix == ".zstd":
        return f"{path} is one compressed file of a bag: give the folder with its metadata.yaml instead"
    return f"{path} is no bag: expected a rosbag2 folder, a .mcap or .db3 file, or a ROS 1 .bag"


def _explain_content(path: Path, error: Exception | None) -> str:
    magic, kind = _MAGICS[path.suffix]
    with path.open("rb") as file:
        start = file.read(len(magic))
        file.seek(max(0, path.stat().st_size - len(magic)))
        end = file.read()
    if start != magic:
        return f"{path} is not {kind}, although its name says so"
    if path.suffix == ".mcap" and end != magic:
        return (
            f"{path} was not closed (recorder killed, disk full, or copied halfway): it has no index. "
            f"Run `mcap recover {path.name} -o recovered.mcap`, then `ros2 bag reindex` on its folder"
        )
    detail = str(error) or "the parser lost its way"
    return f"{path} is damaged or was not closed ({detail}). {_remedy(path)}"


def _remedy(path: Path) -> str:
    name = path.name
    if path.suffix == ".mcap":
        return f"Try `mcap doctor {name}` and `mcap recover {name} -o recovered.mcap`"
    if path.suffix == ".bag":
        return f"Try `rosbag reindex {name}`"
    journal = path.with_name(f"{name}-wal")
    if journal.exists() and journal.stat().st_size:
        return (
            f"Its last part is still in {journal.name}: merge it by `sqlite3 {name} 'PRAGMA wal_checkpoint'`"
        )
    return f"Try `sqlite3 {name} .recover | sqlite3 recovered.db3`, then `ros2 bag reindex` on its folder"
