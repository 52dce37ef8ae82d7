"""Which implementation of an operator runs: by device, type, library and environment, and what people hear.

No GPU is needed: PyTorch's fake tensors have a CUDA device and no numbers, and the CUDA kernels' host build
takes tensors of the CPU.
"""

import importlib
import json
import logging
from pathlib import Path

import pytest
import torch
from support.cuda_on_host import PATH as CUDA_ON_HOST
from support.dcnv3_calls import draw_call, geometry_of
from torch._subclasses.fake_tensor import FakeTensorMode

from internimage_perception.cli.main import main
from internimage_perception.ops import OperatorError, choice, dcnv3, ms_deform_attn, report, roi_align
from internimage_perception.ops.choice import choose
from internimage_perception.ops.native_cuda import CUDA_LIBRARY, cuda_library
from internimage_perception.ops.native_library import CPU_LIBRARY, NativeError, cpu_library, search_path

# The package's attribute of that name is the function.
operator = importlib.import_module("internimage_perception.ops.dcnv3")
BOTH = ("cpu", "cuda")
SEARCH = "internimage_perception.ops.native_library.search_path"

needs_kernels = pytest.mark.skipif(
    choice.missing() is not None, reason="the native kernels are not built: no C++ compiler"
)
needs_cuda_on_host = pytest.mark.skipif(
    CUDA_ON_HOST is None, reason="the native kernels are not built: no C++ compiler"
)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty folder, the only one where libraries are looked for; nothing is known of before."""
    caches = (cpu_library, cuda_library, choice.missing, choice._warn)
    monkeypatch.setattr(SEARCH, lambda: [tmp_path])
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def cuda_on_host(folder):
    """The host build of the CUDA kernels, found as the CUDA library."""
    (folder / CUDA_LIBRARY).symlink_to(CUDA_ON_HOST)


def fake(device, dtype=torch.float32, size=(2,)):
    with FakeTensorMode():
        return torch.empty(size, dtype=dtype, device=device)


@needs_kernels
def test_the_environment_chooses(monkeypatch):
    value = torch.zeros(1, dtype=torch.float32)
    monkeypatch.setenv(choice.ENVIRONMENT, "reference")
    assert choose("auto", value) == "reference"
    assert choose("native", value) == "native"
    monkeypatch.setenv(choice.ENVIRONMENT, "native")
    with pytest.raises(NativeError, match="float16"):
        choose("auto", value.half())
    monkeypatch.setenv(choice.ENVIRONMENT, "fast")
    with pytest.raises(OperatorError, match="fast"):
        choose("auto", value)
    monkeypatch.delenv(choice.ENVIRONMENT)
    assert choose("auto", value) == "native" and choose("auto", value.half()) == "reference"


@needs_cuda_on_host
@pytest.mark.usefixtures("cuda_on_host")
def test_gpu_tensors_get_the_cuda_kernels_of_operators_that_have_them(caplog):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        value = fake("cuda", dtype)
        assert choose("auto", value, value.float(), devices=BOTH) == "native"
        assert choose("native", value, devices=BOTH) == "native"
        assert choose("reference", value, devices=BOTH) == "reference"
        assert choose("auto", value) == "reference"
        with pytest.raises(NativeError, match=r"run on the CPU, a tensor lies on cuda:0"):
            choose("native", value)
    assert not caplog.records


@needs_cuda_on_host
@pytest.mark.usefixtures("cuda_on_host")
def test_gpu_tensors_of_other_types_get_the_reference():
    single, double = fake("cuda"), fake("cuda", torch.float64)
    assert choose("auto", single, double, devices=BOTH) == "reference"
    with pytest.raises(NativeError, match=r"CUDA devices they take float32, float16, bfloat16.*float64"):
        choose("native", single, double, devices=BOTH)
    for value in (fake("mps"), torch.empty(2, device="meta")):
        assert choose("auto", value, devices=BOTH) == "reference"
        with pytest.raises(NativeError, match="on the CPU and CUDA devices, a tensor lies on m"):
            choose("native", value, devices=BOTH)


@pytest.mark.parametrize("requested", ["auto", "native", "reference"])
def test_tensors_of_several_devices_are_refused(requested):
    here, first, second = torch.zeros(2), fake("cuda:0"), fake("cuda:1")
    with pytest.raises(OperatorError, match="on cpu and cuda:0; move them together"):
        choose(requested, here, here, first, devices=BOTH)
    with pytest.raises(OperatorError, match="on cuda:0 and cuda:1"):
        choose(requested, first, second, devices=BOTH)


@pytest.mark.parametrize("implementation", ["auto", "native", "reference"])
def test_a_gate_on_another_device_is_named(implementation):
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, _ = draw_call(1, geometry, (4, 5), 4)
    gate = torch.empty(2, 4, 5, 2, device="meta")
    with pytest.raises(OperatorError, match="gate is on meta, input on cpu"):
        dcnv3(value, offset, mask, kernel_size=3, group=2, gate=gate, implementation=implementation)


def test_missing_libraries_are_explained_once_per_kind_of_device(folder, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        assert choose("auto", torch.zeros(1), devices=BOTH) == "reference"
    assert [str(folder) in record.message and "cmake" in record.message for record in caplog.records] == [
        True
    ]
    caplog.clear()
    for device in ("cuda:0", "cuda:1"):
        assert choose("auto", fake(device), devices=BOTH) == "reference"
    assert len(caplog.records) == 1
    message = caplog.records[0].message
    assert str(folder) in message and "DCNV3_CUDA=ON" in message and "on the GPU in PyTorch" in message
    for value, library in ((torch.zeros(1), CPU_LIBRARY), (fake("cuda"), CUDA_LIBRARY)):
        with pytest.raises(NativeError, match=rf"cannot run this: no {library} in .*build it"):
            choose("native", value, devices=BOTH)


def test_what_is_no_library_is_explained(folder):
    for name, load in ((CPU_LIBRARY, cpu_library), (CUDA_LIBRARY, cuda_library)):
        (folder / name).write_bytes(b"no library")
        with pytest.raises(NativeError, match="cannot be loaded"):
            load()
    assert choose("auto", fake("cuda"), devices=BOTH) == "reference"


def test_without_any_library_the_reference_runs(folder):
    assert not list(folder.iterdir())
    geometry = geometry_of(kernel_size=3, group=2)
    value, offset, mask, _ = draw_call(2, geometry, (4, 5), 4)
    value.requires_grad_()
    found = dcnv3(value, offset, mask, kernel_size=3, group=2)
    found.sum().backward()
    wanted = dcnv3(value, offset, mask, kernel_size=3, group=2, implementation="reference")
    assert torch.equal(found, wanted) and value.grad is not None


@needs_cuda_on_host
@pytest.mark.usefixtures("cuda_on_host")
@pytest.mark.parametrize("implementation", ["auto", "native"])
def test_dcnv3_hands_gpu_tensors_to_the_cuda_kernels(monkeypatch, implementation):
    """The operator's own functions, as PyTorch calls them, on tensors with a device and no numbers."""
    calls = []

    def forward(value, *_, softmax, gate):
        calls.append(("forward", value.device.type, softmax, gate is not None))
        return value.clone()

    def backward(value, offset, mask, gradient, geometry, needed, *, softmax, gate):
        del offset, mask, gradient, geometry
        calls.append(("backward", value.device.type, softmax, gate is not None))
        return [value.new_empty(0) for _ in needed]

    monkeypatch.setitem(operator._FORWARD, "cuda", forward)
    monkeypatch.setitem(operator._BACKWARD, "cuda", backward)
    geometry = geometry_of(kernel_size=3, group=2)
    with FakeTensorMode():
        sizes = (8, 36, 18, 2)
        value, offset, mask, gate = (torch.empty(1, 4, 5, size, device="cuda") for size in sizes)
        operator._run(value, offset, mask, gate, geometry, True, implementation)
        operator._run(value, offset, mask, None, geometry, False, implementation)
        operator._dcnv3_backward_op._init_fn(
            value, offset, mask, gate, value, *operator._plain(geometry), True, [True] * 4
        )
    assert calls == [
        ("forward", "cuda", True, True), ("forward", "cuda", False, False), ("backward", "cuda", True, True),
    ]  # fmt: skip


