"""Trains the nano model on the procedural street, on a CPU, resumable at any moment.

    tools/train_nano.py config/training/nano.yaml --work FOLDER [--bundle OUT]

Two processes share FOLDER and may run at the same time: `--draw` renders pictures (a folder of PNG pairs),
the other trains on what is there and waits when it runs dry. Both continue where they were killed. Training
logs every 50 steps to `log.csv`, and writes a checkpoint (atomically) every 200 steps.
"""

import argparse
import csv
import math
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import nn

from internimage_perception.files import atomic_path
from internimage_perception.models import create_model

IGNORED = 255
CLASSES = 13
_MEAN = torch.tensor((123.675, 116.28, 103.53)).view(1, 3, 1, 1)
_STD = torch.tensor((58.395, 57.12, 57.375)).view(1, 3, 1, 1)
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Config:
    """What `config/training/nano.yaml` says."""

    architecture: str
    height: int
    width: int
    seed: int
    pictures: int
    validation: int
    per_street: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    warm_up: int
    ema: float

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Read the file; unknown or missing fields end the program."""
        content = yaml.safe_load(path.read_text())
        known = {item.name for item in fields(cls)}
        if set(content) != known:
            raise SystemExit(f"{path}: fields differ from what is needed: {sorted(set(content) ^ known)}")
        return cls(**content)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.epochs * self.pictures // self.batch


class Pictures:
    """A folder of numbered picture and label PNGs, filled by one process and read by another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, number: int) -> bool:
        """Whether a picture is there, whole."""
        return self._path(number, "labels").exists()

    def write(self, number: int, image: Pixels, labels: Pixels) -> None:
        """Store a picture; it counts from the moment its labels have their name."""
        for kind, pixels in (("image", image[..., ::-1]), ("labels", labels)):
            with atomic_path(self._path(number, kind)) as path:
                path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    def read(self, number: int) -> tuple[Pixels, Pixels]:
        """Return RGB picture and class ids, waiting until they are drawn."""
        while not self.has(number):
            time.sleep(1.0)
        image = cv2.imread(str(self._path(number, "image")), cv2.IMREAD_COLOR)
        labels = cv2.imread(str(self._path(number, "labels")), cv2.IMREAD_UNCHANGED)
        return np.asarray(image, np.uint8)[..., ::-1], np.asarray(labels, np.uint8)

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / f"{number // 1000:03d}" / f"{number:06d}_{kind}.png"


