"""Time of a training step on this computer's CPU, two threads: forward, backward, AdamW.

InternImage-T's backbone alone and UPerNet with it, in float32 and under bfloat16 autocast, with the native
DCNv3, with PyTorch's (the reference), and with one that costs nothing and gives nothing: what remains then is
the bound of any operator. All take turns. `reached` is the share of the gain over PyTorch's operator that the
bound has.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

import torch
from results import save

from internimage_perception.models import Segmentor, create_model
from internimage_perception.ops import dcnv3, module
from internimage_perception.training.config import LossConfig, OptimizerConfig
from internimage_perception.training.losses import SegmentationLoss
from internimage_perception.training.optimizers import create_optimizers

THREADS = 2
CLASSES = 13


class _Nothing(torch.autograd.Function):
    """Gives the values back, and gradients of the right shapes: the cheapest that an operator can be."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's own
        value: torch.Tensor,
        offset: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(offset, mask)
        return value.view_as(value)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - autograd's own
        gradient: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        offset, mask = ctx.saved_tensors
        return gradient, torch.zeros_like(offset), torch.zeros_like(mask)


def nothing(value: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, **_: object) -> torch.Tensor:
    """Stand in for DCNv3."""
    return _Nothing.apply(value, offset, mask)


OPERATORS = {
    "native": dcnv3,
    "pytorch": partial(dcnv3, implementation="reference"),
    "free": nothing,
}


def stepper(name: str, batch: int, side: int) -> Callable[[bool], None]:
    """Return a function that does one step of a network, under autocast or not."""
    torch.manual_seed(0)
    given: Any = name if name == "internimage_t" else {"base": name, "num_classes": CLASSES}
    model = create_model(given)
    for key, parameter in model.named_parameters():
        if ".offset." in key or ".mask." in key:
            torch.nn.init.normal_(parameter, std=0.05)
    (optimizer,) = create_optimizers(model, OptimizerConfig(learning_rate=1e-6))
    images = torch.randn(batch, 3, side, side)
    labels = torch.randint(0, CLASSES, (batch, side, side), dtype=torch.uint8)
    loss_of = SegmentationLoss(LossConfig(), CLASSES)

    def step(mixed: bool) -> None:
        context: AbstractContextManager[object] = (
            torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext()
        )
        with context:
            if isinstance(model, Segmentor):
                loss = loss_of(model.head_logits(images), labels)["loss"]
            else:
                loss = torch.stack([item.float().square().mean() for item in model(images)]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def compare(name: str, batch: int, side: int, repeats: int) -> dict[str, object]:
    """Time a network's steps with every operator and precision, in turns."""
    step = stepper(name, batch, side)
    cases = [(operator, mixed) for operator in OPERATORS for mixed in (False, True)]
    least = dict.fromkeys(cases, float("inf"))
    for turn in range(repeats + 1):
        for operator, mixed in cases:
            with mock.patch.object(module, "dcnv3", OPERATORS[operator]):
                start = time.perf_counter()
                step(mixed)
                if turn:
                    least[operator, mixed] = min(least[operator, mixed], time.perf_counter() - start)
    found: dict[str, object] = {"batch": batch, "side": side}
    for mixed, precision in ((False, "float32"), (True, "bfloat16")):
        times = {operator: least[operator, mixed] for operator in OPERATORS}
        gain, bound = (times["pytorch"] / times[operator] for operator in ("native", "free"))
        found[precision] = {
            **{f"{operator}_ms": round(1e3 * value, 1) for operator, value in times.items()},
            "times_faster": round(gain, 2), "bound": round(bound, 2), "reached": round(gain / bound, 3),
        }  # fmt: skip
    found["bfloat16_times_faster"] = round(least["native", False] / least["native", True], 2)
    return found


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    result: dict[str, object] = {"threads": THREADS}
    for name, batch, side in (
        ("internimage_t", 4, 224), ("internimage_t", 1, 512), ("upernet_internimage_t", 2, 384),
    ):  # fmt: skip
        result[f"{name}, {batch}x{side}x{side}"] = compare(name, batch, side, options.repeats)
    save("training_step", result)


if __name__ == "__main__":
    main()
