"""Which graph goes to which TensorRT."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from internimage_perception.errors import BackendError, BundleError
from internimage_perception.inference.bundle import PLUGIN, PORTABLE, Bundle
from internimage_perception.inference.engines.graph_choice import GraphFile, choose_graph
from internimage_perception.inference.engines.onnx_wire import has_functions, without_functions
from internimage_perception.inference.engines.tensorrt_module import parse_version
from internimage_perception.resources import share_path

NANO = share_path("config/bundles/nano")
LIBRARY = Path("libdcnv3_tensorrt.so")
VERSIONS = ("8.5.3", "8.6.2", "10.0.1", "10.3.0", "10.13.3", "10.16.1", "11.1.0")


def bundle(root):
    return replace(Bundle.load(NANO), root=root)


@pytest.fixture
def exported(tmp_path):
    """An export: both graphs lie there."""
    for name in (PORTABLE, "weights.safetensors"):
        shutil.copy(NANO / name, tmp_path / name)
    (tmp_path / PLUGIN).write_bytes(without_functions((NANO / PORTABLE).read_bytes()))
    return bundle(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_with_its_library_the_plugin_runs_everywhere(exported, version):
    choice = choose_graph(exported, parse_version(version), LIBRARY)
    assert (choice.form, choice.file.path.name, choice.warning) == ("plugin", PLUGIN, "")
    assert not has_functions(choice.content())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plain_bundle_loses_its_function_on_the_way(version):
    choice = choose_graph(Bundle.load("nano"), parse_version(version), LIBRARY)
    assert (choice.form, choice.file.path.name, choice.warning) == ("plugin", PORTABLE, "")
    assert choice.content() == without_functions((NANO / PORTABLE).read_bytes())


@pytest.mark.parametrize("version", [item for item in VERSIONS if not item.startswith("8")])
def test_without_its_library_the_function_runs_and_is_called_slow(exported, version):
    choice = choose_graph(exported, parse_version(version), None)
    assert (choice.form, choice.file.path.name) == ("function", PORTABLE)
    assert choice.warning.startswith(f"SLOW: libdcnv3_tensorrt{version.split('.')[0]}.so was not found")
    assert choice.content() == (NANO / PORTABLE).read_bytes()


@pytest.mark.parametrize("version", ["8.5.3", "8.6.2"])
def test_tensorrt_8_needs_its_library(exported, version):
    with pytest.raises(
        BackendError, match=r"for DCNv3 \(TensorRT 8 knows no functions\), and libdcnv3_tensorrt8"
    ):
        choose_graph(exported, parse_version(version), None)


def test_a_graph_without_function_needs_the_library(exported):
    shutil.copy(exported.root / PLUGIN, exported.root / PORTABLE)
    with pytest.raises(BackendError, match=r"brings no function.*docs/plugin\.md"):
        choose_graph(exported, parse_version("10.3.0"), None)


@pytest.mark.parametrize("library", [None, LIBRARY])
@pytest.mark.parametrize("version", VERSIONS)
def test_standard_graphs_need_nothing(brightness_bundle, version, library):
    choice = choose_graph(Bundle.load(brightness_bundle), parse_version(version), library)
    assert (choice.form, choice.drop_functions, choice.warning) == ("standard", False, "")


def test_links_lead_to_the_weights(exported, tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / PORTABLE).symlink_to(exported.root / PORTABLE)
    graph = GraphFile.read(folder / PORTABLE)
    assert graph.path == (exported.root / PORTABLE).resolve()
    assert graph.weights == ("weights.safetensors",)


def test_what_is_missing_or_damaged_is_named(exported):
    (exported.root / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"lacks its weights: weights\.safetensors"):
        choose_graph(exported, parse_version("10.3.0"), LIBRARY)
    (exported.root / PLUGIN).write_bytes(b"garbage")
    with pytest.raises(BundleError, match=r"plugin\.onnx cannot be read: not an ONNX file"):
        choose_graph(exported, parse_version("10.3.0"), LIBRARY)
    (exported.root / PORTABLE).unlink()
    with pytest.raises(BundleError, match=PORTABLE):
        choose_graph(exported, parse_version("10.3.0"), None)
