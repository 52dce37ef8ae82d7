"""The training loop of segmentation networks. Read `train` from top to bottom; all else is elsewhere."""

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn

from internimage_perception.errors import PerceptionError
from internimage_perception.models.checkpoints import save_checkpoint
from internimage_perception.training.batch_norm import synchronise_batch_norm
from internimage_perception.training.checkpoints import Checkpoints, RunState
from internimage_perception.training.config import TrainingConfig
from internimage_perception.training.data import TrainingData
from internimage_perception.training.learner import Learner
from internimage_perception.training.logs import RunLog
from internimage_perception.training.meters import Meters
from internimage_perception.training.networks import build_network, check_parts
from internimage_perception.training.run_folder import RunFolder
from internimage_perception.training.runtime import place_copy, start_fabric
from internimage_perception.training.updates import Updates
from internimage_perception.training.validation import Validation


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        weights: .safetensors of the averaged network, or of the last step's without an average.
        classes: names of the classes.
        size: rows and columns of the pictures that were trained on.
        scores: of the last validation, by name.
        skipped: samples that could not be read, since the run went on.
        reports: whether this process is the one that speaks for all.
    """

    weights: Path
    classes: tuple[str, ...]
    size: tuple[int, int]
    scores: Mapping[str, float]
    skipped: int
    reports: bool


AcceptClasses = Callable[[tuple[str, ...]], object]


def train(config: TrainingConfig, out: Path, *, accept: AcceptClasses | None = None) -> TrainingResult:
    """Train a segmentation network, or go on where an interrupted run stopped.

    Alone, or as one of the processes that `torchrun` started. A resumed run is the uninterrupted one: each
    step's pictures and random numbers follow from the seed and the step.

    Args:
        config: the run.
        out: its folder: checkpoints, tables, curves, weights (docs/training.md).
        accept: called with the names of the data's classes before anything is written; what it raises ends
            the run.

    Raises:
        ConfigError: settings that contradict each other, the data, or the run that the folder holds;
            another process trains in the folder.
        DatasetError: too many samples cannot be read.
        BundleError: the weights to begin from do not fit.
        PerceptionError: a checkpoint does not fit; the loss is no number; the folder cannot be written.
    """
    fabric = start_fabric(config)
    data = TrainingData(config, fabric)
    validation = None
    if config.validation is not None:
        validation = Validation(config.validation, data.classes, config.steps)
    if accept is not None:
        accept(data.classes)
    with closing(RunFolder(out)) as folder:
        if fabric.is_global_zero:
            folder.claim(config)
        fabric.barrier()
        return _train(config, fabric, folder, data, validation)


def _train(
    config: TrainingConfig,
    fabric: Fabric,
    folder: RunFolder,
    data: TrainingData,
    validation: Validation | None,
) -> TrainingResult:
    network: nn.Module = build_network(config, len(data.classes))
    check_parts(config, network, fabric.world_size)
    averaged = None if config.average is None else place_copy(fabric, copy.deepcopy(network))
    network.to(fabric.device)
    if config.sync_batch_norm:
        network = synchronise_batch_norm(network)
    model = fabric.setup_module(network)
    model.mark_forward_method("head_logits")
    updates = Updates(config, fabric, network, averaged)
    learner = Learner(config, fabric, model, updates.average, data)
    evaluated = network if averaged is None else averaged

    state = RunState(fabric, network, updates.average, updates.optimizers)
    checkpoints = Checkpoints(folder.checkpoints, config.keep_checkpoints)
    first = checkpoints.resume(fabric, state)
    meters = Meters()
    model.train()
    with (
        closing(RunLog(folder.path, first, config.steps, validation, speaks=fabric.is_global_zero)) as log,
        closing(data.steps(first)) as steps,
    ):
        scores = dict(fabric.broadcast(log.known_scores))
        if validation is not None and validation.due(first) and not scores:
            # It was ended after the checkpoint and before the scores.
            scores = validation.run(fabric, evaluated)
            log.scores(first, scores)
        for step, parts in steps:
            meters.add(learner.gradients(step, parts))
            updates.apply(step)

            done, last = step + 1, step + 1 == config.steps
            keeps = last or done % config.checkpoint_every == 0
            # At checkpoints too: a resumed run's tables are then those of the uninterrupted one.
            if keeps or done % config.log_every == 0:
                values = meters.take(fabric, config.batch)
                log.losses(done, {**values, "learning_rate": updates.learning_rate})
                log.skipped(done, data.take_failures())
                check_finite(values["loss"], done, folder.checkpoints)
            with meters.pause():
                if keeps:
                    checkpoints.save(fabric, state, done)
                if validation is not None and validation.due(done):
                    scores = validation.run(fabric, evaluated)
                    log.scores(done, scores)

    weights = state.weights()
    if fabric.is_global_zero:
        save_checkpoint(folder.weights, weights)
    fabric.barrier()
    return TrainingResult(
        folder.weights, data.classes, data.size, scores, data.skipped, fabric.is_global_zero
    )


def check_finite(loss: float, step: int, checkpoints: Path) -> None:
    """Raise PerceptionError when the loss is no number: what follows would be lost."""
    if not math.isfinite(loss):
        raise PerceptionError(
            f"the loss is {loss} at step {step}: lower optimizer.learning_rate or set optimizer.clip; the "
            f"checkpoints in {checkpoints} are from before"
        )
