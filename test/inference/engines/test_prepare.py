"""When an engine is taken from the cache, built, built anew, or refused. On fakes of TensorRT and CUDA."""

import shutil
from dataclasses import replace

import pytest
from support.engines import fake_toolkit

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import PLUGIN, PORTABLE, Bundle
from internimage_perception.inference.engines.cache import EngineCache
from internimage_perception.inference.engines.prepare import Wish, prepare_engine
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.export_spec import ExportSpec
from internimage_perception.resources import share_path

NANO = share_path("config/bundles/nano")
NARROW = Profile((1, 1, 1), (48, 48, 48), (64, 64, 64))


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


@pytest.fixture
def bundle(brightness_bundle):
    return Bundle.load(brightness_bundle)


def test_an_engine_is_built_once(bundle, cache, caplog):
    toolkit = fake_toolkit()
    first = prepare_engine(bundle, toolkit, cache, Wish())
    assert first.built
    caplog.clear()
    second = prepare_engine(bundle, toolkit, cache, Wish())
    assert not second.built
    assert second.entry == first.entry
    assert len(toolkit.trt.built) == 1
    assert not caplog.records
    assert cache.timing_path(first.entry.key).is_file()
    assert first.entry.about["graph"] == PORTABLE


def test_asked_for_again_it_is_built_again(bundle, cache):
    toolkit = fake_toolkit()
    prepare_engine(bundle, toolkit, cache, Wish())
    assert prepare_engine(bundle, toolkit, cache, Wish(rebuild=True)).built
    # The timings of the first build serve the second.
    assert [entry["known"] for entry in toolkit.trt.built] == ["", "+timings"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"version": "10.4.0"}, "TensorRT was 10.3.0, now it is 10.4.0"),
        ({"gpu": b"H200"}, "the GPU was Orin, now it is H200"),
        ({"capability": (9, 0)}, "the compute capability was 8.7, now it is 9.0"),
    ],
)
def test_another_computer_builds_anew_and_says_what_changed(bundle, cache, caplog, other, said):
    prepare_engine(bundle, fake_toolkit(), cache, Wish())
    with pytest.raises(BackendError, match=f"does not fit: {said}. Build one here"):
        prepare_engine(bundle, fake_toolkit(**other), cache, Wish(build=False))
    caplog.clear()
    assert prepare_engine(bundle, fake_toolkit(**other), cache, Wish()).built
    assert f"the engine of brightness is built anew: {said}" in caplog.messages


def test_another_graph_or_precision_builds_anew(cache, caplog):
    plain = Bundle.load(NANO)
    prepare_engine(plain, fake_toolkit(), cache, Wish())
    spec = ExportSpec("fp16", (1, 1, 1), (48, 48, 48), (64, 64, 64))
    exported = replace(plain, export=spec, files={**plain.files, PORTABLE: "f" * 64})
    caplog.clear()
    assert prepare_engine(exported, fake_toolkit(), cache, Wish()).built
    line = next(item for item in caplog.messages if "built anew" in item)
    assert "the model's graph or its weights changed" in line
    assert "the precision was fp32, now it is fp16" in line


def test_the_weights_beside_a_graph_count():
    toolkit = fake_toolkit()
    plain = Bundle.load(NANO)
    choice = toolkit.choose(plain)
    changed = replace(plain, files={**plain.files, "weights.safetensors": "f" * 64})
    keys = [toolkit.key(item, choice, NARROW) for item in (plain, changed)]
    assert keys[0].differences(keys[1]) == ("graph",)


