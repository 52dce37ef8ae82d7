"""Time of the networks on this computer's CPU, two threads.

InternImage-T's dense features at 512x512, with and without bias and activation in the matrix products of its
linear layers, its DCNv3 operator alone at the sizes of the four stages (forward, and forward with backward),
and the smallest deployed graph on full HD frames in both backends. `--official` takes the file
`ops_dcnv3/functions/dcnv3_func.py` of a checkout of OpenGVLab/InternImage and times the same calls with that
repository's PyTorch operator, in turns with ours.
"""

import argparse
import copy
import functools
import importlib.util
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from results import durations, save

from internimage_perception.deploy import create_bundle
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import ClassSpec, InputSpec, OutputSpec
from internimage_perception.models import InternImage, create_model
from internimage_perception.ops import dcnv3, linear, module

THREADS = 2
SIZE = 512
Timings = dict[str, float]
Call = Callable[[], None]
Operator = Callable[..., torch.Tensor]


def measure(call: Callable[[], object], repeats: int) -> Timings:
    """Return the least and the median duration in milliseconds, after one call to warm up."""
    return summary((1000 * durations(call, repeats, time.perf_counter)[0]).tolist())


def summary(times_ms: list[float]) -> Timings:
    """Return least and median."""
    return {"min_ms": round(min(times_ms), 2), "median_ms": round(float(np.median(times_ms)), 2)}


def backbone() -> InternImage:
    """Return InternImage-T whose offsets and masks differ from place to place."""
    torch.manual_seed(0)
    model = create_model("internimage_t").eval()
    for name, parameter in model.named_parameters():
        if ".offset." in name or ".mask." in name:
            torch.nn.init.normal_(parameter, std=0.05)
    assert isinstance(model, InternImage)  # noqa: S101 - for the type checker
    return model


def operator_call(operator: Operator, side: int, group: int, dtype: torch.dtype) -> tuple[Call, Call]:
    """Return calls of DCNv3 alone on a square map in groups of 16: forward, and forward with backward."""
    generator = torch.Generator().manual_seed(side)
    sizes = (16 * group, 18 * group, 9 * group)
    tensors = [torch.randn(1, side, side, size, generator=generator).to(dtype) for size in sizes]
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    gradient = torch.ones(1, side, side, 16 * group, dtype=dtype)
    fixed = {"kernel_size": 3, "padding": 1, "dilation": 1, "group": group, "offset_scale": 1.0}

    def forward() -> None:
        with torch.inference_mode():
            operator(*tensors, **fixed)

    def backward() -> None:
        torch.autograd.grad(operator(*leaves, **fixed), leaves, gradient)

    return forward, backward


def operator_timings(repeats: int, official: Operator | None) -> dict[str, object]:
    """Time DCNv3 alone at the sizes of InternImage-T's stages, in turns with the official operator."""
    result: dict[str, object] = {}
    for side, group in ((128, 4), (64, 8), (32, 16), (16, 32)):
        for turn, direction in enumerate(("forward", "forward and backward")):
            calls = {"ours": operator_call(dcnv3, side, group, torch.float32)[turn]}
            calls["ours, bfloat16"] = operator_call(dcnv3, side, group, torch.bfloat16)[turn]
            if official is not None:
                calls["official"] = operator_call(official, side, group, torch.float32)[turn]
            result[f"{side}x{side}, {group} groups of 16, {direction}"] = in_turns(calls, 3 * repeats)
    return result


