"""The pictures that nano is trained on: drawn from the procedural street, stored, cropped and varied."""

import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import yaml

from internimage_perception.data.street.classes import IGNORED, StreetClass
from internimage_perception.data.street.seeds import Split
from internimage_perception.files import atomic_path
from internimage_perception.inference.bundle import InputSpec

CLASSES = len(StreetClass) - 1
"""All but `StreetClass.IGNORED`."""
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cycle:
    """One fall of the learning rate from its peak to nearly nothing, the last steps on whole pictures."""

    steps: int
    whole_steps: int
    learning_rate: float
    pictures: int
    tall: bool
    stretch: float


@dataclass(frozen=True)
class Config:
    """What `config/training/nano.yaml` says."""

    architecture: str
    height: int
    width: int
    seed: int
    validation: int
    per_street: int
    crop: tuple[int, int]
    zoom: tuple[float, float]
    batch: int
    whole_zoom: tuple[float, float]
    whole_batch: int
    rarity: float
    weight_decay: float
    warm_up: int
    ema: float
    cycles: tuple[Cycle, ...]

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Read the file; unknown or missing fields end the program."""
        content = yaml.safe_load(path.read_text())
        known = {item.name for item in fields(cls)}
        if set(content) != known:
            raise SystemExit(f"{path}: fields differ from what is needed: {sorted(set(content) ^ known)}")
        cycles = tuple(Cycle(**cycle) for cycle in content.pop("cycles"))
        return cls(cycles=cycles, **content)

    @property
    def pictures(self) -> int:
        """Pictures of the last cycle, which holds those of all."""
        return self.cycles[-1].pictures

    @property
    def steps(self) -> int:
        """Steps of all cycles."""
        return sum(cycle.steps for cycle in self.cycles)

    def cycle_at(self, step: int) -> tuple[Cycle, int]:
        """Return the cycle that a step belongs to, and the step's number in it."""
        for cycle in self.cycles[:-1]:
            if step < cycle.steps:
                return cycle, step
            step -= cycle.steps
        return self.cycles[-1], step

    def tall_street(self, street: int) -> bool:
        """Whether a training street is seen from tall vehicles: as the cycle that first shows it says."""
        first = street * self.per_street
        return next((cycle.tall for cycle in self.cycles if first < cycle.pictures), False)


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
        decoded = self.folder / "decoded" / f"{number:06d}.npy"
        if not decoded.exists():
            # Decoding takes as long as everything else that is done to a picture: once is enough.
            image = cv2.imread(str(self._path(number, "image")), cv2.IMREAD_COLOR)
            labels = cv2.imread(str(self._path(number, "labels")), cv2.IMREAD_UNCHANGED)
            assert image is not None and labels is not None  # noqa: S101, PT018 - written whole or not at all
            with atomic_path(decoded) as path, path.open("wb") as file:
                np.save(file, np.concatenate([image[..., ::-1], labels[..., None]], axis=2))
        both = np.load(decoded)
        return both[..., :3], both[..., 3]

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / f"{number // 1000:03d}" / f"{number:06d}_{kind}.png"