def test_a_plugin_library_that_comes_or_changes_counts(cache, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("internimage_perception.inference.engines.toolkit.load_library", lambda *_: None)
    plain = Bundle.load(NANO)
    library = tmp_path / "libdcnv3_tensorrt10.so"
    prepare_engine(plain, fake_toolkit(), cache, Wish())
    assert "SLOW" in caplog.text
    caplog.clear()
    for content, said in ((b"one", "was function, now it is plugin"), (b"two", "the plugin library changed")):
        library.write_bytes(content)
        prepared = prepare_engine(plain, fake_toolkit(library=library), cache, Wish())
        assert prepared.built
        assert prepared.entry.about["plugin_library"] == str(library)
        assert said in caplog.text
    assert "SLOW" not in caplog.text


def test_a_library_does_not_matter_to_standard_graphs(bundle, cache, tmp_path):
    prepare_engine(bundle, fake_toolkit(), cache, Wish())
    library = tmp_path / "lib.so"
    library.write_bytes(b"any")
    assert not prepare_engine(bundle, fake_toolkit(library=library), cache, Wish()).built


def test_runs_take_the_frames_that_were_built_for(bundle, cache):
    """`build-engine` chooses the frames, the node takes what it finds."""
    toolkit = fake_toolkit()
    prepare_engine(bundle, toolkit, cache, Wish(profile=NARROW))
    found = prepare_engine(bundle, toolkit, cache, Wish(build=False))
    assert found.entry.key.profile == NARROW
    wide = replace(NARROW, batch=(1, 4, 4))
    with pytest.raises(BackendError, match="range of the batch was 1,1,1, now it is 1,4,4"):
        prepare_engine(bundle, toolkit, cache, Wish(profile=wide, build=False))
    assert prepare_engine(bundle, toolkit, cache, Wish(profile=wide)).built


def test_damaged_engines_are_built_anew(bundle, cache, caplog):
    toolkit = fake_toolkit()
    path = prepare_engine(bundle, toolkit, cache, Wish()).entry.path
    path.write_bytes(b"half")
    assert prepare_engine(bundle, toolkit, cache, Wish()).built
    assert f"the engine {path} is of no use: its checksum differs" in caplog.messages


def test_engines_that_tensorrt_refuses_are_built_anew(bundle, cache, caplog):
    toolkit = fake_toolkit()
    key = prepare_engine(bundle, toolkit, cache, Wish()).entry.key
    entry = cache.store(bundle.name, key, b"something else", {})
    assert prepare_engine(bundle, toolkit, cache, Wish()).built
    assert f"the engine {entry.path} is of no use: magic tag does not match" in caplog.messages


def test_none_at_all_is_refused_where_none_may_be_built(bundle, cache):
    with pytest.raises(
        BackendError, match=r"there is no engine of brightness for Orin with TensorRT 10\.3\.0"
    ):
        prepare_engine(bundle, fake_toolkit(), cache, Wish(build=False))


def test_what_another_process_built_meanwhile_is_taken(bundle, cache, monkeypatch):
    toolkit = fake_toolkit()
    lock = EngineCache.lock

    def slow(self, model, key):
        monkeypatch.setattr(EngineCache, "lock", lock)
        prepare_engine(bundle, fake_toolkit(), cache, Wish())
        return lock(self, model, key)

    monkeypatch.setattr(EngineCache, "lock", slow)
    assert not prepare_engine(bundle, toolkit, cache, Wish()).built
    assert toolkit.trt.built == []


def test_an_export_is_built_from_its_plugin_graph(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("internimage_perception.inference.engines.toolkit.load_library", lambda *_: None)
    for name in (PORTABLE, "weights.safetensors"):
        shutil.copy(NANO / name, tmp_path / name)
    shutil.copy(NANO / PORTABLE, tmp_path / PLUGIN)
    spec = ExportSpec("fp16", (2, 2, 2), (48, 48, 48), (64, 64, 64))
    exported = replace(Bundle.load(NANO), root=tmp_path, export=spec)
    library = tmp_path / "libdcnv3_tensorrt10.so"
    library.write_bytes(b"library")
    toolkit = fake_toolkit(library=library)
    entry = prepare_engine(exported, toolkit, cache, Wish()).entry
    assert toolkit.trt.built[0]["path"] == str(tmp_path / PLUGIN)
    assert (entry.key.form, entry.key.precision, entry.key.batch) == ("plugin", "fp16", "2,2,2")
