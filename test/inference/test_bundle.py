"""Bundles: written, read back, and refused with the field or file that is wrong."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import (
    CLASS_NAMES,
    PLUGIN,
    Bundle,
    ClassSpec,
    ExportSpec,
    InputSpec,
    OutputSpec,
    sha256_of,
)
from internimage_perception.inference.class_names import read_names, write_names


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    root = tmp_path / "bundle"
    root.mkdir()
    (root / "weights.safetensors").write_bytes(b"weights")
    made = Bundle(
        root=root,
        name="street",
        task="segmentation",
        architecture={"channels": 8},
        classes=(ClassSpec(0, "road", (128, 64, 128)), ClassSpec(1, "sky", (70, 130, 180))),
        input=InputSpec(256, 320, "bgr", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
        output=OutputSpec((64, 80)),
        provenance={"weights": "test"},
        files={"weights.safetensors": sha256_of(root / "weights.safetensors")},
    )
    made.write_manifest()
    return made


def test_round_trip(bundle: Bundle) -> None:
    found = Bundle.load(bundle.root)
    assert found == bundle
    assert found.identity() == bundle.identity()
    assert found.file("weights.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("size", "frame", "expected"),
    [("model", (10, 20), (256, 320)), ("input", (10, 20), (10, 20)), ((7, 9), (10, 20), (7, 9))],
)
def test_output_size(size: str | tuple[int, int], frame: tuple[int, int], expected: tuple[int, int]) -> None:
    assert OutputSpec(size).resolve(InputSpec(256, 320), *frame) == expected


def without(field: str) -> Callable[[dict], None]:
    return lambda content: content.pop(field)


def setting(path: str, value: object) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        *parents, last = path.split(".")
        for name in parents:
            content = content[int(name) if isinstance(content, list) else name]
        content[last] = value

    return change


def refuses(root: Path, change: Callable[[dict], None], words: list[str]) -> None:
    """Check that a bundle is refused in these words once its manifest is changed."""
    path = root / "model.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BundleError) as error:
        Bundle.load(root)
    for word in words:
        assert word in str(error.value)


EXPORT = ExportSpec(
    precision="fp16",
    batch=(1, 4, 8),
    height=(960, 960, 960),
    width=(640, 1280, 1920),
    agreement={"class_ids": {"identical": 0.9995}, "logits": {"relative_difference": 3e-3}},
)


@pytest.fixture
def export(bundle: Bundle) -> Bundle:
    (bundle.root / PLUGIN).write_bytes(b"graph")
    files = {PLUGIN: sha256_of(bundle.root / PLUGIN)}
    made = dataclasses.replace(bundle, export=EXPORT, files=files)
    made.write_manifest()
    return made


def test_round_trip_of_an_export(export: Bundle, bundle: Bundle) -> None:
    found = Bundle.load(export.root)
    assert found == export
    assert found.export == EXPORT
    assert found.identity() == export.identity() != bundle.identity()


def test_a_bundle_that_was_not_exported_says_nothing_of_it(bundle: Bundle) -> None:
    assert Bundle.load(bundle.root).export is None
    assert "export" not in bundle.to_dict()


def test_what_an_export_takes() -> None:
    assert not EXPORT.fixed
    assert EXPORT.takes(1, 960, 640)
    assert EXPORT.takes(8, 960, 1920)
    for shape in ((0, 960, 1280), (9, 960, 1280), (4, 959, 1280), (4, 960, 639), (4, 960, 1921)):
        assert not EXPORT.takes(*shape)
    assert ExportSpec("fp32", (2, 2, 2), (3, 3, 3), (4, 4, 4)).fixed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting("export", [1]), ["export", "not a table"]),
        (setting("export", None), ["export", "not a table"]),
        (setting("export.half", 1), ["export.half", "unknown", "known: precision"]),
        (setting("export.precision", "fp8"), ["export.precision", "'fp8'", "fp32, fp16, int8"]),
        (setting("export.batch", 4), ["export.batch", "least, usual, most"]),
        (setting("export.height", [1, 2]), ["export.height", "least, usual, most"]),
        (setting("export.height", [4, 2, 8]), ["export.height", "none falling"]),
        (setting("export.width", [0, 2, 8]), ["export.width", "from 1 to 16384"]),
        (setting("export.width", [1, 2, True]), ["export.width", "three whole numbers"]),
        (setting("export.width", [1, 2, 20000]), ["export.width", "from 1 to 16384"]),
        (setting("export.agreement", 1), ["export.agreement", "outputs"]),
        (setting("export.agreement", {"class_ids": 1}), ["export.agreement", "outputs"]),
        (setting("export.agreement.class_ids.identical", "all"), ["class_ids.identical", "'all'"]),
    ],
)
def test_what_is_wrong_with_an_export_is_named(
    export: Bundle, change: Callable[[dict], None], words: list[str]
) -> None:
    refuses(export.root, change, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting("format", 9), ["format", "9", "reads format 1"]),
        (setting("colour", 1), ["'colour'", "unknown", "known: format"]),
        (without("name"), ["name", "missing"]),
        (without("architecture"), ["architecture", "missing"]),
        (setting("classes", []), ["classes", "empty"]),
        (setting("classes.1.id", 5), ["classes[1]", "id: 1"]),
        (setting("classes.1.color", [1, 2]), ["classes[1].color", "3 values"]),
        (setting("classes.1.color", [1, 2, 300]), ["classes[1].color", "0 to 255"]),
        (setting("classes.1.color", ["red", 1, 2]), ["classes[1].color", "numbers"]),
        (setting("input.height", 0), ["input.height", "0"]),
        (setting("input.width", "wide"), ["input.width", "'wide'"]),
        (setting("input.channel_order", "gbr"), ["channel_order", "'gbr'"]),
        (setting("input.std", [1, 0, 1]), ["input.std", "above 0"]),
        (setting("output.size", "huge"), ["output.size", "'huge'"]),
        (setting("output.size", [1, 2, 3]), ["output.size", "2 values"]),
        (setting("files", {"../secret": "0"}), ["files", "../secret"]),
        (setting("files", {"gone.onnx": "0"}), ["no gone.onnx"]),
        (setting("files", {"weights.safetensors": "0"}), ["weights.safetensors", "checksum"]),
    ],
)
def test_what_is_wrong_is_named(bundle: Bundle, change: Callable[[dict], None], words: list[str]) -> None:
    refuses(bundle.root, change, words)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1, 2", "", "\x00"])
def test_manifest_that_is_no_manifest(bundle: Bundle, text: str) -> None:
    (bundle.root / "model.yaml").write_text(text)
    with pytest.raises(BundleError, match=r"model\.yaml"):
        Bundle.load(bundle.root)


def test_paths_that_are_no_bundle(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        Bundle.load(tmp_path / "no")
    with pytest.raises(BundleError, match="is a file"):
        Bundle.load(bundle.root / "model.yaml")
    with pytest.raises(BundleError, match=r"has no model\.yaml"):
        Bundle.load(tmp_path)


def test_unknown_backend_and_auto_that_finds_none(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="unknown backend 'magic'"):
        create_backend("magic", bundle)
    with pytest.raises(BackendError, match=r"onnxruntime: .*portable\.onnx.*torch: "):
        create_backend("auto", bundle)


def classifier(root: Path, names: list[str]) -> Bundle:
    root.mkdir()
    write_names(root / CLASS_NAMES, names)
    made = Bundle(
        root=root,
        name="photographs",
        task="classification",
        architecture={"channels": 8},
        classes=tuple(ClassSpec(index, name) for index, name in enumerate(names)),
        input=InputSpec(224, 224),
        output=OutputSpec(),
        provenance={"weights": "test"},
        files={CLASS_NAMES: sha256_of(root / CLASS_NAMES)},
    )
    made.write_manifest()
    return made


@pytest.mark.parametrize("count", [1000, 21841])
def test_a_classifier_with_many_classes(tmp_path: Path, count: int) -> None:
    """Names that YAML would mistake for something else; two classes of ImageNet share theirs."""
    names = [f"tench, Tinca tinca {index}" for index in range(count - 6)]
    made = classifier(
        tmp_path / "bundle", [*names, "crane", "crane", "no", "1.0", "# hash", "n\u00e9v\u00e9: [x"]
    )
    found = Bundle.load(made.root)
    assert found == made
    assert found.identity() == made.identity()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting("classes", [{"id": 0, "name": "a", "color": [0, 0, 0]}]), ["classes", "classes.txt"]),
        (setting("classes", "names.txt"), ["classes", "classes.txt"]),
        (setting("files", {}), ["classes", "checksum in `files`"]),
        (setting("output", {"size": "model"}), ["output", "no meaning for classification"]),
        (setting("files", {"classes.txt": "0"}), ["classes.txt", "checksum"]),
        (setting("task", "segmentation"), ["classes", "missing"]),
    ],
)
def test_what_is_wrong_with_a_classifier_is_named(
    tmp_path: Path, change: Callable[[dict], None], words: list[str]
) -> None:
    refuses(classifier(tmp_path / "bundle", ["a", "b"]).root, change, words)


def test_a_classifier_without_its_names_is_refused(tmp_path: Path) -> None:
    made = classifier(tmp_path / "bundle", ["a", "b"])
    (made.root / CLASS_NAMES).write_text("a\n\nb\n")
    with pytest.raises(BundleError, match=r"classes\.txt has no name in line 2"):
        Bundle.load(made.root)
    (made.root / CLASS_NAMES).unlink()
    with pytest.raises(BundleError, match=r"has no classes\.txt"):
        Bundle.load(made.root)


def test_names_of_other_systems_are_read(tmp_path: Path) -> None:
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbfa\r\n b, c \r\nd\r\n\r\n")
    assert read_names(tmp_path / "windows.txt") == ("a", "b, c", "d")
    for content, complaint in (
        (b"", "holds no names"),
        (b"\n\n", "holds no names"),
        (b"\xff", "cannot be read"),
    ):
        (tmp_path / "bad.txt").write_bytes(content)
        with pytest.raises(ConfigError, match=complaint):
            read_names(tmp_path / "bad.txt")


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\rb", "\ufeffa"])
def test_names_that_no_line_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="class 1 cannot be called"):
        write_names(tmp_path / "names.txt", ["x", name])
    assert not (tmp_path / "names.txt").exists()
