"""Time of the networks on this computer's CPU, two threads.

InternImage-T's dense features at 512x512, its DCNv3 operator alone at the sizes of the four stages, and the
smallest deployed graph on full HD frames in both backends. `--official` takes the file
`ops_dcnv3/functions/dcnv3_func.py` of a checkout of OpenGVLab/InternImage and times the same network with
that repository's PyTorch operator in it, in turns with ours.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from results import save

from internimage_perception.deploy import create_bundle
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import ClassSpec, InputSpec, OutputSpec
from internimage_perception.models import InternImage, create_model
from internimage_perception.ops import dcnv3, module

THREADS = 2
SIZE = 512
Timings = dict[str, float]


def measure(call: Callable[[], object], repeats: int) -> Timings:
    """Return the least and the median duration in milliseconds, after one call to warm up."""
    call()
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        durations.append(1000 * (time.perf_counter() - start))
    return summary(durations)


def summary(durations: list[float]) -> Timings:
    """Return least and median."""
    return {"min_ms": round(min(durations), 2), "median_ms": round(float(np.median(durations)), 2)}


def backbone() -> InternImage:
    """Return InternImage-T whose offsets and masks differ from place to place."""
    torch.manual_seed(0)
    model = create_model("internimage_t").eval()
    for name, parameter in model.named_parameters():
        if ".offset." in name or ".mask." in name:
            torch.nn.init.normal_(parameter, std=0.05)
    assert isinstance(model, InternImage)  # noqa: S101 - for the type checker
    return model


def operator_timings(repeats: int) -> dict[str, Timings]:
    """Time DCNv3 alone at the sizes of InternImage-T's stages."""
    result = {}
    for side, group in ((128, 4), (64, 8), (32, 16), (16, 32)):
        value = torch.randn(1, side, side, 16 * group)
        offset, mask = torch.randn(1, side, side, 18 * group), torch.rand(1, side, side, 9 * group)
        call = lambda v=value, o=offset, m=mask, g=group: dcnv3(v, o, m, kernel_size=3, group=g)  # noqa: E731
        result[f"{side}x{side}, {group} groups of 16"] = measure(call, 5 * repeats)
    return result


def official_operator(path: Path) -> Callable[..., torch.Tensor]:
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
        kernel, pad, dilation = (int(arguments[name]) for name in ("kernel_size", "padding", "dilation"))
        group = int(arguments["group"])
        return loaded.dcnv3_core_pytorch(
            value, offset, mask, kernel, kernel, 1, 1, pad, pad, dilation, dilation,
            group, value.shape[3] // group, arguments["offset_scale"],
        )  # fmt: skip

    return call


def compare(model: InternImage, images: torch.Tensor, path: Path, repeats: int) -> dict[str, object]:
    """Time the network with both operators in turns, so that other load hits both alike."""
    operators = {"ours": module.dcnv3, "official": official_operator(path)}
    durations: dict[str, list[float]] = {name: [] for name in operators}
    outputs = {}
    try:
        for turn in range(repeats + 1):
            for name, operator in operators.items():
                module.dcnv3 = operator
                start = time.perf_counter()
                outputs[name] = model(images)
                if turn:
                    durations[name].append(1000 * (time.perf_counter() - start))
    finally:
        module.dcnv3 = operators["ours"]
    pairs = zip(outputs["ours"], outputs["official"], strict=True)
    return {
        **{name: summary(values) for name, values in durations.items()},
        "ratio_of_min": round(min(durations["ours"]) / min(durations["official"]), 3),
        "max_difference": max((own - other).abs().max().item() for own, other in pairs),
    }


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
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    model = backbone()
    images = torch.randn(1, 3, SIZE, SIZE)
    result: dict[str, object] = {"threads": THREADS, "torch": torch.__version__}
    with torch.inference_mode():
        result["internimage_t_features_512"] = measure(lambda: model(images), arguments.repeats)
        result["dcnv3"] = operator_timings(arguments.repeats)
        if arguments.official:
            result["internimage_t_against_official_operator"] = compare(
                model, images, arguments.official, arguments.repeats
            )
    result["nano_512_from_1920x1080"] = deployed_timings(arguments.repeats)
    save("internimage", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
