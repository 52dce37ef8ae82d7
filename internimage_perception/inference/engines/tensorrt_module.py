"""TensorRT's Python module: found, checked for its version, its messages brought into Python's logging."""

import functools
import importlib
import logging
import re
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from internimage_perception.errors import BackendError

if TYPE_CHECKING:
    import tensorrt

_OLDEST = (8, 5)
_NEWEST_MAJOR = 11
_INSTALL = (
    "on a Jetson: sudo apt install python3-libnvinfer, and a virtual environment made with "
    "--system-site-packages; elsewhere: pip install tensorrt"
)

# What TensorRT says of any graph of ours and nobody can or need act on.
_HARMLESS = tuple(
    re.compile(pattern)
    for pattern in (
        r"A node named .* already exists",  # a function's nodes, once per call
        r"^ModelImporter\.cpp",  # the parser's errors, which it hands over by itself
        r"has been generated with INT64 weights",  # 8.x; they are positions and shapes, and small
        r"weights outside the range of INT32 was clamped",  # 8.x; ends of slices
        r"Make sure (in|out)put .* has Int64 binding",
        r"CUDA lazy loading is not enabled",
        r"Unable to determine GPU memory usage",
    )
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Version:
    """TensorRT's version.

    Attributes:
        major: such as 10; decides the plugin library.
        minor: such as 3.
        text: as TensorRT says it.
    """

    major: int
    minor: int
    text: str

    @property
    def library(self) -> str:
        """The file name of the plugin library for it."""
        return f"libdcnv3_tensorrt{self.major}.so"


def parse_version(text: str) -> Version:
    """Read "10.3.0". Raises BackendError for something else."""
    found = re.match(r"(\d+)\.(\d+)", text)
    if not found:
        message = f"TensorRT calls itself {text!r}, which is no version"
        raise BackendError(message)
    return Version(int(found[1]), int(found[2]), text)


def load_tensorrt() -> tuple[ModuleType, Version]:
    """Import TensorRT. Raises BackendError when it is not installed or its version is not supported."""
    try:
        module = importlib.import_module("tensorrt")
    except ImportError as error:
        message = f"TensorRT's Python module cannot be imported ({error}); {_INSTALL}"
        raise BackendError(message) from error
    version = parse_version(str(getattr(module, "__version__", "")))
    if (version.major, version.minor) < _OLDEST:
        message = f"TensorRT {version.text} is too old: 8.5 to 11 is needed; {_INSTALL}"
        raise BackendError(message)
    if not hasattr(module, "Builder"):
        message = f"TensorRT {version.text} in {module.__name__} cannot build engines; {_INSTALL}"
        raise BackendError(message)
    if version.major > _NEWEST_MAJOR:
        _log.warning("TensorRT %s is newer than any this package knows (8.5 to 11)", version.text)
    return module, version


class MessageFilter:
    """Passes on what matters of TensorRT's messages, each once, and remembers the errors."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._said: set[str] = set()

    def take(self, level: int, text: str) -> None:
        """Take a message of a level of Python's logging: warnings and errors are logged, the rest is not."""
        line = " ".join(text.split())
        if level < logging.WARNING or any(pattern.search(line) for pattern in _HARMLESS):
            return
        if level >= logging.ERROR:
            self.errors.append(line)
        if line not in self._said:
            self._said.add(line)
            _log.log(level, "TensorRT: %s", line)

    def reason(self) -> str:
        """Return what the errors since the last call said, the first ones; it is often the root of others."""
        said, self.errors = self.errors[:3], []
        return "; ".join(dict.fromkeys(said)) or "it gave no reason"


@functools.cache
def shared_logger(trt: ModuleType) -> "tuple[MessageFilter, tensorrt.ILogger]":
    """Return this process's one logger for TensorRT, and what it hands messages to.

    TensorRT keeps the first logger it is given, also for what was made with another one, and beyond the life
    of what was made with it.
    """
    messages = MessageFilter()
    return messages, make_logger(trt, messages)


def make_logger(trt: ModuleType, messages: MessageFilter) -> "tensorrt.ILogger":
    """Return a logger for TensorRT that hands every message to `messages`."""
    kinds = trt.ILogger
    levels = {
        kinds.INTERNAL_ERROR: logging.CRITICAL,
        kinds.ERROR: logging.ERROR,
        kinds.WARNING: logging.WARNING,
    }

    class Logger(trt.ILogger):  # type: ignore[name-defined] # its base comes with the module
        """TensorRT's interface of a logger."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: "tensorrt.ILogger.Severity", msg: str) -> None:
            """Take one message; called by TensorRT, from any of its threads."""
            messages.take(levels.get(severity, logging.DEBUG), msg)

    return Logger()
