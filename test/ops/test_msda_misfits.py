"""Calls of multi-scale deformable attention that make no sense are refused, and the message says why."""

import ctypes
from types import SimpleNamespace

import pytest
import torch

from internimage_perception.ops import OperatorError, choice, ms_deform_attn, native_msda
from internimage_perception.ops.native_library import F16, F32, Array, NativeError

SIZES = {"value": (2, 26, 2, 4), "location": (2, 5, 2, 2, 3, 2), "weight": (2, 5, 2, 2, 3)}
SHAPES, STARTS = torch.tensor([[4, 5], [2, 3]]), torch.tensor([0, 20])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": (2, 26, 8)}, ("value", "(2, 26, 8)")),
        ({"value": (2, 0, 2, 4)}, ("pixel", "(2, 0, 2, 4)")),
        ({"location": (2, 5, 2, 2, 3, 3)}, ("sampling_locations", "(2, 5, 2, 2, 3, 2)")),
        ({"location": (2, 5, 3, 2, 3, 2)}, ("sampling_locations", "(2, 5, 2, 2, 3, 2)")),
        ({"weight": (1, 5, 2, 2, 3)}, ("attention_weights", "(2, 5, 2, 2, 3)", "(1, 5, 2, 2, 3)")),
        ({"weight": (2, 5, 2, 6)}, ("attention_weights", "levels, points")),
    ],
    ids=str,
)
def test_misfits_are_named(change, words):
    value, location, weight = (torch.zeros(size) for size in (SIZES | change).values())
    with pytest.raises(OperatorError) as caught:
        ms_deform_attn(value, SHAPES, STARTS, location, weight)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("implementation", ["auto", "reference"])
@pytest.mark.parametrize(
    ("shapes", "starts", "words"),
    [
        ([[4, 5], [2, 4]], [0, 20], "level 1 of 2x4 pixels from 20"),
        ([[4, 5], [0, 3]], [0, 20], "level 1 of 0x3"),
        ([[4, 5], [-2, -3]], [0, 20], "level 1 of -2x-3"),
        ([[4, 5], [2, 3]], [-1, 20], "level 0 .* from -1"),
        ([[2**40, 2**40], [2, 3]], [0, 20], "level 0"),
        ([[4, 5]], [0], r"spatial_shapes must be \(2, 2\)"),
        ([[4, 5], [2, 3]], [0, 20, 26], r"level_start_index must be \(2,\)"),
        ([[4.0, 5.0], [2.0, 3.0]], [0, 20], "spatial_shapes must be int64"),
    ],
    ids=str,
)
def test_levels_that_do_not_fit_are_named(shapes, starts, words, implementation):
    value, location, weight = (torch.zeros(size) for size in SIZES.values())
    with pytest.raises(OperatorError, match=words):
        ms_deform_attn(
            value, torch.tensor(shapes), torch.tensor(starts), location, weight, implementation=implementation
        )


def test_unknown_implementations_and_integers_are_refused():
    value, location, weight = (torch.zeros(size) for size in SIZES.values())
    with pytest.raises(OperatorError, match=r"magic.*auto, reference"):
        ms_deform_attn(value, SHAPES, STARTS, location, weight, implementation="magic")
    with pytest.raises(OperatorError, match="attention_weights must be floating point"):
        ms_deform_attn(value, SHAPES, STARTS, location, weight.int())


@pytest.mark.skipif(choice.missing() is not None, reason="the native kernels are not built: no C++ compiler")
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"struct_size": 8}, 1),
        ({"batch": -1}, 1),
        ({"pixels": 25}, 1),
        ({"pixels": 2**31}, 2),
        ({"queries": -1}, 1),
        ({"heads": 0}, 1),
        ({"channels": 0}, 1),
        ({"levels": 0}, 1),
        ({"points": 0}, 1),
        ({"points": 2**20}, 2),
        ({"threads": -1}, 1),
        ({"shapes": None}, 1),
        ({"starts": None}, 1),
        ({"shapes": (4, 5, 2**62, 4)}, 1),
        ({"shapes": (4, 5, 0, 3)}, 1),
        ({"starts": (0, 21)}, 1),
        ({"starts": (0, -1)}, 1),
        ({"value": Array(None, F32, 0)}, 1),
        ({"weight": Array(None, F32, 0)}, 1),
        ({"location": Array(1, F16, 0)}, 2),
        ({"output": Array(1, F16, 0)}, 1),
        ({"output": Array(None, F32, 0)}, 1),
        ({"output": Array(None, F32, 0), "queries": 0}, 0),
    ],
    ids=str,
)
def test_the_c_interface_refuses_what_makes_no_sense(changes, status):
    library = native_msda._library()
    tensors = [torch.zeros(size) for size in (*SIZES.values(), (2, 5, 2, 4))]
    arrays = dict(
        zip((*SIZES, "output"), (Array(tensor.data_ptr(), F32, 0) for tensor in tensors), strict=True)
    )
    arrays |= {name: array for name, array in changes.items() if name in arrays}
    levels = {"shapes": (4, 5, 2, 3), "starts": (0, 20)}
    levels |= {name: numbers for name, numbers in changes.items() if name in levels}
    sizes = {"batch": 2, "pixels": 26, "queries": 5, "heads": 2, "channels": 4, "levels": 2, "points": 3}
    fields = {"struct_size": ctypes.sizeof(native_msda.Params)} | sizes
    fields |= {name: number for name, number in changes.items() if name not in arrays and name not in levels}
    params = native_msda.Params(**fields)
    for name, numbers in levels.items():
        if numbers is not None:
            setattr(params, name, (ctypes.c_int64 * len(numbers))(*numbers))
    output = arrays.pop("output")
    call = (ctypes.byref(params), ctypes.byref(native_msda.Tensors(**arrays)), output)
    assert library.dcnv3_msda_forward_cpu(*call) == status
    nothing = native_msda.Tensors()
    assert library.dcnv3_msda_backward_cpu(*call, ctypes.byref(nothing)) == status
    assert library.dcnv3_msda_backward_cpu(*call, None) == (status or 1)


def test_a_library_of_before_is_explained(monkeypatch):
    monkeypatch.setattr(native_msda, "cpu_library", SimpleNamespace)
    native_msda._library.cache_clear()
    try:
        with pytest.raises(NativeError, match="build it anew"):
            native_msda._library()
    finally:
        native_msda._library.cache_clear()
