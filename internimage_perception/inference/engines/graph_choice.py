"""Which of a bundle's graphs goes to which TensorRT, and in which form.

A node `DCNv3` runs as a plugin, or as the function of standard operators that `portable.onnx` brings.
TensorRT 8 ignores functions; 10.0 to 10.6 prefer a function to a plugin; from 10.7 on plugins win. A graph
without the function means the plugin to all of them.
"""

from dataclasses import dataclass
from pathlib import Path

from internimage_perception.errors import BackendError, BundleError
from internimage_perception.inference.bundle import PLUGIN, PORTABLE, Bundle
from internimage_perception.inference.engines.onnx_wire import (
    custom_operators,
    external_files,
    has_functions,
    without_functions,
)
from internimage_perception.inference.engines.tensorrt_module import Version

STANDARD = "standard"
AS_PLUGIN = "plugin"
AS_FUNCTION = "function"

BUILD_ADVICE = "docs/plugin.md of internimage_perception says how to build it"


@dataclass(frozen=True, slots=True)
class GraphFile:
    """An ONNX file, as far as it has to be known before it is parsed.

    Attributes:
        path: the file; weights outside of it lie beside it.
        operators: what only a plugin or a function runs.
        functions: whether it brings functions.
        weights: names of files with weights beside it.
    """

    path: Path
    operators: frozenset[str]
    functions: bool
    weights: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "GraphFile":
        """Look into an ONNX file. Raises BundleError when it is none or its weights are not there."""
        # Links are followed: the weights lie beside the file, not beside a link to it.
        path = path.resolve()
        try:
            data = path.read_bytes()
            graph = cls(path, custom_operators(data), has_functions(data), external_files(data))
        except (OSError, BundleError) as error:
            message = f"{path} cannot be read: {error}"
            raise BundleError(message) from error
        if missing := [name for name in graph.weights if not (path.parent / name).is_file()]:
            message = f"{path} lacks its weights: {', '.join(missing)} is not beside it"
            raise BundleError(message)
        return graph


@dataclass(frozen=True, slots=True)
class GraphChoice:
    """What TensorRT is given.

    Attributes:
        file: the ONNX file.
        form: STANDARD, AS_PLUGIN or AS_FUNCTION.
        drop_functions: whether its functions are left out on the way.
        warning: what a person should know of this choice; empty when all is well.
    """

    file: GraphFile
    form: str
    drop_functions: bool = False
    warning: str = ""

    def content(self) -> bytes:
        """Return the ONNX file as TensorRT is to see it."""
        data = self.file.path.read_bytes()
        return without_functions(data) if self.drop_functions else data


def choose_graph(bundle: Bundle, version: Version, library: Path | None) -> GraphChoice:
    """Return what to give to TensorRT `version`.

    Args:
        bundle: the model.
        version: of TensorRT.
        library: the plugin library for it; None where there is none.

    Raises:
        BackendError: the graph needs a plugin library, and there is none.
        BundleError: the bundle has no graph, or a damaged one.
    """
    exported = (bundle.root / PLUGIN).is_file()
    if exported and library is not None:
        file = GraphFile.read(bundle.file(PLUGIN))
        return GraphChoice(file, AS_PLUGIN if file.operators else STANDARD, drop_functions=file.functions)
    file = GraphFile.read(bundle.file(PORTABLE))
    if not file.operators:
        return GraphChoice(file, STANDARD)
    if library is not None:
        return GraphChoice(file, AS_PLUGIN, drop_functions=file.functions)
    operators = ", ".join(sorted(file.operators))
    if version.major < 10 or not file.functions:
        reason = "TensorRT 8 knows no functions" if file.functions else "the graph brings no function for it"
        message = (
            f"{file.path} needs a plugin for {operators} ({reason}), and {version.library} was not found; "
            f"{BUILD_ADVICE}"
        )
        raise BackendError(message)
    warning = (
        f"SLOW: {version.library} was not found, so {operators} of {bundle.name} runs as a function of "
        f"standard operators, the reference, many times slower than the plugin; {BUILD_ADVICE}"
    )
    return GraphChoice(file, AS_FUNCTION, warning=warning)
