"""Trains the nano model on the procedural street, on a CPU, resumable at any moment.

    tools/train_nano.py config/training/nano.yaml --work FOLDER --draw
    tools/train_nano.py config/training/nano.yaml --work FOLDER --weights nano.safetensors

The first command renders the pictures (PNG pairs), the second trains on them. Both continue where they were
killed. Training logs to `log.csv` every 50 steps and writes a checkpoint (atomically) every 200 steps.

Large tensors come and go thousands of times; keeping their memory saves a third of the time:

    MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=20000000000 tools/train_nano.py ...
"""

import argparse
import csv
import math
import multiprocessing
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from nano_pictures import CLASSES, Config, Pictures, batch_of, draw, prepare
from torch import distributed, nn

from internimage_perception.data.street.classes import IGNORED
from internimage_perception.evaluation.confusion import ConfusionMatrix
from internimage_perception.files import atomic_path
from internimage_perception.models import create_model
from internimage_perception.training.muon import Muon


def class_weights(config: Config, pictures: Pictures) -> torch.Tensor:
    """Return weights that lift rare classes: a power of their share of the first pictures, mean 1."""
    totals = np.zeros(CLASSES)
    for number in range(min(400, config.cycles[0].pictures)):
        labels = pictures.read(number)[1]
        totals += np.bincount(labels.reshape(-1), minlength=256)[:CLASSES]
    weights = (totals / totals.sum() + 1e-4) ** -config.rarity
    return torch.from_numpy(weights / weights.mean()).float()


