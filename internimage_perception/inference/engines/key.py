"""`EngineKey`: everything an engine depends on, and what to say when it no longer fits."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.export_spec import Range

_NAMES = {
    "graph": "the model's graph or its weights",
    "form": "the form of DCNv3 in the graph",
    "plugin": "the plugin library",
    "tensorrt": "TensorRT",
    "gpu": "the GPU",
    "compute_capability": "the compute capability",
    "precision": "the precision",
    "batch": "the range of the batch",
    "height": "the range of heights",
    "width": "the range of widths",
}
_SHAPES = ("batch", "height", "width")
_HASHES = ("graph", "plugin")
_HASH = 12


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What decides whether an engine fits; two engines of one key answer alike.

    Attributes:
        graph: SHA-256 of the ONNX file, together with that of the weights it refers to.
        form: "plugin" (DCNv3 is a node that a plugin runs), "function" (a function of standard operators) or
            "standard" (there is nothing but standard operators).
        plugin: SHA-256 of the plugin library; empty without one.
        tensorrt: version, such as "10.3.0".
        gpu: name as CUDA has it, such as "Orin".
        compute_capability: such as "8.7".
        precision: "fp32", "fp16" or "int8".
        batch: number of frames: "least,usual,most".
        height: rows of a frame, likewise.
        width: columns of a frame, likewise.
    """

    graph: str
    form: str
    plugin: str
    tensorrt: str
    gpu: str
    compute_capability: str
    precision: str
    batch: str
    height: str
    width: str

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name the engine."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def profile(self) -> Profile:
        """The frames the engine takes."""
        return Profile(_numbers(self.batch), _numbers(self.height), _numbers(self.width))

    def to_dict(self) -> dict[str, str]:
        """Return plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> "EngineKey":
        """Read what `to_dict` returned. Raises ValueError for anything else."""
        names = [item.name for item in fields(cls)]
        if set(content) != set(names) or not all(isinstance(value, str) for value in content.values()):
            message = f"an engine's key has the texts {', '.join(names)}"
            raise ValueError(message)
        key = cls(**{name: str(content[name]) for name in names})
        _ = key.profile
        return key

    def differences(self, other: "EngineKey", *, shapes: bool = True) -> tuple[str, ...]:
        """Return the names of the parts that differ; without `shapes`, ranges of frames do not count."""
        own, theirs = self.to_dict(), other.to_dict()
        return tuple(name for name in own if own[name] != theirs[name] and (shapes or name not in _SHAPES))


def combined_hash(hashes: Sequence[str]) -> str:
    """Return the hash of one file, or one hash for several."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def spell(span: Range) -> str:
    """Return a range as a key holds it."""
    return ",".join(map(str, span))


def describe_changes(old: EngineKey, new: EngineKey, *, shapes: bool = True) -> str:
    """Return in one line what differs between two engines of one model; empty when nothing does."""
    was, now = old.to_dict(), new.to_dict()
    parts = []
    for name in old.differences(new, shapes=shapes):
        if name in _HASHES and was[name] and now[name]:
            parts.append(f"{_NAMES[name]} changed ({was[name][:_HASH]} became {now[name][:_HASH]})")
        else:
            before, after = (value[:_HASH] if name in _HASHES else value for value in (was[name], now[name]))
            parts.append(f"{_NAMES[name]} was {before or 'none'}, now it is {after or 'none'}")
    return "; ".join(parts)


def refusal(model: str, wanted: EngineKey, nearest: EngineKey | None, *, shapes: bool) -> BackendError:
    """Return the error for a model without a fitting engine where none may be built.

    Args:
        model: the bundle, as people know it.
        wanted: the engine that would fit.
        nearest: the engine of the model that there is; None without one.
        shapes: whether the ranges of frames have to fit too.
    """
    if nearest is None:
        problem = f"there is no engine of {model} for {wanted.gpu} with TensorRT {wanted.tensorrt}"
    else:
        problem = f"the engine of {model} does not fit: {describe_changes(nearest, wanted, shapes=shapes)}"
    return BackendError(f"{problem}. Build one here: internimage-perception build-engine")


def _numbers(text: str) -> Range:
    numbers = [int(part) for part in text.split(",")]
    if len(numbers) != 3 or not 0 < numbers[0] <= numbers[1] <= numbers[2]:
        message = f"{text!r} is no range of frames: least,usual,most"
        raise ValueError(message)
    return numbers[0], numbers[1], numbers[2]
