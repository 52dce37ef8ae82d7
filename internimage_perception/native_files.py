"""Where the native libraries of `dcnv3_plugin` are looked for, by those who load them."""

import os
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENT = "INTERNIMAGE_PERCEPTION_LIBRARY_PATH"
OPS_ENVIRONMENT = "INTERNIMAGE_PERCEPTION_OPS"
"""Variable that chooses between the native kernels and the reference, see `ops.choice`."""


def search_path() -> list[Path]:
    """Return the folders where the libraries are looked for, in order.

    1. `INTERNIMAGE_PERCEPTION_LIBRARY_PATH`, folders separated by colons;
    2. `lib` beside this module: pip installs them there;
    3. `lib` of the ROS workspaces in `AMENT_PREFIX_PATH`: colcon installs them there;
    4. `build/native` of the source tree: `make setup` builds them there.
    """
    package = Path(__file__).resolve().parent
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return [
        *(Path(folder) for folder in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if folder),
        package / "lib",
        *(Path(prefix) / "lib" for prefix in prefixes if prefix),
        package.parent / "build" / "native",
    ]


def first_library(name: str, folders: Sequence[Path] | None = None) -> Path | None:
    """Return the first library of that name in `folders` (None: the search path), None without one."""
    places = search_path() if folders is None else folders
    return next((path for folder in places if (path := folder / name).is_file()), None)
