"""`Toolkit`: TensorRT, its plugins and CUDA on one GPU, as far as engines need them."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle, sha256_of
from internimage_perception.inference.engines.build import PlanBuilder
from internimage_perception.inference.engines.cuda import Cuda, Device, load_cuda
from internimage_perception.inference.engines.graph_choice import AS_PLUGIN, GraphChoice, choose_graph
from internimage_perception.inference.engines.key import EngineKey, combined_hash, spell
from internimage_perception.inference.engines.plugins import find_library, load_library
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.engines.tensorrt_module import (
    MessageFilter,
    Version,
    load_tensorrt,
    shared_logger,
)
from internimage_perception.inference.export_spec import FP32

if TYPE_CHECKING:
    import tensorrt


@dataclass(frozen=True)
class Toolkit:
    """What engines are built and run with.

    Attributes:
        trt: TensorRT's module.
        version: its version.
        logger: its logger.
        messages: what the logger passes on to.
        cuda: CUDA's runtime.
        device: the GPU.
        library: the plugin library; None without one.
    """

    trt: ModuleType
    version: Version
    logger: "tensorrt.ILogger"
    messages: MessageFilter
    cuda: Cuda
    device: Device
    library: Path | None

    @classmethod
    def open(cls, device: int = 0) -> "Toolkit":
        """Load everything. Raises BackendError saying what is missing and how to get it."""
        trt, version = load_tensorrt()
        cuda = load_cuda()
        # CUDA's device first: without one, TensorRT's own complaint may be a crash.
        gpu = cuda.device(device)
        messages, logger = shared_logger(trt)
        return cls(trt, version, logger, messages, cuda, gpu, find_library(version))

    def choose(self, bundle: Bundle) -> GraphChoice:
        """Return which graph to build, its plugins loaded. Raises BackendError, see `choose_graph`."""
        choice = choose_graph(bundle, self.version, self.library)
        if choice.form == AS_PLUGIN and self.library is not None:
            load_library(self.trt, self.version, self.library, choice.file.operators, self.messages)
        return choice

    def key(self, bundle: Bundle, choice: GraphChoice, profile: Profile) -> EngineKey:
        """Return everything the engine would depend on."""
        graph = choice.file
        paths = [graph.path, *(graph.path.parent / name for name in graph.weights)]
        plugin = sha256_of(self.library) if self.library and choice.form == AS_PLUGIN else ""
        return EngineKey(
            # The manifest's checksums were compared with the files when the bundle was loaded.
            graph=combined_hash([bundle.files.get(path.name) or sha256_of(path) for path in paths]),
            form=choice.form,
            plugin=plugin,
            tensorrt=self.version.text,
            gpu=self.device.name,
            compute_capability=self.device.compute_capability,
            precision=precision_of(bundle),
            batch=spell(profile.batch),
            height=spell(profile.height),
            width=spell(profile.width),
        )

    def builder(self) -> PlanBuilder:
        """Return a builder of plans."""
        return PlanBuilder(self.trt, self.logger, self.messages)

    def deserialize(self, plan: bytes) -> "tensorrt.ICudaEngine | None":
        """Return the engine of a plan; None when TensorRT refuses it, which `messages` then explains.

        Raises BackendError when TensorRT cannot start.
        """
        self.messages.reason()
        self.cuda.use(self.device.index)
        try:
            return self.trt.Runtime(self.logger).deserialize_cuda_engine(plan)
        except (TypeError, RuntimeError) as error:
            # What its bindings raise where the library returned nothing.
            message = f"TensorRT cannot start: {self.messages.reason()}; is there a GPU, and its driver?"
            raise BackendError(message) from error


def precision_of(bundle: Bundle) -> str:
    """Return the precision a bundle's engine has: that of its export, float32 for one that is none."""
    return FP32 if bundle.export is None else bundle.export.precision
