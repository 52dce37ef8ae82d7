"""What a model bundle holds, read without torch."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from internimage_perception.cli.export_report import export_lines
from internimage_perception.inference.bundle import CLASSIFICATION, WEIGHTS, Bundle, sha256_of
from internimage_perception.inference.results import RANKS

_LONGEST_HEADER = 100_000_000
_LISTED = 20
"""Classes of a classifier that are shown to people, the last one among them."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file of the bundle: size in bytes, and "intact", "damaged" or "missing" by its checksum."""

    name: str
    size: int
    state: str


@dataclass(frozen=True, slots=True)
class BundleDescription:
    """A bundle.

    Attributes:
        manifest: as in its `model.yaml`.
        identity: fingerprint that replays and nodes state.
        files: in the manifest's order.
        parameters: weights by number type, such as {"F16": 1630000}; empty when the file is unreadable.
    """

    path: str
    manifest: Mapping[str, object]
    identity: str
    files: tuple[FileState, ...]
    parameters: Mapping[str, int]
    bundle: Bundle

    @property
    def intact(self) -> bool:
        """Whether every file is what the manifest says."""
        return all(item.state == "intact" for item in self.files)

    def to_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return {
            "path": self.path, "identity": self.identity, "intact": self.intact, **self.manifest,
            "classes": _classes(self.bundle), "files": [asdict(item) for item in self.files],
            "parameters": dict(self.parameters),
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def describe_bundle(path: Path) -> BundleDescription:
    """Describe a bundle, also one with damaged files. Raises BundleError when its manifest is of no use."""
    bundle = Bundle.load(path, verify=False)
    files = tuple(_state(bundle.root / name, name, digest) for name, digest in bundle.files.items())
    parameters = _parameters(bundle.root / WEIGHTS)
    return BundleDescription(str(path), bundle.to_dict(), bundle.identity(), files, parameters, bundle)


def _state(path: Path, name: str, digest: str) -> FileState:
    if not path.is_file():
        return FileState(name, 0, "missing")
    return FileState(name, path.stat().st_size, "intact" if sha256_of(path) == digest else "damaged")


def _classes(bundle: Bundle) -> object:
    """Return the classes as in the manifest, also where that only names a file of them."""
    if bundle.task != CLASSIFICATION:
        return bundle.to_dict()["classes"]
    return [{"id": item.id, "name": item.name} for item in bundle.classes]


def _parameters(path: Path) -> dict[str, int]:
    """Count the numbers in a safetensors file by type, from its header: length, then JSON."""
    counts: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(_LONGEST_HEADER, path.stat().st_size):
                return {}
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            # Integers count batches; only floats are weights.
            if name != "__metadata__" and "F" in (kind := str(tensor["dtype"])):
                counts[kind] = counts.get(kind, 0) + math.prod(map(int, tensor["shape"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return counts


def _lines(description: BundleDescription) -> Iterator[str]:
    bundle = description.bundle
    yield f"{description.path}: model bundle {bundle.name} ({bundle.task}), identity {description.identity}"
    shape = bundle.input
    yield f"  input   {shape.width}x{shape.height}, frames handed over as {shape.channel_order}"
    size = bundle.output.size
    if bundle.task == CLASSIFICATION:
        count = len(bundle.classes)
        yield f"  output  the {min(RANKS, count)} most probable of {count} classes"
    else:
        yield f"  output  {size}" if isinstance(size, str) else f"  output  {size[1]}x{size[0]}"
    if bundle.export is not None:
        for line in export_lines(bundle.export):
            yield f"  export  {line}"
    total = sum(description.parameters.values())
    kinds = ", ".join(description.parameters)
    if bundle.export is not None:
        yield "  weights inside the graphs"
    else:
        yield f"  weights {total / 1e6:.2f} M parameters ({kinds})" if total else "  weights unreadable"
    for key, value in bundle.provenance.items():
        yield f"  {key} from {value}" if key == "weights" else f"  {key}: {value}"
    shown = [f"{item.id} {item.name}" for item in bundle.classes]
    if bundle.task == CLASSIFICATION and len(shown) > _LISTED:
        shown[_LISTED - 1 : -1] = ["..."]
    yield f"  classes {', '.join(shown)}"
    for item in description.files:
        yield f"  file    {item.name}, {item.size} bytes, {item.state}"
    yield f"  architecture {json.dumps(dict(bundle.architecture))}"
