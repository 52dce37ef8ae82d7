"""What an engine depends on, and what is said when that changed."""

import pytest
from support.engines import key

from internimage_perception.inference.engines.key import EngineKey, combined_hash, describe_changes, refusal
from internimage_perception.inference.engines.profile import Profile

CHANGES = {
    "graph": ("c" * 64, "the model's graph or its weights changed (aaaaaaaaaaaa became cccccccccccc)"),
    "form": ("function", "the form of DCNv3 in the graph was plugin, now it is function"),
    "plugin": ("", "the plugin library was bbbbbbbbbbbb, now it is none"),
    "tensorrt": ("10.4.0", "TensorRT was 10.3.0, now it is 10.4.0"),
    "gpu": ("H200", "the GPU was Orin, now it is H200"),
    "compute_capability": ("9.0", "the compute capability was 8.7, now it is 9.0"),
    "precision": ("fp32", "the precision was fp16, now it is fp32"),
    "batch": ("1,1,1", "the range of the batch was 1,4,4, now it is 1,1,1"),
    "height": ("540,540,540", "the range of heights was 960,960,960, now it is 540,540,540"),
    "width": ("960,960,960", "the range of widths was 1280,1280,1280, now it is 960,960,960"),
}


def test_every_part_is_tested():
    assert set(CHANGES) == set(key().to_dict())


@pytest.mark.parametrize("part", CHANGES)
def test_every_part_makes_another_engine(part):
    value, said = CHANGES[part]
    other = key(**{part: value})
    assert other.digest != key().digest
    assert key().differences(other) == (part,)
    assert describe_changes(key(), other) == said
    shape = part in ("batch", "height", "width")
    assert key().differences(other, shapes=False) == (() if shape else (part,))
    assert describe_changes(key(), other, shapes=False) == ("" if shape else said)


def test_equal_keys_are_one_engine():
    assert key().digest == key().digest
    assert describe_changes(key(), key()) == ""


def test_a_key_is_read_as_written():
    assert EngineKey.from_dict(key().to_dict()) == key()
    assert key().profile == Profile((1, 4, 4), (960, 960, 960), (1280, 1280, 1280))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {**key().to_dict(), "more": "x"},
        {**key().to_dict(), "gpu": 3},
        {**key().to_dict(), "batch": "4,1,1"},
        {**key().to_dict(), "width": "0,1,1"},
        {**key().to_dict(), "height": "1,2"},
    ],
)
def test_other_keys_are_refused(content):
    with pytest.raises(ValueError, match=r"key|range|invalid"):
        EngineKey.from_dict(content)


def test_refusals_say_what_differs_and_what_to_do():
    moved = refusal("city", key(gpu="H200", compute_capability="9.0"), key(), shapes=True)
    assert str(moved) == (
        "the engine of city does not fit: the GPU was Orin, now it is H200; the compute capability was 8.7, "
        "now it is 9.0. Build one here: internimage-perception build-engine"
    )
    none = refusal("city", key(), None, shapes=True)
    assert "there is no engine of city for Orin with TensorRT 10.3.0" in str(none)


def test_weights_count_with_the_graph():
    assert combined_hash(["a"]) == "a"
    assert len({combined_hash(["a", "b"]), combined_hash(["b", "a"]), combined_hash(["a", "c"]), "a"}) == 4
