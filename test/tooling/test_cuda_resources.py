"""What the compiler says about the CUDA kernels, and the arithmetic of predicted times."""

import pytest
from cuda_resources import DEVICES, WORKS, Device, Kernel, parse, predict, table

SAID = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN5dcnv34cuda3runINS0_8BackwardI6__halfLi8ELi32ELi25EEEEEvNT_4ArgsE' for 'sm_90'
ptxas info    : Function properties for _ZN5dcnv34cuda3runINS0_8BackwardI6__halfLi8ELi32ELi25EEEEEvNT_4ArgsE
    8 bytes stack frame, 12 bytes spill stores, 72 bytes spill loads
ptxas info    : Used 96 registers, used 1 barriers, 8 bytes cumulative stack size
ptxas info    : Compiling entry function '_ZN5dcnv34cuda3runINS0_6FinishI6__halfEEEEvNT_4ArgsE' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 20 registers, used 1 barriers
ptxas info    : Compiling entry function '_ZN5dcnv34cuda3runINS0_7ForwardIfLi4ELi0ELi0EEEEEvNT_4ArgsE' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers
"""  # noqa: E501 - as the compiler writes it


def test_kernels_are_read_from_what_the_compiler_says():
    spilling, plain = parse(SAID)
    assert spilling == Kernel("Backward", "float16", 8, 32, 25, registers=96, stack=8, spilled=84)
    assert spilling.specialised
    assert (plain.direction, plain.input, plain.registers, plain.spilled) == ("Forward", "float32", 64, 0)
    assert not plain.specialised


OTHERS = """
ptxas info    : Compiling entry function '_ZN5dcnv34cuda3runINS0_4msda8BackwardIfLi4ELi32EEEEEvNT_4ArgsE' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 56 registers, used 1 barriers
ptxas info    : Compiling entry function '_ZN5dcnv34cuda3runINS0_9roi_align7ForwardI13__nv_bfloat16EEEEvNT_4ArgsE' for 'sm_90'
    0 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers
ptxas info    : Compiling entry function '_ZN5dcnv34cuda3runINS0_9roi_align5WeighEEEvNT_4ArgsE' for 'sm_90'
    88 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 48 registers, used 1 barriers
"""  # noqa: E501 - as the compiler writes it


def test_kernels_of_the_other_operators_are_read_and_must_not_spill():
    attention, pooling, tables = parse(OTHERS)
    assert attention == Kernel("Backward", "float32", 4, 32, 0, 56, stack=0, spilled=0, operator="msda")
    assert pooling == Kernel("Forward", "bfloat16", 0, 0, 0, 64, stack=0, spilled=8, operator="roi_align")
    assert (tables.operator, tables.direction, tables.registers) == ("roi_align", "Weigh", 48)
    assert [kernel.overflows for kernel in (attention, pooling, tables)] == [False, True, True]
    spilling, plain = parse(SAID)
    assert spilling.operator == "dcnv3" and spilling.overflows and not plain.overflows


def test_resident_blocks_are_those_of_the_scarcest_resource():
    device = Device("toy", 1, 1.0, 100.0, threads=2048, shared_kib=100)
    assert device.resident_blocks(256, 32, 0) == 8
    assert device.resident_blocks(256, 64, 0) == 4
    assert device.resident_blocks(256, 65, 0) == 3
    assert device.resident_blocks(256, 32, 49 * 1024) == 2


def test_the_slowest_limit_is_the_prediction():
    kernels = [Kernel("Forward", "float16", 8, work.channels, work.points, 64, 0, 0) for work in WORKS]
    launch = {"blocks": 1024, "threads": 256, "shared": 26112}
    row = predict(WORKS[0], "Forward", launch, DEVICES[87], kernels)
    numbers = 128 * 256 * 64
    assert row.bytes_per_output["memory"] == pytest.approx(2 + 2 + 27 * 2 / 16, abs=0.01)
    assert row.predicted_us["memory"] == pytest.approx(numbers * 7.375 / 204.8e3, rel=1e-3)
    assert row.resident_threads == 1024
    assert f"**{row.predicted_us['memory']:.1f}**" in table([row]).splitlines()[-1]
