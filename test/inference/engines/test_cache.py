"""Engines on disk: found again, never half, never the wrong one."""

import json
import logging
import os
import threading
import time
from pathlib import Path

import pytest
from support.engines import key

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.cache import CACHE_ENVIRONMENT, EngineCache, cache_folder


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_ENVIRONMENT, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "internimage_perception" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "internimage_perception" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "internimage_perception" / "engines"
    monkeypatch.setenv(CACHE_ENVIRONMENT, "~/own")
    assert cache_folder() == tmp_path / "own" / "engines"


def test_stored_engines_are_found_by_their_key(cache):
    assert cache.find("city", key()) is None
    stored = cache.store("city", key(), b"plan", {"seconds": 12})
    found = cache.find("city", key())
    assert found == stored
    assert found.read() == b"plan"
    assert found.about == {"seconds": 12}
    assert cache.find("city", key(gpu="H200")) is None
    assert cache.find("other", key()) is None
    content = json.loads(found.path.with_suffix(".json").read_text())
    assert content["key"]["tensorrt"] == "10.3.0"


def test_names_become_file_names(cache):
    model = "a/b: städtisch " + "x" * 300
    path = cache.store(model, key(), b"plan", {}).path
    assert path.parent == cache.folder
    assert cache.find(model, key()).read() == b"plan"
    # Two names that make one file name are two models still.
    assert cache.find(model.replace("/", ":"), key()) is None


def test_the_newest_is_first(cache):
    for index, gpu in enumerate(("one", "two", "three")):
        path = cache.store("city", key(gpu=gpu), b"plan", {}).path
        os.utime(path.with_suffix(".json"), (index, index))
    cache.store("other", key(), b"plan", {})
    assert [engine.key.gpu for engine in cache.engines("city")] == ["three", "two", "one"]


def test_damaged_plans_are_not_read(cache):
    engine = cache.store("city", key(), b"plan", {})
    engine.path.write_bytes(b"plam")
    assert cache.find("city", key()).read() is None
    engine.path.unlink()
    assert engine.read() is None
    assert cache.find("city", key()) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 2}', "\xff"])
def test_damaged_descriptions_count_as_none(cache, content):
    engine = cache.store("city", key(), b"plan", {})
    engine.path.with_suffix(".json").write_text(content, encoding="latin-1")
    assert cache.find("city", key()) is None
    assert cache.engines("city") == []


def test_an_interrupted_build_leaves_nothing_to_find(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("internimage_perception.inference.engines.cache.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        cache.store("city", key(), b"plan", {})
    assert cache.engines("city") == []


def test_timings_are_apart_by_tensorrt_and_gpu(cache):
    names = {
        cache.timing_path(key(**changes)).name
        for changes in (
            {},
            {"tensorrt": "10.4"},
            {"gpu": "a/b"},
            {"compute_capability": "9.0"},
            {"graph": "z"},
        )
    }
    assert len(names) == 4
    assert not any("/" in name for name in names)


def test_builders_of_one_engine_wait_for_each_other(cache, caplog):
    """A lock holds between any two opened files, of one process or of two."""
    order = []

    def second():
        with cache.lock("city", key()):
            order.append("second")

    waiting = threading.Thread(target=second)
    with caplog.at_level(logging.INFO), cache.lock("city", key()):
        waiting.start()
        with cache.lock("city", key(gpu="another")):
            order.append("another")
        while "another process builds the engine of city" not in caplog.text:
            assert waiting.is_alive()
            time.sleep(0.01)
        order.append("first")
    waiting.join(30)
    assert order == ["another", "first", "second"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BackendError, match=f"cannot be kept in .*file.*{CACHE_ENVIRONMENT}"),
        EngineCache(Path(tmp_path / "file")).lock("city", key()),
    ):
        pass