@needs_cuda_on_host
@pytest.mark.usefixtures("cuda_on_host")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_dcnv3_through_the_cuda_kernels_has_the_reference_s_gradients(monkeypatch, dtype):
    """From the operator to the kernels' sources and back, the host standing in for the GPU."""
    monkeypatch.setitem(operator._FORWARD, "cpu", operator._FORWARD["cuda"])
    monkeypatch.setitem(operator._BACKWARD, "cpu", operator._BACKWARD["cuda"])
    monkeypatch.setitem(choice.KERNELS, "cpu", choice.KERNELS["cuda"])
    geometry = geometry_of(kernel_size=3, group=2)
    drawn = draw_call(3, geometry, (5, 6), 8, dtype=dtype, gated=True, spread=0.7)
    gradient = torch.randn(2, 5, 6, 16, generator=torch.Generator().manual_seed(3)).to(dtype)
    results = []
    for implementation in ("auto", "native", "reference"):
        leaves = [tensor.clone().requires_grad_() for tensor in drawn]
        output = dcnv3(
            *leaves[:3], kernel_size=3, group=2, softmax=True, gate=leaves[3], implementation=implementation
        )
        results.append([output.detach(), *torch.autograd.grad(output, leaves, gradient)])
    share = 1e-4 if dtype == torch.float32 else 1e-2
    for auto, native, wanted in zip(*results, strict=True):
        torch.testing.assert_close(auto, native, rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 1e-2)
        torch.testing.assert_close(auto, wanted, rtol=share, atol=share)
    assert not all(torch.equal(auto, wanted) for auto, _, wanted in zip(*results, strict=True))


