"""The plugin library of `dcnv3_plugin`, brought into TensorRT's registry once per process."""

import ctypes
import os
import threading
from pathlib import Path
from types import ModuleType

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.graph_choice import BUILD_ADVICE
from internimage_perception.inference.engines.tensorrt_module import MessageFilter, Version, parse_version
from internimage_perception.native_files import OPS_ENVIRONMENT, first_library

PLUGIN_VERSION = "1"

_ENTRIES = ("getCreators", "getPluginCreators")
"""Functions that TensorRT asks a library for its plugins by: from version 10 on, and 8.6."""

_loaded: dict[Path, object] = {}
_lock = threading.Lock()


def find_library(version: Version) -> Path | None:
    """Return the plugin library for TensorRT `version`.

    None where there is none, and with INTERNIMAGE_PERCEPTION_OPS=reference.
    """
    if os.environ.get(OPS_ENVIRONMENT) == "reference":
        return None
    return first_library(version.library)


def load_library(
    trt: ModuleType, version: Version, library: Path, operators: frozenset[str], messages: MessageFilter
) -> None:
    """Make TensorRT know the plugins of `library`.

    Args:
        trt: TensorRT's module.
        version: its version.
        library: the file.
        operators: the plugins that are needed.
        messages: what TensorRT says meanwhile.

    Raises:
        BackendError: the library was built for another TensorRT, cannot be loaded, or lacks a plugin.
    """
    path = library.resolve()
    registry = trt.get_plugin_registry()
    with _lock:
        if path not in _loaded:
            _loaded[path] = _load(registry, version, path, messages)
    missing = [name for name in sorted(operators) if not _known(registry, version, name)]
    if missing:
        message = (
            f"{library} has no plugin for {', '.join(missing)}; it is older than the model: {BUILD_ADVICE}"
        )
        raise BackendError(message)


def _load(registry: object, version: Version, path: Path, messages: MessageFilter) -> object:
    try:
        handle = ctypes.CDLL(str(path))
    except OSError as error:
        message = f"{path} cannot be loaded: {error}; build it on this computer: {BUILD_ADVICE}"
        raise BackendError(message) from error
    built = _built_for(handle)
    if built is not None and built.major != version.major:
        message = (
            f"{path} was built for TensorRT {built.text}, here is {version.text}, which would crash; "
            f"{BUILD_ADVICE}"
        )
        raise BackendError(message)
    if not any(hasattr(handle, name) for name in _ENTRIES):
        # Built for 8.5, which loads no libraries of plugins: it has just registered itself.
        return handle
    load = getattr(registry, "load_library", None)
    if load is None:
        message = f"{path} is for TensorRT 8.6 or newer, here is {version.text}; {BUILD_ADVICE}"
        raise BackendError(message)
    loaded = load(str(path))
    if loaded is None:
        message = f"TensorRT {version.text} refuses {path}: {messages.reason()}; {BUILD_ADVICE}"
        raise BackendError(message)
    return loaded


def _built_for(handle: ctypes.CDLL) -> Version | None:
    """Return the TensorRT the library was built for; None when it does not say."""
    try:
        function = handle.dcnv3_tensorrt_version
    except AttributeError:
        return None
    function.restype = ctypes.c_char_p
    text = function()
    return parse_version(text.decode()) if isinstance(text, bytes) else None


def _known(registry: object, version: Version, name: str) -> bool:
    look_up = "get_plugin_creator" if version.major < 10 else "get_creator"
    return getattr(registry, look_up)(name, PLUGIN_VERSION, "") is not None