def draw(config: Config, work: Path) -> None:
    """Render the validation pictures, then the training pictures."""
    from internimage_perception.data.street.samples import random_samples  # noqa: PLC0415 - only drawing renders

    splits: tuple[tuple[Literal["test", "train"], int], ...] = (
        ("test", config.validation),
        ("train", config.pictures),
    )
    for split, count in splits:
        pictures = Pictures(work / split)
        for street in range(-(-count // config.per_street)):
            numbers = range(street * config.per_street, min(count, (street + 1) * config.per_street))
            if all(pictures.has(number) for number in numbers):
                continue
            samples = random_samples(
                config.seed + street, config.per_street, width=config.width, height=config.height, split=split
            )
            for number, (image, labels) in zip(numbers, samples, strict=False):
                pictures.write(number, image, labels)
            if street % 10 == 0:
                print(f"{split}: {numbers.stop} of {count} drawn", flush=True)


def augment(image: Pixels, labels: Pixels, random: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Flip, rescale and crop, change colours; label edges stay exact."""
    if random.random() < 0.5:
        image, labels = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(labels[:, ::-1])
    height, width = labels.shape
    scale = math.exp(random.uniform(math.log(0.85), math.log(1.6)))
    matrix = np.array([[scale, 0, 0], [0, scale, 0]], np.float32)
    matrix[0, 2] = (width - scale * width) * random.random()
    matrix[1, 2] = (height - scale * height) * random.random()
    size = (width, height)
    warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    classes = cv2.warpAffine(
        labels, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=IGNORED
    )
    pixels = np.asarray(warped, np.float32)
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = gray + (pixels - gray) * random.uniform(0.4, 1.6)
    pixels = pixels * random.uniform(0.75, 1.25, 3) * random.uniform(0.6, 1.4) + random.uniform(-25, 25)
    return np.clip(pixels, 0, 255).astype(np.uint8), np.asarray(classes, np.uint8)


def prepare(images: list[Pixels]) -> torch.Tensor:
    """Return normalised images (N, 3, H, W)."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(images))).permute(0, 3, 1, 2).float()
    return (stacked - _MEAN) / _STD


def class_weights(pictures: Pictures, count: int) -> torch.Tensor:
    """Return weights that lift rare classes: the inverse square root of their share, at most 10 to 1."""
    totals = np.zeros(CLASSES)
    for number in range(count):
        labels = pictures.read(number)[1]
        totals += np.bincount(labels.reshape(-1), minlength=256)[:CLASSES]
    weights = (totals / totals.sum() + 1e-4) ** -0.5
    return torch.from_numpy(np.clip(weights / np.median(weights), 0.4, 4.0)).float()


def validate(model: nn.Module, pictures: Pictures, count: int) -> tuple[float, npt.NDArray[np.float64]]:
    """Return mIoU over the classes present, and the IoU of each."""
    model.eval()
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    for number in range(count):
        image, labels = pictures.read(number)
        with torch.inference_mode():
            found = model(prepare([image])).argmax(1)[0].numpy()
        good = labels != IGNORED
        index = CLASSES * labels[good].astype(np.int64) + found[good]
        matrix += np.bincount(index, minlength=CLASSES * CLASSES).reshape(CLASSES, CLASSES)
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    iou = np.where(union > 0, hits / np.maximum(union, 1), np.nan)
    model.train()
    return float(np.nanmean(iou)), iou


class Training:
    """Model, average, optimiser and step, kept in one checkpoint."""

    def __init__(self, config: Config, work: Path) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.model = create_model(config.architecture)
        self.average = create_model(config.architecture)
        self.average.load_state_dict(self.model.state_dict())
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )
        self.step = 0
        self.path = work / "checkpoint.pt"
        if self.path.exists():
            content = torch.load(self.path, weights_only=True)
            self.model.load_state_dict(content["model"])
            self.average.load_state_dict(content["average"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.step = int(content["step"])

    def save(self) -> None:
        """Write the checkpoint."""
        with atomic_path(self.path) as path:
            torch.save(
                {
                    "model": self.model.state_dict(), "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(), "step": self.step,
                },
                path,
            )  # fmt: skip

    def advance(self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
        """Do one step; returns the loss."""
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warm_up)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / config.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * warm * max(cosine, 0.01)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(images)
        loss = nn.functional.cross_entropy(logits.float(), labels, weights, ignore_index=IGNORED)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
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
        return float(loss)


def batch_of(config: Config, pictures: Pictures, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the batch of a step: the same whenever it is asked for."""
    random = np.random.default_rng((config.seed, step))
    epoch, position = divmod(step * config.batch, config.pictures)
    order = _order(config, epoch)
    numbers = [int(order[(position + k) % config.pictures]) for k in range(config.batch)]
    pairs = [augment(*pictures.read(number), random) for number in numbers]
    labels = np.stack([pair[1] for pair in pairs]).astype(np.int64)
    return prepare([pair[0] for pair in pairs]), torch.from_numpy(labels)


def _order(config: Config, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of pictures: shuffled; in the first epoch within blocks, for they are still drawn."""
    random = np.random.default_rng((config.seed, epoch))
    if epoch:
        return random.permutation(config.pictures)
    block = 10 * config.per_street
    starts = range(0, config.pictures, block)
    return np.concatenate([s + random.permutation(min(block, config.pictures - s)) for s in starts])


def train(config: Config, work: Path) -> Training:
    """Train to the last step."""
    training = Training(config, work)
    pictures, held_out = Pictures(work / "train"), Pictures(work / "test")
    weights = class_weights(pictures, min(400, config.pictures))
    log = work / "log.csv"
    start, first = time.monotonic(), training.step
    losses: list[float] = []
    while training.step < config.steps:
        losses.append(training.advance(*batch_of(config, pictures, training.step), weights))
        if training.step % 50 == 0:
            rate = (training.step - first) * config.batch / (time.monotonic() - start)
            row = [training.step, round(float(np.mean(losses)), 4), "", round(rate, 2)]
            losses.clear()
            if training.step % 200 == 0:
                training.save()
            if training.step % 500 == 0 or training.step == config.steps:
                row[2] = round(validate(training.average, held_out, min(100, config.validation))[0], 4)
            with log.open("a", newline="") as file:
                csv.writer(file).writerow(row)
            print(
                f"step {row[0]} of {config.steps}, loss {row[1]}, miou {row[2]}, {row[3]} images/s",
                flush=True,
            )
    training.save()
    return training


def main() -> int:
    """Draw or train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of pictures, checkpoint and log")
    parser.add_argument("--draw", action="store_true", help="render pictures instead of training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--weights", type=Path, help="write the averaged weights here (.safetensors) at the end"
    )
    options = parser.parse_args()
    config = Config.load(options.config)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    if options.draw:
        draw(config, options.work)
        return 0
    training = train(config, options.work)
    miou, iou = validate(training.average, Pictures(options.work / "test"), config.validation)
    print(f"held-out miou {miou:.4f}; per class {np.round(iou, 3).tolist()}")
    if options.weights is not None:
        from safetensors.torch import save_file  # noqa: PLC0415 - needed at the end only

        with atomic_path(options.weights) as path:
            save_file(
                {name: value.contiguous() for name, value in training.average.state_dict().items()}, path
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
