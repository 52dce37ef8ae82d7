"""The network that a run trains: architecture, options of training, weights to begin from."""

import dataclasses
import logging
from pathlib import Path

import torch
from torch import nn

from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.models import Segmentor, create_model
from internimage_perception.models.checkpoints import load_checkpoint, load_weights
from internimage_perception.models.config import SegmentorConfig
from internimage_perception.models.layers import AveragePool
from internimage_perception.models.registry import load_config
from internimage_perception.training.config import TrainingConfig

_log = logging.getLogger(__name__)
_WEIGHTS = "weights.safetensors"


def architecture_of(config: TrainingConfig) -> SegmentorConfig:
    """Return the architecture, with what the run's configuration says about memory and auxiliary head.

    Raises ConfigError when it is no segmentation network.
    """
    found = load_config(config.model)
    if not isinstance(found, SegmentorConfig):
        raise ConfigError(
            f"model {config.model} is no segmentation network; take one such as upernet_internimage_t, or "
            "set head_channels and num_classes"
        )
    backbone = dataclasses.replace(found.backbone, with_cp=config.gradient_checkpointing)
    # A head without a loss gets no gradients, which processes would wait for.
    auxiliary = found.aux_channels if config.loss.auxiliary else None
    return dataclasses.replace(found, backbone=backbone, aux_channels=auxiliary)


def build_network(config: TrainingConfig, num_classes: int) -> Segmentor:
    """Return the network, its weights drawn by the run's seed, or those it begins from.

    Raises:
        ConfigError: the architecture is none for segmentation, or has not as many classes as the data.
        BundleError: the weights cannot be read, or none of them fits.
    """
    architecture = architecture_of(config)
    if architecture.num_classes != num_classes:
        raise ConfigError(
            f"the data has {num_classes} classes, model {config.model} has {architecture.num_classes}; write "
            f"model: {{base: NAME, num_classes: {num_classes}}}, or choose another label map"
        )
    torch.manual_seed(config.seed)
    network = create_model(architecture)
    assert isinstance(network, Segmentor)  # noqa: S101 - `architecture_of` refused others
    if config.drop_out is not None:
        for module in network.modules():
            if isinstance(module, nn.Dropout2d):
                module.p = config.drop_out
    if config.initial_weights is not None:
        _begin_from(network, config.initial_weights)
    return network


def check_parts(config: TrainingConfig, network: nn.Module, processes: int) -> None:
    """Raise ConfigError where a batch norm would see a single value: the average of a single picture."""
    if not any(isinstance(module, AveragePool) and module.regions == 1 for module in network.modules()):
        return
    shares = config.accumulate * (1 if config.sync_batch_norm else processes)
    batches = {"batch": config.batch}
    if config.self_training is not None:
        batches["self_training.batch"] = config.self_training.batch
    for name, batch in batches.items():
        if batch // shares <= 1:
            raise ConfigError(
                f"{name} {batch} in {shares} parts leaves a single picture to the batch norms of this "
                f"network, which need two; raise {name}, or have fewer parts (accumulate, sync_batch_norm)"
            )


def _begin_from(network: Segmentor, path: Path) -> None:
    file = path / _WEIGHTS if path.is_dir() else path
    report = load_weights(network, load_checkpoint(file), strict=False)
    lacking = {*report.missing, *(item.partition(":")[0] for item in report.misshaped)}
    if len(lacking) == len(network.state_dict()):
        raise BundleError(f"{path}: none of the weights fits the network ({report})")
    _log.info("began from %s: %s", path, report)
