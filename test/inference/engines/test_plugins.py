"""Plugin libraries: found, built for this TensorRT, loaded once. With libraries compiled here, on a fake."""

import shutil
import subprocess

import pytest
from support.engines import fake_toolkit

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines import plugins
from internimage_perception.inference.engines.plugins import find_library, load_library
from internimage_perception.inference.engines.tensorrt_module import parse_version
from internimage_perception.native_files import ENVIRONMENT, OPS_ENVIRONMENT

DCNV3 = frozenset({"DCNv3"})


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Libraries that say which TensorRT they were built for: version to file."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the kernels are built with it"
    folder = tmp_path_factory.mktemp("libraries")
    found = {}
    for version, entry in (
        ("8.5.3", ""),
        ("8.6.1", "getPluginCreators"),
        ("10.3.0", "getCreators"),
        ("", "getCreators"),
    ):
        source = folder / "library.c"
        text = f'const char* dcnv3_tensorrt_version() {{ return "{version}"; }}' if version else ""
        source.write_text(text + (f"\nvoid {entry}() {{}}\n" if entry else "\nint something;\n"))
        found[version] = folder / f"lib{version}.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", found[version], source], check=True)
    return found


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(plugins, "_loaded", {})


def load(toolkit, library, operators=DCNV3):
    load_library(toolkit.trt, toolkit.version, library, operators, toolkit.messages)


def test_the_library_of_the_major_version_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    monkeypatch.delenv(OPS_ENVIRONMENT, raising=False)
    library = tmp_path / "libdcnv3_tensorrt10.so"
    library.write_bytes(b"")
    assert find_library(parse_version("10.3.0")) == library
    assert find_library(parse_version("9.0.0")) is None
    monkeypatch.setenv(OPS_ENVIRONMENT, "reference")
    assert find_library(parse_version("10.3.0")) is None


@pytest.mark.parametrize("built", ["10.3.0", ""])
def test_a_library_is_loaded_once(compiled, built):
    toolkit = fake_toolkit("10.16.1")
    for _ in range(2):
        load(toolkit, compiled[built])
    assert toolkit.trt.libraries == [str(compiled[built].resolve())]


def test_a_library_for_8_5_registers_itself_while_it_is_loaded(compiled):
    toolkit = fake_toolkit("8.5.2")
    toolkit.trt.creators = ["DCNv3"]
    load(toolkit, compiled["8.5.3"])
    assert toolkit.trt.libraries == []


def test_from_8_6_on_tensorrt_loads_it(compiled):
    toolkit = fake_toolkit("8.6.2")
    load(toolkit, compiled["8.6.1"])
    assert toolkit.trt.libraries == [str(compiled["8.6.1"].resolve())]
    older = fake_toolkit("8.5.2")
    del older.trt.registry.load_library
    plugins._loaded.clear()
    with pytest.raises(BackendError, match=r"is for TensorRT 8\.6 or newer, here is 8\.5\.2"):
        load(older, compiled["8.6.1"])


def test_another_major_version_is_refused(compiled):
    with pytest.raises(
        BackendError, match=r"was built for TensorRT 8\.6\.1, here is 10\.3\.0.*docs/plugin\.md"
    ):
        load(fake_toolkit(), compiled["8.6.1"])


def test_a_plugin_that_is_missing_is_named(compiled):
    with pytest.raises(BackendError, match="no plugin for MultiScaleDeformableAttention; it is older"):
        load(fake_toolkit(), compiled["10.3.0"], DCNV3 | {"MultiScaleDeformableAttention"})


def test_what_tensorrt_refuses_is_said(compiled):
    toolkit = fake_toolkit()

    def refuse(_path):
        toolkit.logger.log(toolkit.trt.ILogger.ERROR, "cannot find getCreators")

    toolkit.trt.registry.load_library = refuse
    with pytest.raises(BackendError, match=r"refuses .*: cannot find getCreators"):
        load(toolkit, compiled["10.3.0"])


def test_what_is_no_library_is_said(tmp_path):
    (tmp_path / "lib.so").write_bytes(b"text")
    with pytest.raises(BackendError, match=r"lib\.so cannot be loaded.*build it on this computer"):
        load(fake_toolkit(), tmp_path / "lib.so")