def in_turns(calls: dict[str, Call], repeats: int, baseline: str = "official") -> dict[str, object]:
    """Time calls in turns, so that other load hits all alike; ratios are to `baseline`, where it is there."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                taken[name].append(1000 * (time.perf_counter() - start))
    found: dict[str, object] = {name: summary(values) for name, values in taken.items()}
    if baseline in calls:
        found["times_faster"] = {
            name: round(min(taken[baseline]) / min(values), 2)
            for name, values in taken.items()
            if name != baseline
        }
    return found


def official_operator(path: Path) -> Operator:
    """Return the PyTorch operator of the given file, called like ours."""
    # The file imports the compiled operator beside it, which is neither there nor needed.
    sys.modules.setdefault("DCNv3", types.ModuleType("DCNv3"))
    spec = importlib.util.spec_from_file_location("official_dcnv3", path)
    if spec is None or spec.loader is None:
        sys.exit(f"cannot import {path}")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)

    def call(
        value: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, **arguments: float
    ) -> torch.Tensor:
        if arguments.get("softmax"):
            # The official layer takes the softmax outside of its operator.
            mask = mask.unflatten(-1, (int(arguments["group"]), -1)).softmax(-1).flatten(-2)
        kernel, pad, dilation = (int(arguments[name]) for name in ("kernel_size", "padding", "dilation"))
        group = int(arguments["group"])
        return loaded.dcnv3_core_pytorch(
            value, offset, mask, kernel, kernel, 1, 1, pad, pad, dilation, dilation,
            group, value.shape[3] // group, arguments["offset_scale"],
        )  # fmt: skip

    return call


def compare(model: InternImage, images: torch.Tensor, official: Operator, repeats: int) -> dict[str, object]:
    """Time the network with both operators in turns, and ours under bfloat16 autocast."""
    outputs = {}

    def call(name: str, operator: Operator, dtype: torch.dtype | None) -> Call:
        def run() -> None:
            module.dcnv3 = operator
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                outputs[name] = model(images)

        return run

    calls = {
        "ours": call("ours", dcnv3, None),
        "ours, bfloat16": call("ours, bfloat16", dcnv3, torch.bfloat16),
        "official": call("official", official, None),
    }
    try:
        found = in_turns(calls, repeats)
    finally:
        module.dcnv3 = dcnv3
    pairs = zip(outputs["ours"], outputs["official"], strict=True)
    found["max_difference"] = max((own - other).abs().max().item() for own, other in pairs)
    return found


def linear_layers(model: InternImage, images: torch.Tensor, repeats: int) -> dict[str, object]:
    """Time the network with its linear layers fused and in PyTorch's own way, in turns, in both types."""
    found: dict[str, object] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        forward = functools.partial(copy.deepcopy(model).to(dtype), images.to(dtype))
        usual = mock.patch.object(linear, "_fusible", new=never)(forward)
        found[name] = in_turns({"fused": forward, "PyTorch's own": usual}, repeats, "PyTorch's own")
    return found


def never(*_: object) -> bool:
    """Take the place of the check whether a linear layer can be fused."""
    return False


def deployed_timings(repeats: int) -> dict[str, Timings]:
    """Time one full HD frame through the smallest network at 512x512."""
    frame = np.random.default_rng(0).integers(0, 256, (1, 1080, 1920, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        bundle = create_bundle(
            Path(folder) / "nano",
            architecture="upernet_internimage_nano",
            state_dict=None,
            classes=[ClassSpec(index, f"class {index}", (0, 0, 0)) for index in range(13)],
            input_spec=InputSpec(SIZE, SIZE),
            output_spec=OutputSpec("model"),
            name="nano",
        )
        result = {}
        for name in ("onnxruntime", "torch"):
            backend = create_backend(name, bundle, threads=THREADS)
            result[backend.name] = measure(lambda b=backend: b.run(frame), 2 * repeats)
    return result


def main() -> int:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", type=Path, help="dcnv3_func.py of OpenGVLab/InternImage")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--note", help="stored with the results: what else the computer did, for example")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    model = backbone()
    images = torch.randn(1, 3, SIZE, SIZE)
    official = official_operator(arguments.official) if arguments.official else None
    result: dict[str, object] = {"threads": THREADS, "torch": torch.__version__}
    with torch.inference_mode():
        result["internimage_t_features_512"] = measure(lambda: model(images), arguments.repeats)
        result["internimage_t_linear_layers"] = linear_layers(model, images, arguments.repeats)
        if official is not None:
            result["internimage_t_against_official_operator"] = compare(
                model, images, official, arguments.repeats
            )
    result["dcnv3"] = operator_timings(arguments.repeats, official)
    result["nano_512_from_1920x1080"] = deployed_timings(arguments.repeats)
    save("internimage", result, arguments.note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
