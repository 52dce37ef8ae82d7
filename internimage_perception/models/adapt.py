"""Weights of one network fitted to a relative of it: fewer sampling points, fewer classes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.ops import DCNv3

StateDict = dict[str, torch.Tensor]

_HEAD = ("head.weight", "head.bias")


def drop_center_points(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> StateDict:
    """Return weights without the rows of central sampling points that `model` does without.

    A layer with `remove_center` has one point less per group than the official checkpoints, and the rest in
    the same order; with 3x3 points these are the rows with index % 9 == 4 of `mask` and index % 18 in
    (8, 9) of `offset`. Layers that keep their centre, and weights that lack it already, stay as they are.

    Args:
        model: the network that the weights are for.
        weights: names and tensors; those of a backbone may have the prefix `backbone.` or not.
    """
    state = dict(weights)
    for name, layer in model.named_modules():
        if not isinstance(layer, DCNv3) or not layer.remove_center:
            continue
        points = layer.points + 1
        for part, per_point in (("mask", 1), ("offset", 2)):
            for key in _spellings(f"{name}.{part}.weight") | _spellings(f"{name}.{part}.bias"):
                if key in state and state[key].shape[0] == layer.group * points * per_point:
                    state[key] = _without_center(state[key], points, per_point)
    return state


def _spellings(key: str) -> set[str]:
    return {key, f"backbone.{key}", key.removeprefix("backbone.")}


def _without_center(tensor: torch.Tensor, points: int, per_point: int) -> torch.Tensor:
    """Delete the middle one of `points`, each `per_point` rows long, from every group."""
    grouped = tensor.unflatten(0, (-1, points, per_point))
    middle = points // 2
    return torch.cat([grouped[:, :middle], grouped[:, middle + 1 :]], dim=1).flatten(0, 2)


def read_class_map(path: str | Path) -> list[int]:
    """Read which class of a large set each class of a small one is: one index, from 0, per line.

    The official file for ImageNet-22k to 1k has 1000 such lines. Empty lines at the end are ignored.

    Raises:
        ConfigError: the file is missing, empty, or a line is no index; the message names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read the class map {path}: {error}"
        raise ConfigError(message) from error
    if not lines:
        message = f"the class map {path} is empty; it needs one index per class, one per line"
        raise ConfigError(message)
    for number, line in enumerate(lines, 1):
        if not re.fullmatch(r"[0-9]{1,9}", line.strip()):
            message = f"the class map {path}, line {number}: {line!r} is no index; expected a number from 0"
            raise ConfigError(message)
    return [int(line) for line in lines]


def select_classes(weights: Mapping[str, torch.Tensor], indices: Sequence[int]) -> StateDict:
    """Return a classifier's weights with only the given rows of its head, in their order.

    That is how the official code starts a network of 1000 classes from one of 21841.

    Raises:
        BundleError: the weights have no classification head.
        ConfigError: an index lies beyond the head's classes.
    """
    state = dict(weights)
    if missing := [key for key in _HEAD if key not in state]:
        message = f"the weights have no {' and no '.join(missing)}: they are not those of a classifier"
        raise BundleError(message)
    count = state[_HEAD[0]].shape[0]
    wrong = next((index for index in indices if not 0 <= index < count), None)
    if wrong is not None:
        message = f"the class map names class {wrong}, but the weights have classes 0 to {count - 1}"
        raise ConfigError(message)
    rows = torch.tensor(list(indices), dtype=torch.long)
    return state | {key: state[key].index_select(0, rows.to(state[key].device)) for key in _HEAD}
