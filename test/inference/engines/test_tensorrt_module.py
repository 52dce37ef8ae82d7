"""Finding TensorRT, its versions, and what of its messages is passed on."""

import logging
import sys
from types import SimpleNamespace

import pytest
from support.fake_cuda import FakeCuda
from support.fake_tensorrt import FakeTensorRT

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.tensorrt_module import (
    MessageFilter,
    load_tensorrt,
    parse_version,
    shared_logger,
)

LOGGER = "internimage_perception.inference.engines.tensorrt_module"


@pytest.mark.parametrize(
    ("text", "major", "minor", "library"),
    [
        ("8.5.2.2", 8, 5, "libdcnv3_tensorrt8.so"),
        ("10.3.0", 10, 3, "libdcnv3_tensorrt10.so"),
        ("11.1.0.28", 11, 1, "libdcnv3_tensorrt11.so"),
    ],
)
def test_versions(text, major, minor, library):
    version = parse_version(text)
    assert (version.major, version.minor, version.text, version.library) == (major, minor, text, library)


def installed(monkeypatch, version, **parts):
    monkeypatch.setitem(
        sys.modules, "tensorrt", SimpleNamespace(__name__="tensorrt", __version__=version, **parts)
    )


@pytest.mark.parametrize("version", ["8.5.0", "10.3.0", "11.4.0"])
def test_supported_versions_load(monkeypatch, version, caplog):
    installed(monkeypatch, version, Builder=None)
    module, found = load_tensorrt()
    assert module is sys.modules["tensorrt"]
    assert found.text == version
    assert not caplog.messages


def test_newer_versions_are_tried_with_a_warning(monkeypatch, caplog):
    installed(monkeypatch, "12.0.1", Builder=None)
    assert load_tensorrt()[1].major == 12
    assert "12.0.1 is newer" in caplog.text


@pytest.mark.parametrize(
    ("version", "parts", "said"),
    [
        ("8.4.1", {"Builder": None}, "8.4.1 is too old: 8.5 to 11"),
        ("7.2", {"Builder": None}, "too old"),
        ("10.3.0", {}, "cannot build engines"),
        ("", {}, "is no version"),
    ],
)
def test_what_does_not_do_is_said(monkeypatch, version, parts, said):
    installed(monkeypatch, version, **parts)
    with pytest.raises(BackendError, match=said):
        load_tensorrt()


def test_a_missing_module_is_said_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(
        BackendError, match=r"cannot be imported.*apt install python3-libnvinfer.*pip install"
    ):
        load_tensorrt()


def test_warnings_and_errors_are_passed_on_once(caplog):
    messages = MessageFilter()
    with caplog.at_level(logging.DEBUG, LOGGER):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            for _ in range(2):
                messages.take(level, f"level\n  {level}")
    assert [(item.levelno, item.getMessage()) for item in caplog.records] == [
        (logging.WARNING, "TensorRT: level 30"),
        (logging.ERROR, "TensorRT: level 40"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "ImporterContext.hpp:501: A node named node_of_taps already exists, the output ...",
        "onnx2trt_utils.cpp:375: Your ONNX model has been generated with INT64 weights, while ...",
        "onnx2trt_utils.cpp:403: One or more weights outside the range of INT32 was clamped",
        "ModelImporter.cpp:797: Make sure output class_ids has Int64 binding.",
        "CUDA lazy loading is not enabled. Enabling it can significantly reduce device memory usage.",
        "ModelImporter.cpp:140: While parsing node number 290 [DCNv3 -> dcnv3]:",
    ],
)
def test_harmless_lines_are_dropped(caplog, line):
    messages = MessageFilter()
    messages.take(logging.WARNING, line)
    assert not caplog.records


def test_the_first_errors_are_the_reason():
    messages = MessageFilter()
    for text in ("root", "root", "then", "more", "and more"):
        messages.take(logging.ERROR, text)
    assert messages.reason() == "root; then"
    assert messages.reason() == "it gave no reason"


def test_a_process_has_one_logger():
    """TensorRT keeps the first one it is given, and would call it when it is gone."""
    trt = FakeTensorRT(FakeCuda())
    messages, logger = shared_logger(trt)
    assert shared_logger(trt) == (messages, logger)
    logger.log(trt.ILogger.ERROR, "said")
    assert messages.reason() == "said"
