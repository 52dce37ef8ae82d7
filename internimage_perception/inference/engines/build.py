"""Building a plan: an ONNX file through TensorRT's parser and builder."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from internimage_perception.errors import BackendError
from internimage_perception.files import write_bytes
from internimage_perception.inference.engines.graph_choice import GraphChoice
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.engines.tensorrt_module import MessageFilter
from internimage_perception.inference.export_spec import FP32, INT8

if TYPE_CHECKING:
    import tensorrt

_RANK = 4
_SHOWN = 3
"""Nodes named for each error: one reason often stops hundreds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build; none of it decides what an engine answers, so that it is not part of its key.

    Attributes:
        workspace: most bytes of scratch memory a kernel may use; None: all there is.
        timing_cache: file of kernel timings to read and to write; None: none.
        configure: has the last word on TensorRT's `IBuilderConfig`.
    """

    workspace: int | None = None
    timing_cache: Path | None = None
    configure: "Callable[[tensorrt.IBuilderConfig], None] | None" = None


class PlanBuilder:
    """Builds plans with one TensorRT.

    Weak typing, in which TensorRT chooses the precision, ended with version 11: where networks can be
    strongly typed they are, and the engine computes in the types of the ONNX file. TensorRT 8 cannot, and is
    allowed what the file was exported for.

    Args:
        trt: the module.
        logger: TensorRT's logger.
        messages: what that logger passes on to.
    """

    def __init__(self, trt: ModuleType, logger: "tensorrt.ILogger", messages: MessageFilter) -> None:
        self._trt = trt
        self._logger = logger
        self._messages = messages

    def build(
        self, graph: GraphChoice, profile: Profile, precision: str, options: BuildOptions
    ) -> "tensorrt.IHostMemory":
        """Return the serialized engine, as a buffer.

        Args:
            graph: what to build.
            profile: the frames to build for.
            precision: what the graph was exported for.
            options: how to build.

        Raises:
            BackendError: TensorRT refuses the graph, or finds no engine for it.
        """
        self._messages.reason()
        begin = time.monotonic()
        try:
            builder = self._trt.Builder(self._logger)
        except (TypeError, RuntimeError) as error:
            # What its bindings raise where the library returned nothing.
            message = f"TensorRT cannot start: {self._messages.reason()}; is there a GPU, and its driver?"
            raise BackendError(message) from error
        network = builder.create_network(self._network_flags())
        self._parse(network, graph)
        config = builder.create_builder_config()
        self._configure(config, precision, options)
        shapes = self._profile(builder, network, profile, graph)
        if shapes is not None:
            config.add_optimization_profile(shapes)
        cache = self._timing_cache(config, options)
        if options.configure:
            options.configure(config)
        # A warning, because a vehicle's start waits for it.
        _log.warning(
            "building the engine of %s for %s; this takes minutes on a vehicle computer",
            graph.file.path,
            profile,
        )
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            message = (
                f"TensorRT found no engine for {graph.file.path} ({precision}, {profile}): "
                f"{self._messages.reason()}"
            )
            raise BackendError(message)
        if cache is not None and options.timing_cache is not None:
            write_bytes(options.timing_cache, bytes(config.get_timing_cache().serialize()))
        seconds = time.monotonic() - begin
        _log.info("built the engine of %s in %.0f s, %.1f MB", graph.file.path, seconds, plan.nbytes / 1e6)
        return plan

    @property
    def _typed(self) -> bool:
        """Whether networks are strongly typed: from TensorRT 10 on."""
        choice = hasattr(self._trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
        return choice or not hasattr(self._trt.BuilderFlag, "FP16")

    def _network_flags(self) -> int:
        wanted = "STRONGLY_TYPED" if self._typed else "EXPLICIT_BATCH"
        # A flag that a version no longer has is what that version always does.
        flag = getattr(self._trt.NetworkDefinitionCreationFlag, wanted, None)
        return 0 if flag is None else 1 << int(flag)

    def _parse(self, network: "tensorrt.INetworkDefinition", graph: GraphChoice) -> None:
        parser = self._trt.OnnxParser(network, self._logger)
        # The path is for the weights beside the graph, which need not be the file that is parsed.
        if parser.parse(graph.content(), str(graph.file.path)):
            return
        places: dict[str, list[str]] = {}
        for error in (parser.get_error(index) for index in range(parser.num_errors)):
            places.setdefault(error.desc(), []).append(_place(error))
        said = "; ".join(f"{text} ({_shortened(nodes)})" for text, nodes in places.items())
        version = self._trt.__version__
        message = f"TensorRT {version} refuses {graph.file.path}: {said or self._messages.reason()}"
        raise BackendError(message)

    def _configure(self, config: "tensorrt.IBuilderConfig", precision: str, options: BuildOptions) -> None:
        if options.workspace is not None:
            config.set_memory_pool_limit(self._trt.MemoryPoolType.WORKSPACE, options.workspace)
        if not self._typed and precision != FP32:
            config.set_flag(self._trt.BuilderFlag.FP16)
            if precision == INT8:
                config.set_flag(self._trt.BuilderFlag.INT8)

    def _profile(
        self,
        builder: "tensorrt.Builder",
        network: "tensorrt.INetworkDefinition",
        profile: Profile,
        graph: GraphChoice,
    ) -> "tensorrt.IOptimizationProfile | None":
        """Return the profile of the network's one input; None when all of its sizes are fixed."""
        frames = network.get_input(0)
        fixed = tuple(frames.shape)
        if network.num_inputs != 1 or len(fixed) != _RANK:
            message = (
                f"{graph.file.path} is no deployed graph: it is to take frames (N, H, W, 3), takes {fixed}"
            )
            raise BackendError(message)
        shapes = profile.shapes()
        for shape in shapes:
            if any(own not in (-1, wanted) for own, wanted in zip(fixed, shape, strict=True)):
                message = f"{graph.file.path} takes frames {fixed} (-1: any), which are not {profile}"
                raise BackendError(message)
        if -1 not in fixed:
            return None
        chosen = builder.create_optimization_profile()
        chosen.set_shape(frames.name, *shapes)
        return chosen

    def _timing_cache(
        self, config: "tensorrt.IBuilderConfig", options: BuildOptions
    ) -> "tensorrt.ITimingCache | None":
        """Return the kernel timings in use; damaged ones, or another GPU's, are begun anew."""
        if options.timing_cache is None:
            return None
        known = options.timing_cache.read_bytes() if options.timing_cache.is_file() else b""
        for content in (known, b""):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
                return cache
        return None


def _place(error: "tensorrt.ParserError") -> str:
    """Return the node a parser's error is about; by name from TensorRT 10 on."""
    name = error.node_name() if hasattr(error, "node_name") else ""
    return name or f"node {error.node()}"


def _shortened(nodes: list[str]) -> str:
    shown = ", ".join(nodes[:_SHOWN])
    return shown if len(nodes) <= _SHOWN else f"{shown} and {len(nodes) - _SHOWN} more"
