"""Backend `tensorrt`: the bundle's graph as an engine, built for this GPU and kept."""

import contextlib
import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError, PerceptionError
from internimage_perception.inference.backends.base import Images, Outputs, check_images, output_names
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.cache import EngineCache
from internimage_perception.inference.engines.graph_choice import AS_FUNCTION
from internimage_perception.inference.engines.prepare import Wish, prepare_engine
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.engines.session import EngineSession
from internimage_perception.inference.engines.toolkit import Toolkit
from internimage_perception.inference.frame_sizes import FrameSizes

BUILD_ENVIRONMENT = "INTERNIMAGE_PERCEPTION_BUILD_ENGINES"
"""Variable that, set to 0, forbids to build engines: a vehicle starts with the one it has, or not at all."""
GRAPH_ENVIRONMENT = "INTERNIMAGE_PERCEPTION_CUDA_GRAPH"
"""Variable that, set to 0, launches kernels one by one instead of as one CUDA graph."""


class TensorRTBackend:
    """Runs a bundle's engine; builds it first where the cache has none that fits, which takes minutes.

    An exported bundle runs in the precision and with the shapes it was exported for, any other in float32
    with frames of common sizes (`engines.profile`). Every instance has a stream and memory of its own: tasks
    share a GPU without waiting for each other's calls. `run` may be called from any thread.

    Args:
        bundle: the model.
        device: number of the GPU.
        cache: folder of engines; None: `engines.cache.cache_folder()`.
        profile: the frames to build for; None: see `engines.prepare.Wish`.
        build: whether to build where no engine fits; None: unless BUILD_ENVIRONMENT is 0.
        cuda_graph: whether to record calls of one fixed shape; None: unless GRAPH_ENVIRONMENT is 0.
        toolkit: TensorRT and CUDA; None: what is installed.

    Raises:
        BackendError: TensorRT or cuda-python is not installed, there is no GPU, or no engine can be had.
    """

    prefers_batch = True

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: int = 0,
        cache: Path | None = None,
        profile: Profile | None = None,
        build: bool | None = None,
        cuda_graph: bool | None = None,
        toolkit: Toolkit | None = None,
    ) -> None:
        self._session: EngineSession | None = None
        self._lock = threading.Lock()
        self._outputs = output_names(bundle)
        self._toolkit = toolkit or Toolkit.open(device)
        wish = Wish(profile=profile, build=_switch(BUILD_ENVIRONMENT) if build is None else build)
        try:
            prepared = prepare_engine(bundle, self._toolkit, EngineCache(cache), wish)
        except BackendError:
            raise
        except PerceptionError as error:
            raise BackendError(str(error)) from error
        self._profile = prepared.entry.key.profile
        self.frame_sizes: FrameSizes | None = _frame_sizes(bundle, self._profile)
        self.reference_path = prepared.choice.form == AS_FUNCTION
        self.name = f"tensorrt-{prepared.entry.key.precision}"
        self._session = EngineSession(
            prepared.engine,
            self._toolkit.cuda,
            self._toolkit.messages,
            cuda_graph=_switch(GRAPH_ENVIRONMENT) if cuda_graph is None else cuda_graph,
        )
        if missing := [name for name in self._outputs if name not in self._session.outputs]:
            self.close()
            graph = prepared.choice.file.path
            message = f"{graph} is no deployed {bundle.task} graph: it lacks {', '.join(missing)}"
            raise BackendError(message)

    def run(self, images: Images) -> Outputs:
        """See `Backend.run`."""
        check_images(images)
        if self.frame_sizes is not None:
            self.frame_sizes.check(*images.shape[1:3])
        parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in self._outputs}
        with self._lock:
            if self._session is None:
                message = f"{self.name} was closed"
                raise BackendError(message)
            try:
                self._toolkit.cuda.use(self._toolkit.device.index)
                for first, count, batch in self._profile.calls(len(images)):
                    answers = self._session.run(images[first : first + count], batch)
                    for name, pieces in parts.items():
                        pieces.append(answers[name])
            except BackendError as error:
                message = f"{self.name} failed on images {images.shape}: {error}"
                raise BackendError(message) from error
        return {
            name: pieces[0] if len(pieces) == 1 else np.concatenate(pieces) for name, pieces in parts.items()
        }

    def close(self) -> None:
        """Give the GPU's memory back. A second time it does nothing."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                session.close()

    def __del__(self) -> None:
        """Give the GPU's memory back where `close` was not called."""
        if getattr(self, "_session", None) is not None:
            # Nobody would hear of it.
            with contextlib.suppress(BackendError):
                self.close()


def _frame_sizes(bundle: Bundle, profile: Profile) -> FrameSizes:
    """Return the frames an engine takes: those of the export, unless it was built for fewer."""
    exported = FrameSizes.of_export(bundle)
    if exported is not None and (exported.height, exported.width) == (profile.height, profile.width):
        return exported
    remedy = f"build one by `internimage-perception build-engine {bundle.root}`"
    return FrameSizes(profile.height, profile.width, f"the engine of {bundle.name}", remedy, "")


def _switch(variable: str) -> bool:
    """Return whether an environment variable leaves something on."""
    return os.environ.get(variable, "1") != "0"
