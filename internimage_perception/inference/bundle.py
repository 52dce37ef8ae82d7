"""`Bundle`: a model as one folder, its weights never without their preprocessing.

```
my_model/
  model.yaml            architecture, task, classes, input and output, provenance, checksums
  weights.safetensors   fp16
  portable.onnx         the deployed graph: raw frames in, class ids and confidence out; its weights are
                        those of weights.safetensors, which it refers to
  classes.txt           classification only: the classes' names, one per line
```

An export (`internimage-perception export`) is a bundle without weights.safetensors: `portable.onnx` and
`plugin.onnx` hold the weights, or share `weights.data` beside them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml

from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.files import write_text
from internimage_perception.inference.class_names import read_names
from internimage_perception.inference.export_spec import LARGEST_SIDE, ExportSpec, read_export
from internimage_perception.inference.results import INVALID_ID
from internimage_perception.resources import bundle_path, shipped_bundles

MANIFEST = "model.yaml"
WEIGHTS = "weights.safetensors"
PORTABLE = "portable.onnx"
PLUGIN = "plugin.onnx"
"""The same graph without DCNv3's function: TensorRT takes the node from the plugin library."""
CLASS_NAMES = "classes.txt"
FORMAT = 1

SEGMENTATION = "segmentation"
CLASSIFICATION = "classification"
_MADE_FOR = {
    SEGMENTATION: "`replay`, `evaluate` and the nodes run it",
    CLASSIFICATION: "`internimage-perception classify` runs it",
}

__all__ = [
    "CLASSIFICATION", "CLASS_NAMES", "FORMAT", "MANIFEST", "PLUGIN", "PORTABLE", "SEGMENTATION", "WEIGHTS",
    "Bundle", "ClassSpec", "ExportSpec", "InputSpec", "OutputSpec", "Size", "sha256_of",
]  # fmt: skip

_T = TypeVar("_T")
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ClassSpec:
    """One class the model knows: id as the graph answers it, name, colour (r, g, b) for pictures.

    Nothing is painted in a classifier's colours, and its bundle does not keep them.
    """

    id: int
    name: str
    color: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network sees: size in pixels, channel order of incoming frames, statistics on 0..255."""

    height: int
    width: int
    channel_order: str = "rgb"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Resolution of the answer: "model" (the network's input size), "input" (the frame's), or (h, w)."""

    size: str | Size = "model"

    def resolve(self, model: InputSpec, frame_height: int, frame_width: int) -> Size:
        """Return (height, width) of the answer for a frame of the given size."""
        if self.size == "model":
            return model.height, model.width
        if self.size == "input":
            return frame_height, frame_width
        assert not isinstance(self.size, str)  # noqa: S101 - narrowed by the parser
        return self.size