@needs_kernels
def test_the_command_says_what_runs(capsys, monkeypatch):
    assert main(["inspect", "ops", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "ops" and found["chosen"] == "native" and Path(found["library"]).is_file()
    times = found["milliseconds"]["dcnv3"]
    assert set(times) == {"reference", "native"}
    assert all(item["forward"] > 0 and item["backward"] > 0 for item in times.values())
    monkeypatch.setenv(choice.ENVIRONMENT, "reference")
    assert main(["inspect", "ops"]) == 0
    text = capsys.readouterr().out
    assert "reference (the environment asks for it)" in text and "native" in text


def test_the_command_says_why_there_are_no_cuda_kernels(folder, monkeypatch, caplog):
    monkeypatch.setattr(report, "first_gpu", lambda: None)
    monkeypatch.setattr(report, "_milliseconds", lambda _device: {})
    found = report.report_ops()
    assert (found.gpu.device, found.gpu.chosen, found.gpu.library) == (None, "none", None)
    text = str(found)
    assert "GPU: PyTorch sees none" in text and "CUDA library: none" in text
    assert f"no {CUDA_LIBRARY} in {folder}" in text and "DCNV3_CUDA=ON" in text
    assert not [record for record in caplog.records if CUDA_LIBRARY in record.message]


@needs_cuda_on_host
@pytest.mark.usefixtures("cuda_on_host")
def test_the_command_measures_a_gpu_where_there_is_one(monkeypatch, folder):
    """The CPU stands in for the GPU, and the host build for its kernels."""
    monkeypatch.setattr(report, "first_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(report, "_REPEATS", 1)
    monkeypatch.setattr(report, "_SHAPE", (1, 8, 8, 64))
    monkeypatch.setitem(operator._FORWARD, "cpu", operator._FORWARD["cuda"])
    monkeypatch.setitem(operator._BACKWARD, "cpu", operator._BACKWARD["cuda"])
    monkeypatch.setitem(choice.KERNELS, "cpu", choice.KERNELS["cuda"])
    found = report._report_gpu()
    assert (found.device, found.chosen, found.library) == ("cpu", "native", str(folder / CUDA_LIBRARY))
    assert set(found.milliseconds["dcnv3"]) == {"reference", "native"}


@needs_cuda_on_host
@pytest.mark.usefixtures("cuda_on_host")
def test_the_command_survives_kernels_that_fail(monkeypatch):
    def fail(_device):
        raise NativeError("no kernel image is available")

    monkeypatch.setattr(report, "first_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(report, "_milliseconds", fail)
    found = report._report_gpu()
    assert found.chosen == "none" and "no kernel image" in found.why and not found.milliseconds


def test_the_order_of_search(monkeypatch, tmp_path):
    monkeypatch.setenv("INTERNIMAGE_PERCEPTION_LIBRARY_PATH", f"{tmp_path}/a:{tmp_path}/b")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}/ros")
    assert search_path()[:2] == [tmp_path / "a", tmp_path / "b"]
    assert tmp_path / "ros" / "lib" in search_path()


@needs_cuda_on_host
@pytest.mark.usefixtures("cuda_on_host")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_attention_and_roi_align_reach_the_cuda_sources(monkeypatch, dtype):
    """As for DCNv3: what tensors on a GPU would run, the host standing in for it."""
    monkeypatch.setitem(choice.KERNELS, "cpu", choice.KERNELS["cuda"])
    modules = [
        importlib.import_module(f"internimage_perception.ops.{name}") for name in ("msda", "roi_align")
    ]
    for module in modules:
        assert module.NATIVE_DEVICES == BOTH
        monkeypatch.setitem(module._FORWARD, "cpu", module._FORWARD["cuda"])
        monkeypatch.setitem(module._BACKWARD, "cpu", module._BACKWARD["cuda"])
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.rand(shape, generator=generator).to(dtype).requires_grad_()

    value, places, weights = draw(2, 20, 2, 8), draw(2, 5, 2, 1, 3, 2), draw(2, 5, 2, 1, 3)
    shapes, starts = torch.tensor([[4, 5]]), torch.tensor([0])
    feature = draw(2, 3, 9, 11)
    rois = torch.tensor([[0.0, 1.0, 2.0, 7.5, 6.0], [1.0, 0.5, 0.5, 9.0, 8.0]])
    for leaves, call in (
        (
            (value, places, weights),
            lambda how: ms_deform_attn(value, shapes, starts, places, weights, implementation=how),
        ),
        ((feature,), lambda how: roi_align(feature, rois.to(dtype), 3, implementation=how)),
    ):
        results = []
        for how in ("native", "reference"):
            output = call(how)
            results.append([output, *torch.autograd.grad(output.float().sum(), leaves)])
        for mine, theirs in zip(*results, strict=True):
            torch.testing.assert_close(
                mine, theirs, rtol=2e-2, atol=2e-2 * float(theirs.detach().abs().max())
            )