def loss_of(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return weighted cross entropy plus the mean Dice loss over the classes in the batch.

    Dice counts a class's overlap over the whole batch, however few its pixels: much like the IoU.
    """
    chances = logits.log_softmax(1)
    entropy = nn.functional.nll_loss(chances, labels, weights, ignore_index=IGNORED)
    # Pixels to be ignored count for a class of their own, which is left out.
    index = labels.clamp(max=CLASSES).flatten()
    right = chances.gather(1, labels.clamp(max=CLASSES - 1)[:, None]).exp().flatten()
    overlap = right.new_zeros(CLASSES + 1).index_add(0, index, right)[:CLASSES]
    total = right.new_zeros(CLASSES + 1).index_add(0, index, torch.ones_like(right))[:CLASSES]
    seen = (labels != IGNORED).to(chances.dtype)
    found = torch.einsum("nchw,nhw->c", chances.exp(), seen)
    dice = 1 - 2 * overlap / (found + total + 1.0)
    present = (total > 0).to(dice.dtype)
    return entropy + (dice * present).sum() / present.sum().clamp(min=1.0)


def validate(model: nn.Module, pictures: Pictures, count: int) -> ConfusionMatrix:
    """Return what the model makes of the first pictures."""
    model.eval()
    matrix = ConfusionMatrix(CLASSES)
    for number in range(count):
        image, labels = pictures.read(number)
        with torch.inference_mode():
            found = model(prepare([image])).argmax(1)[0].numpy().astype(np.uint8)
        matrix.add(labels, found)
    model.train()
    return matrix


class Training:
    """Model, average, optimiser and step, kept in one checkpoint."""

    def __init__(self, config: Config, work: Path) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.model = create_model(config.architecture)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout2d):
                module.p = 0.0  # so small a network, trained so briefly, does not learn by heart
        self.average = create_model(config.architecture)
        self.average.load_state_dict(self.model.state_dict())
        # Depthwise kernels and classifiers are no matrices that mix channels: they stay with Adam.
        matrices: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            mixes = parameter.ndim > 1 and parameter.shape[1] > 1 and "conv_seg" not in name
            (matrices if mixes else decayed if parameter.ndim > 1 else others).append(parameter)
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=config.cycles[0].learning_rate, weight_decay=config.weight_decay),
            torch.optim.AdamW(
                [
                    {"params": decayed, "weight_decay": config.weight_decay},
                    {"params": others, "weight_decay": 0.0},
                ],
                lr=config.cycles[0].learning_rate,
            ),
        ]
        self.step = 0
        self.path = work / "checkpoint.pt"
        if self.path.exists():
            content = torch.load(self.path, weights_only=True)
            self.model.load_state_dict(content["model"])
            self.average.load_state_dict(content["average"])
            for optimizer, state in zip(self.optimizers, content["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.step = int(content["step"])

    def save(self) -> None:
        """Write the checkpoint."""
        with atomic_path(self.path) as path:
            torch.save(
                {
                    "model": self.model.state_dict(), "average": self.average.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                    "step": self.step,
                },
                path,
            )  # fmt: skip

    def advance(self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
        """Do one step together with the other processes; returns this one's loss."""
        config = self.config
        cycle, done = config.cycle_at(self.step)
        warm = min(1.0, (done + 1) / config.warm_up)
        cosine = 0.5 * (1 + math.cos(math.pi * done / cycle.steps))
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = cycle.learning_rate * warm * max(cosine, 0.01)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(images)
        loss = loss_of(logits.float(), labels, weights)
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(together)
        together /= distributed.get_world_size()
        for gradient, part in zip(
            gradients, torch.split(together, [g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mine, theirs in zip(
                self.average.state_dict().values(), self.model.state_dict().values(), strict=True
            ):
                if mine.is_floating_point():
                    mine.lerp_(theirs, 1 - keep)
                else:
                    mine.copy_(theirs)
        self.step += 1
        return float(loss.detach())


def train(config: Config, work: Path, rank: int, ranks: int, weights_path: Path | None) -> None:
    """Train to the last step, as one of `ranks` processes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    distributed.init_process_group(
        "gloo", init_method=(work / "meeting").as_uri(), rank=rank, world_size=ranks
    )
    training = Training(config, work)
    pictures, held_out = Pictures(work / "train"), Pictures(work / "test")
    weights = class_weights(config, pictures)
    start, first = time.monotonic(), training.step
    losses: list[float] = []
    while training.step < config.steps:
        losses.append(training.advance(*batch_of(config, pictures, training.step, rank, ranks), weights))
        if training.step % 50 == 0:
            if rank == 0:
                pace = (time.monotonic() - start) / (training.step - first)
                record(training, work, held_out, float(np.mean(losses)), pace)
            losses.clear()
    distributed.destroy_process_group()
    if rank:
        return
    training.save()
    scored = validate(training.average, held_out, config.validation)
    print(f"held-out miou {scored.miou():.4f}; per class {np.round(scored.iou(), 3).tolist()}", flush=True)
    if weights_path is not None:
        from safetensors.torch import save_file  # noqa: PLC0415 - needed at the end only

        state = {name: value.contiguous() for name, value in training.average.state_dict().items()}
        with atomic_path(weights_path) as path:
            save_file(state, path)


def record(training: Training, work: Path, held_out: Pictures, loss: float, pace: float) -> None:
    """Write a line of the log; now and then a checkpoint and a score."""
    config, step = training.config, training.step
    if step % 200 == 0:
        training.save()
    score = ""
    if step % 1000 == 0 or config.cycle_at(step)[1] == 0 or step == config.steps:
        score = f"{validate(training.average, held_out, min(60, config.validation)).miou():.4f}"
    with (work / "log.csv").open("a", newline="") as file:
        csv.writer(file).writerow([step, round(loss, 4), score])
    print(
        f"step {step} of {config.steps}, loss {loss:.4f}, miou {score or '-'}, {pace:.2f} s/step", flush=True
    )


def main() -> int:
    """Draw or train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of pictures, checkpoint and log")
    parser.add_argument("--draw", action="store_true", help="render pictures instead of training")
    parser.add_argument("--processes", type=int, default=2, help="processes, one thread each (default 2)")
    parser.add_argument(
        "--weights", type=Path, help="write the averaged weights here (.safetensors) at the end"
    )
    options = parser.parse_args()
    config = Config.load(options.config)
    if options.draw:
        draw(config, options.work, options.processes)
        return 0
    (options.work / "meeting").unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    ranks = [
        context.Process(target=train, args=(config, options.work, rank, options.processes, options.weights))
        for rank in range(options.processes)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return max(abs(process.exitcode or 0) for process in ranks)


if __name__ == "__main__":
    sys.exit(main())
