"""From a bundle to an engine that runs: taken from the cache where one fits, else built and kept."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.build import BuildOptions
from internimage_perception.inference.engines.cache import CachedEngine, EngineCache
from internimage_perception.inference.engines.graph_choice import GraphChoice
from internimage_perception.inference.engines.key import EngineKey, describe_changes, refusal
from internimage_perception.inference.engines.profile import Profile, profile_of
from internimage_perception.inference.engines.toolkit import Toolkit

if TYPE_CHECKING:
    import tensorrt

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What engine is wanted.

    Attributes:
        profile: the frames it is to take; None: those of the newest engine of the bundle that fits otherwise,
            and the bundle's own (`profile_of`) where there is none.
        workspace: see `BuildOptions`.
        build: whether an engine may be built; it takes minutes.
        rebuild: build even where one fits.
    """

    profile: Profile | None = None
    workspace: int | None = None
    build: bool = True
    rebuild: bool = False


@dataclass(frozen=True, slots=True)
class PreparedEngine:
    """An engine and where it comes from; `built` says whether it was built just now."""

    engine: "tensorrt.ICudaEngine"
    entry: CachedEngine
    choice: GraphChoice
    built: bool


def prepare_engine(bundle: Bundle, toolkit: Toolkit, cache: EngineCache, wish: Wish) -> PreparedEngine:
    """Return the bundle's engine for this GPU and this TensorRT, built where none fits.

    Raises:
        BackendError: none fits and none may be built (it says what differs), or TensorRT refuses the graph.
        BundleError: the bundle lacks a graph, or it is damaged.
    """
    choice = toolkit.choose(bundle)
    if choice.warning:
        _log.warning("%s", choice.warning)
    key = toolkit.key(bundle, choice, wish.profile or profile_of(bundle))
    shapes = wish.profile is not None
    if not wish.rebuild and (found := _load(bundle.name, key, toolkit, cache, shapes=shapes)):
        return PreparedEngine(*found, choice, built=False)
    others = cache.engines(bundle.name)
    if not wish.build:
        raise refusal(bundle.name, key, others[0].key if others else None, shapes=shapes)
    with cache.lock(bundle.name, key):
        # Another process may have built it meanwhile.
        if not wish.rebuild and (found := _load(bundle.name, key, toolkit, cache, shapes=shapes)):
            return PreparedEngine(*found, choice, built=False)
        if others and (changes := describe_changes(others[0].key, key, shapes=shapes)):
            _log.warning("the engine of %s is built anew: %s", bundle.name, changes)
        entry, plan = _build(bundle, key, choice, toolkit, cache, wish)
    engine = toolkit.deserialize(plan)
    if engine is None:
        message = f"TensorRT refuses the engine it has just built: {toolkit.messages.reason()}"
        raise BackendError(message)
    return PreparedEngine(engine, entry, choice, built=True)


def _load(
    model: str, key: EngineKey, toolkit: Toolkit, cache: EngineCache, *, shapes: bool
) -> "tuple[tensorrt.ICudaEngine, CachedEngine] | None":
    """Return the engine that fits and is whole; None without one."""
    if shapes:
        exact = cache.find(model, key)
        fitting = [exact] if exact else []
    else:
        fitting = [item for item in cache.engines(model) if not item.key.differences(key, shapes=False)]
    for entry in fitting:
        plan = entry.read()
        engine = toolkit.deserialize(plan) if plan is not None else None
        if engine is not None:
            return engine, entry
        reason = "its checksum differs" if plan is None else toolkit.messages.reason()
        _log.warning("the engine %s is of no use: %s", entry.path, reason)
    return None


def _build(
    bundle: Bundle, key: EngineKey, choice: GraphChoice, toolkit: Toolkit, cache: EngineCache, wish: Wish
) -> tuple[CachedEngine, bytes]:
    begin = time.monotonic()
    options = BuildOptions(workspace=wish.workspace, timing_cache=cache.timing_path(key))
    toolkit.cuda.use(toolkit.device.index)
    plan = bytes(toolkit.builder().build(choice, key.profile, key.precision, options))
    about = {
        "graph": choice.file.path.name,
        "bundle": str(Path(bundle.root).absolute()),
        "plugin_library": str(toolkit.library or "") if key.plugin else "",
        "seconds": round(time.monotonic() - begin, 1),
        "bytes": len(plan),
    }
    return cache.store(bundle.name, key, plan, about), plan
