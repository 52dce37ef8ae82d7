"""The optimisers of a run, with the official groups of parameters."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from internimage_perception.training.config import OptimizerConfig
from internimage_perception.training.layer_decay import parameter_groups
from internimage_perception.training.muon import Muon

_FOR_ADAM = {
    # What turns features into answers, ...
    "conv_seg", "head", "cls_embed", "cls_branches", "fc_cls", "rpn_cls", "conv_logits",
    # ... and tables of vectors.
    "level_embeds", "query_embed", "query_feat", "level_embed",
}  # fmt: skip


class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW in its fused form, whose gradients may be clipped under loss scaling too.

    Fused, one pass over the memory does a step: on a CPU too, and parameter shards (DTensor) take it.
    """

    def __init__(
        self, groups: list[dict[str, Any]], learning_rate: float, betas: tuple[float, float]
    ) -> None:
        super().__init__(groups, lr=learning_rate, betas=betas, fused=True)
        # The fused form offers to divide gradients by the loss scale itself, while it steps. Fabric then
        # refuses to clip them, which must come in between.
        self._step_supports_amp_scaling = False


def create_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers that together train all parameters that are not frozen.

    AdamW alone; or Muon for what mixes channels (linear layers, convolutions but depthwise ones) and AdamW
    for all else: depthwise kernels, classifiers, tables of vectors, norms and biases.

    Every group has `initial_lr`, the layer decay included, and the entries of `parameter_groups`. State
    dicts restore every value; the learning rate is for `set_learning_rate`.
    """
    groups = parameter_groups(model, config.learning_rate, config.weight_decay, config.layer_decay)
    for group in groups:
        group["initial_lr"] = group["lr"]
    found: list[torch.optim.Optimizer] = []
    if config.kind == "muon":
        tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        matrices, groups = _split(groups, tables)
        if matrices:
            found.append(Muon(matrices, lr=config.learning_rate, weight_decay=config.weight_decay))
    if groups:
        found.append(AdamW(groups, config.learning_rate, config.betas))
    return found


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set the learning rate of every group to a multiple of its highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


def mixes_channels(name: str, parameter: torch.Tensor) -> bool:
    """Return whether a parameter is a matrix from channels to channels inside the network."""
    return parameter.ndim > 1 and parameter.shape[1] > 1 and _FOR_ADAM.isdisjoint(name.split("."))


def _split(
    groups: list[dict[str, Any]], tables: set[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the groups' matrices and all else, both as groups."""
    halves: tuple[list[dict[str, Any]], list[dict[str, Any]]] = [], []
    for group in groups:
        pairs = list(zip(group["param_names"], group["params"], strict=True))
        matrices = [(name, p) for name, p in pairs if mixes_channels(name, p) and id(p) not in tables]
        chosen = {name for name, _ in matrices}
        others = [(name, p) for name, p in pairs if name not in chosen]
        for half, members in zip(halves, (matrices, others), strict=True):
            if members:
                names, parameters = zip(*members, strict=True)
                half.append({**group, "param_names": list(names), "params": list(parameters)})
    return halves
