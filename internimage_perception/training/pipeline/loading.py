"""`batches`: the batches of a run's steps, prepared by several processes, the same for any number of them."""

import multiprocessing
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from internimage_perception.data.sample import Bytes
from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.training.pipeline.stream import Drawn, Failure, SampleStream


@dataclass(frozen=True)
class Batch:
    """One process's part of a step.

    Attributes:
        step: from 0 on.
        part: of the step, where its pictures are accumulated in parts; from 0 on.
        images: RGB, uint8 (n, 3, h, w).
        labels: class ids, uint8 (n, h, w), 255 ignored; of unlabelled pictures 0 where they show the scene.
        names: of the samples.
        failures: samples that others were taken instead of.
        student_images: the images after the student's further operations, or None.
    """

    step: int
    part: int
    images: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]
    failures: tuple[Failure, ...]
    student_images: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch with its tensors on a device; copies from pinned memory do not wait."""
        student = self.student_images
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            student_images=None if student is None else student.to(device, non_blocking=True),
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in memory that CUDA copies from; the data loader calls it."""
        student = self.student_images
        return replace(
            self,
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            student_images=None if student is None else student.pin_memory(),
        )


class StepBatches(Dataset["Batch"]):
    """The parts of steps by number: `step * accumulate + part`.

    Sample j of step s is the stream's number s * batch + j, and part m of process r takes the n samples from
    j = (m * ranks + r) * n on: any number of processes sees the same samples in a step.

    Args:
        stream: the samples.
        batch: samples of a step, over all processes and parts.
        rank: number of this process.
        ranks: processes that share the batch.
        accumulate: parts that each process's samples are split into.

    Raises:
        ConfigError: the batch cannot be shared out evenly.
    """

    def __init__(
        self, stream: SampleStream, batch: int, *, rank: int = 0, ranks: int = 1, accumulate: int = 1
    ) -> None:
        if min(batch, ranks, accumulate) < 1 or not 0 <= rank < ranks:
            raise ConfigError(f"batch {batch}, rank {rank} of {ranks} or accumulate {accumulate} is wrong")
        if batch % (ranks * accumulate):
            parts = ranks * accumulate
            raise ConfigError(
                f"a batch of {batch} cannot be shared evenly by {ranks} processes in {accumulate} "
                f"parts each; "
                f"set batch to {max(1, batch // parts) * parts} or {(batch // parts + 1) * parts}, or change "
                "accumulate or the number of processes"
            )
        self._stream, self._batch = stream, batch
        self._rank, self._ranks, self._accumulate = rank, ranks, accumulate

    def __getitem__(self, index: int) -> Batch:
        """Return a part of a step.

        Raises:
            ConfigError: its pictures differ in size.
            DatasetError: too many samples in a row cannot be used.
        """
        step, part = divmod(index, self._accumulate)
        count = self._batch // (self._ranks * self._accumulate)
        first = step * self._batch + (part * self._ranks + self._rank) * count
        drawn = [self._stream[number] for number in range(first, first + count)]
        _check_sizes(drawn)
        labels = np.stack([item.sample.labels for item in drawn if item.sample.labels is not None])
        students = [item.student_image for item in drawn if item.student_image is not None]
        return Batch(
            step,
            part,
            _planes([item.sample.image for item in drawn]),
            torch.from_numpy(labels),
            tuple(item.sample.name for item in drawn),
            tuple(failure for item in drawn for failure in item.failures),
            _planes(students) if students else None,
        )


def batches(
    stream: SampleStream,
    batch: int,
    *,
    first_step: int,
    last_step: int,
    workers: int = 0,
    rank: int = 0,
    ranks: int = 1,
    accumulate: int = 1,
) -> Generator[Batch, None, None]:
    """Yield the parts of steps, in order: those of one step after the other.

    The same for any number of workers and wherever it begins. Close the iterator to end the workers early.

    Args:
        stream: the samples.
        batch: samples of a step, over all processes and parts.
        first_step: the first one, from 0 on.
        last_step: the one after the last.
        workers: processes that prepare them; 0: prepared when asked for.
        rank: see `StepBatches`.
        ranks: see `StepBatches`.
        accumulate: see `StepBatches`.

    Raises:
        ConfigError: the batch cannot be shared out evenly, or pictures of a batch differ in size.
        DatasetError: too many samples in a row cannot be used.
        PerceptionError: a worker ended unexpectedly.
    """
    parts = StepBatches(stream, batch, rank=rank, ranks=ranks, accumulate=accumulate)
    wanted = range(first_step * accumulate, last_step * accumulate)
    return _loaded(parts, wanted, workers) if workers else (parts[index] for index in wanted)


def _loaded(parts: StepBatches, wanted: range, workers: int) -> Generator[Batch, None, None]:
    loader = DataLoader(
        _Answers(parts),
        batch_size=None,
        sampler=wanted,
        num_workers=min(workers, max(1, len(wanted))),
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        # Not forked: threads of CUDA and OpenCV would be lost.
        multiprocessing_context=multiprocessing.get_context("spawn"),
        worker_init_fn=_begin,
        # Of its own: the loader would draw from the generator that dropout uses.
        generator=torch.Generator(),
    )
    with _interrupts_held_back():
        answers = iter(loader)
    while True:
        try:
            answer = next(answers)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            message = "a process that prepares samples ended unexpectedly (memory?); try fewer data.workers"
            raise PerceptionError(message) from error
        if isinstance(answer, PerceptionError):
            raise answer
        yield answer


class _Answers(Dataset["Batch | PerceptionError"]):
    """Batches, or why there is none: errors for people cross to another process as they are."""

    def __init__(self, parts: StepBatches) -> None:
        self._parts = parts

    def __getitem__(self, index: int) -> Batch | PerceptionError:
        try:
            return self._parts[index]
        except PerceptionError as error:
            return error


def _as_it_is(answer: Any) -> Any:  # noqa: ANN401 - as the data loader's interface has it
    return answer


def _begin(_worker: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    # Whoever reads the batches ends the workers; they need not complain on their own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _complain


def _complain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nothing caught, unless it says that whoever reads the batches is gone."""
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let processes begin with Ctrl-C blocked, so that none is interrupted while it imports."""
    if sys.platform == "win32":
        yield
        return
    # It unblocks Ctrl-C when it starts, which it would do with the first worker.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _planes(images: list[Bytes]) -> torch.Tensor:
    """Return pictures (h, w, 3) as one tensor (n, 3, h, w)."""
    height, width = images[0].shape[:2]
    planes = np.empty((len(images), 3, height, width), np.uint8)
    for image, target in zip(images, planes, strict=True):
        cv2.split(image, [target[0], target[1], target[2]])
    return torch.from_numpy(planes)


def _check_sizes(drawn: list[Drawn]) -> None:
    first = drawn[0].sample
    for item in drawn:
        sample, student = item.sample, item.student_image
        if sample.image.shape != first.image.shape:
            raise ConfigError(
                f"pictures of a batch must have one size, but {first.name} has {_size(first.image)} "
                f"pixels and "
                f"{sample.name} {_size(sample.image)}; end the pipeline with crop, or resize with `size`"
            )
        if student is not None and student.shape != sample.image.shape:
            raise ConfigError(
                f"{sample.name}: the student's picture has {_size(student)} pixels, the teacher's "
                f"{_size(sample.image)}; operations of student_pipeline must not move pixels"
            )


def _size(image: Bytes) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