@dataclass(frozen=True)
class Bundle:
    """A model folder, read and checked.

    Attributes:
        root: the folder.
        name: the model's name, as outputs and reports state it.
        task: "segmentation" or "classification" (detection and bev will follow).
        architecture: the network's configuration, as `models.create_model` takes it.
        classes: in the order of their ids.
        input: what the network sees.
        output: resolution of the answer; a classifier's has none.
        provenance: where the weights come from; free fields, always with `weights`.
        files: file name to its SHA-256.
        export: how it was exported; None for a bundle with weights of its own.
    """

    root: Path
    name: str
    task: str
    architecture: Mapping[str, object]
    classes: tuple[ClassSpec, ...]
    input: InputSpec
    output: OutputSpec
    provenance: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    export: ExportSpec | None = None

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = True) -> "Bundle":
        """Read the bundle in folder `path`; with `verify`, compare every file with its checksum.

        The name of a shipped bundle serves too. Raises BundleError saying which file or field is wrong.
        """
        root = bundle_path(path)
        manifest = root / MANIFEST
        if root.is_file():
            raise BundleError(f"{root} is a file; a model bundle is a folder with {MANIFEST} inside")
        if not root.is_dir():
            shipped = ", ".join(shipped_bundles()) or "none"
            raise BundleError(f"no model bundle at {root}: the folder does not exist (shipped: {shipped})")
        if not manifest.is_file():
            raise BundleError(f"{root} is no model bundle: it has no {MANIFEST}")
        try:
            content = yaml.safe_load(manifest.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BundleError(f"{manifest} cannot be read: {error}") from error
        bundle = _Reader(content, manifest).bundle(root)
        if verify:
            bundle.verify()
        return bundle

    def file(self, name: str) -> Path:
        """Return the path of one of the bundle's files. Raises BundleError when it is not there."""
        path = self.root / name
        if not path.is_file():
            have = ", ".join(sorted(self.files)) or "none"
            raise BundleError(f"bundle {self.root} has no {name} (files it lists: {have})")
        return path

    def require_task(self, task: str) -> None:
        """Raise BundleError, saying what this bundle is for, unless it is for `task`."""
        if self.task != task:
            made_for = f"; {_MADE_FOR[self.task]}" if self.task in _MADE_FOR else ""
            raise BundleError(f"bundle {self.root} is for {self.task}, not for {task}{made_for}")

    def verify(self) -> None:
        """Compare every listed file with its checksum. Raises BundleError naming the first that differs."""
        for name, expected in self.files.items():
            if sha256_of(self.file(name)) != expected:
                message = (
                    f"{self.root / name} is damaged or was exchanged: its checksum differs from {MANIFEST}; "
                    "copy the bundle again or create it anew"
                )
                raise BundleError(message)

    def identity(self) -> str:
        """Return a short fingerprint of the bundle's files and declarations."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, object]:
        """Return the manifest as plain values, ready for YAML."""
        names_apart = self.task == CLASSIFICATION
        size = self.output.size
        output = {"output": {"size": size if isinstance(size, str) else list(size)}}
        return {
            "format": FORMAT,
            "name": self.name,
            "task": self.task,
            "architecture": dict(self.architecture),
            "classes": CLASS_NAMES
            if names_apart
            else [{"id": c.id, "name": c.name, "color": list(c.color)} for c in self.classes],
            "input": {
                "height": self.input.height,
                "width": self.input.width,
                "channel_order": self.input.channel_order,
                "mean": list(self.input.mean),
                "std": list(self.input.std),
            },
            **({} if names_apart else output),
            "provenance": dict(self.provenance),
            **({} if self.export is None else {"export": self.export.to_dict()}),
            "files": dict(self.files),
        }

    def write_manifest(self) -> None:
        """Write `model.yaml` into the bundle's folder, with the checksums of `files` as given.

        A classifier's names must lie there already, as `class_names.write_names` writes them.
        """
        write_text(self.root / MANIFEST, yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Reader:
    """Reads the manifest field by field, so that every complaint names its field."""

    def __init__(self, content: object, manifest: Path) -> None:
        self.manifest = manifest
        if not isinstance(content, dict):
            raise BundleError(f"{manifest} holds no fields; is it the right file?")
        self.content: dict[str, object] = content

    def fail(self, field_name: str, problem: str) -> BundleError:
        return BundleError(f"{self.manifest}: {field_name} {problem}")

    def bundle(self, root: Path) -> Bundle:
        known = (
            "format", "name", "task", "architecture", "classes", "input", "output", "provenance", "export",
            "files",
        )  # fmt: skip
        for key in self.content:
            if key not in known:
                raise self.fail(f"field {key!r}", f"is unknown (known: {', '.join(known)})")
        if self.content.get("format") != FORMAT:
            found = self.content.get("format")
            raise self.fail("format", f"is {found!r}; this version reads format {FORMAT}")
        files = self.mapping("files", self.content)
        for name in files:
            if Path(str(name)).name != name:
                raise self.fail("files", f"lists {name!r}; a bundle's files lie directly in its folder")
        task = self.text("task", self.content)
        names_apart = task == CLASSIFICATION
        if names_apart and "output" in self.content:
            raise self.fail("output", f"has no meaning for {task}; leave it out")
        return Bundle(
            root=root,
            name=self.text("name", self.content),
            task=task,
            architecture=self.mapping("architecture", self.content),
            classes=self.class_names(root, files) if names_apart else self.classes(),
            input=self.input(),
            output=OutputSpec() if names_apart else self.output(),
            provenance=self.mapping("provenance", self.content),
            files={str(name): str(digest) for name, digest in files.items()},
            export=read_export(self.content["export"], self.fail) if "export" in self.content else None,
        )

    def mapping(self, name: str, parent: Mapping[str, object]) -> dict[str, object]:
        value = parent.get(name)
        if not isinstance(value, dict):
            raise self.fail(name, "is missing or not a table of fields")
        return {str(key): item for key, item in value.items()}

    def text(self, name: str, parent: Mapping[str, object]) -> str:
        value = parent.get(name)
        if not isinstance(value, str) or not value:
            raise self.fail(name, "is missing or not a text")
        return value

    def positive(self, name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST_SIDE:
            raise self.fail(name, f"is {value!r}; a size in pixels from 1 to {LARGEST_SIDE} is needed")
        return value

    def sequence(
        self, name: str, value: object, count: int, convert: Callable[[str | float], _T]
    ) -> tuple[_T, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
            raise self.fail(name, f"needs {count} values, got {value!r}")
        try:
            return tuple(convert(item) for item in value)
        except (TypeError, ValueError):
            raise self.fail(name, f"holds something other than numbers: {value!r}") from None

    def classes(self) -> tuple[ClassSpec, ...]:
        value = self.content.get("classes")
        if not isinstance(value, list) or not value:
            raise self.fail("classes", "is missing or empty")
        found: list[ClassSpec] = []
        for index, item in enumerate(value):
            where = f"classes[{index}]"
            if not isinstance(item, dict) or item.get("id") != index:
                raise self.fail(where, f"needs `id: {index}`: ids count up from 0 without gaps")
            r, g, b = self.sequence(f"{where}.color", item.get("color"), 3, int)
            if not all(0 <= part <= 255 for part in (r, g, b)):
                raise self.fail(f"{where}.color", "needs three values from 0 to 255")
            found.append(ClassSpec(index, self.text("name", item), (r, g, b)))
        if len(found) > INVALID_ID:
            raise self.fail("classes", f"lists {len(found)}; at most {INVALID_ID} fit into a mono8 mask")
        return tuple(found)

    def class_names(self, root: Path, files: Mapping[str, object]) -> tuple[ClassSpec, ...]:
        value = self.content.get("classes")
        if value != CLASS_NAMES or CLASS_NAMES not in files:
            raise self.fail("classes", f"is to say {CLASS_NAMES}, a file with its checksum in `files`")
        path = root / CLASS_NAMES
        if not path.is_file():
            raise BundleError(f"bundle {root} has no {CLASS_NAMES}, where the names of its classes are")
        try:
            names = read_names(path)
        except ConfigError as error:
            raise BundleError(str(error)) from error
        return tuple(ClassSpec(index, name) for index, name in enumerate(names))

    def input(self) -> InputSpec:
        fields = self.mapping("input", self.content)
        order = fields.get("channel_order", "rgb")
        if order not in ("rgb", "bgr"):
            raise self.fail("input.channel_order", f"is {order!r}; rgb or bgr is needed")
        mean = self.sequence("input.mean", fields.get("mean"), 3, float)
        std = self.sequence("input.std", fields.get("std"), 3, float)
        if min(std) <= 0:
            raise self.fail("input.std", "needs values above 0")
        return InputSpec(
            height=self.positive("input.height", fields.get("height")),
            width=self.positive("input.width", fields.get("width")),
            channel_order=str(order),
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
        )

    def output(self) -> OutputSpec:
        size = self.mapping("output", self.content).get("size", "model")
        if size in ("model", "input"):
            return OutputSpec(str(size))
        if isinstance(size, str):
            raise self.fail("output.size", f"is {size!r}; model, input or [height, width] is needed")
        height, width = self.sequence("output.size", size, 2, int)
        return OutputSpec((self.positive("output.size", height), self.positive("output.size", width)))