def draw(config: Config, work: Path, workers: int) -> None:
    """Render the validation pictures, then the training pictures; streets are shared out among processes."""
    splits: tuple[tuple[Split, int], ...] = (("test", config.validation), ("train", config.pictures))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for split, count in splits:
            streets = range(-(-count // config.per_street))
            jobs = [pool.submit(_draw_street, config, work / split, split, street) for street in streets]
            for done, job in enumerate(jobs, 1):
                job.result()
                if done % 10 == 0 or done == len(jobs):
                    print(f"{split}: {min(count, done * config.per_street)} of {count} drawn", flush=True)


def _draw_street(config: Config, folder: Path, split: Split, street: int) -> None:
    from internimage_perception.data.street.samples import random_samples  # noqa: PLC0415 - only drawing renders

    count = config.validation if split == "test" else config.pictures
    pictures = Pictures(folder)
    numbers = range(street * config.per_street, min(count, (street + 1) * config.per_street))
    if all(pictures.has(number) for number in numbers):
        return
    samples = random_samples(
        config.seed + street, config.per_street, width=config.width, height=config.height, split=split,
        tall=split == "train" and config.tall_street(street),
    )  # fmt: skip
    for number, (image, labels) in zip(numbers, samples, strict=False):
        pictures.write(number, image, labels)


def augment(
    image: Pixels,
    labels: Pixels,
    size: tuple[int, int],
    zoom: tuple[float, float],
    stretch: float,
    random: np.random.Generator,
) -> tuple[Pixels, Pixels]:
    """Flip, rotate, zoom, stretch, crop to `size` (height, width), change colours; label edges stay exact.

    Height and width are scaled apart by up to e to the power of `stretch`. Every second crop is centred on a
    class chosen by lot among those in the picture, however small.
    """
    height, width = labels.shape
    point = np.array([random.uniform(0, width), random.uniform(0, height)])
    present = np.flatnonzero(np.bincount(labels.reshape(-1), minlength=256)[:IGNORED])
    if len(present) and random.random() < 0.5:
        pixels_of_class = np.flatnonzero(labels.reshape(-1) == random.choice(present))
        row, column = divmod(int(random.choice(pixels_of_class)), width)
        point = np.array([column, row])
    scale = math.exp(random.uniform(math.log(zoom[0]), math.log(zoom[1])))
    # Frames of another shape than the network's input are stretched to it.
    wider = math.exp(random.uniform(-stretch, stretch) / 2) if stretch else 1.0
    scales = scale * np.array([wider, 1 / wider])
    turn = math.radians(random.normal(0.0, 2.0))
    matrix = scales[:, None] * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    # The crop lies inside the picture as far as it can, somewhere around the point.
    center = [
        np.clip(
            point[axis] + random.uniform(-0.4, 0.4) * crop / scales[axis],
            *sorted((crop / 2 / scales[axis], side - crop / 2 / scales[axis])),
        )
        for axis, (crop, side) in enumerate(((size[1], width), (size[0], height)))
    ]
    if random.random() < 0.5:
        matrix[0] *= -1
    shift = np.array([size[1] / 2, size[0] / 2]) - matrix @ np.array(center)
    transform = np.concatenate([matrix, shift[:, None]], axis=1)
    out = (size[1], size[0])
    warped = cv2.warpAffine(image, transform, out, flags=cv2.INTER_LINEAR)
    classes = cv2.warpAffine(
        labels, transform, out, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=IGNORED
    )
    pixels = np.asarray(warped, np.float32)
    gray = pixels.mean(axis=2, keepdims=True)
    # Light and colours vary in the pictures already: a little more is enough.
    pixels = gray + (pixels - gray) * np.float32(random.uniform(0.7, 1.3))
    pixels *= random.uniform(0.95, 1.05, 3).astype(np.float32) * np.float32(random.uniform(0.85, 1.15))
    pixels += np.float32(random.uniform(-8, 8))
    return np.clip(pixels, 0, 255).astype(np.uint8), np.asarray(classes, np.uint8)


def prepare(images: list[Pixels]) -> torch.Tensor:
    """Return normalised images (N, 3, H, W)."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(images))).permute(0, 3, 1, 2).float()
    spec = InputSpec(height=stacked.shape[2], width=stacked.shape[3])
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return (stacked - mean) / std


def batch_of(
    config: Config, pictures: Pictures, step: int, rank: int, ranks: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one process's part of a step, the same whenever it is asked for.

    The last steps of a cycle see whole pictures.
    """
    random = np.random.default_rng((config.seed, step, rank))
    count, size, zoom = config.batch, config.crop, config.zoom
    cycle, done = config.cycle_at(step)
    if done >= cycle.steps - cycle.whole_steps:
        count, size, zoom = config.whole_batch, (config.height, config.width), config.whole_zoom
    numbers = random.integers(cycle.pictures, size=max(1, count // ranks))
    pairs = [augment(*pictures.read(int(number)), size, zoom, cycle.stretch, random) for number in numbers]
    labels = np.stack([pair[1] for pair in pairs]).astype(np.int64)
    return prepare([pair[0] for pair in pairs]), torch.from_numpy(labels)
