"""Weights: into and out of files, and into networks of another kind than they were saved from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from internimage_perception.errors import BundleError
from internimage_perception.files import write_bytes
from internimage_perception.models.checkpoint_files import StateDict, read_checkpoint
from internimage_perception.models.internimage import InternImage

_CLASSIFIER = ("head.", "conv_head.", "clip_projector.", "fc_norm.", "dcnv3_head_x3.", "dcnv3_head_x4.")
"""Parts of ImageNet checkpoints that a dense backbone has no use for."""
_LISTED = 8


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What did not match when weights were loaded.

    Attributes:
        missing: keys of the model that the weights lack.
        unexpected: keys of the weights that the model lacks.
        misshaped: keys in both whose shapes differ, as "key: (file's shape), model has (shape)".
        ignored: keys left out on purpose: classification heads, an auxiliary head.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        """Return the differences for people, the first few of each kind."""
        kinds = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.misshaped),
        )
        parts = []
        for label, keys in kinds:
            if keys:
                more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
                parts.append(f"{len(keys)} {label}: {', '.join(keys[:_LISTED])}{more}")
        return "; ".join(parts) or "all keys match"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a safetensors file keeps the values of one tensor, row by row and little-endian.

    Attributes:
        dtype: the format's name of the type, such as "F16" or "F32".
        shape: the tensor's shape.
        offset: first byte, counted from the start of the file.
        length: number of bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def load_checkpoint(path: str | Path, *, trust_pickle: bool = False) -> StateDict:
    """Read the weights of a .safetensors or PyTorch file, on the CPU.

    A training checkpoint's `state_dict` or `model` entry is taken; `module.` and `model.` in front of
    every key fall away.

    Args:
        path: the file.
        trust_pickle: let a PyTorch file run code while it is read. Such a file can do anything the user
            can: only for files from a source you trust.

    Raises:
        BundleError: the file is missing, damaged, or would have to run code.
    """
    return read_checkpoint(path, trust_pickle=trust_pickle).weights


def save_checkpoint(
    path: Path,
    state: Mapping[str, torch.Tensor],
    *,
    half: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights as safetensors, atomically.

    Args:
        path: the file.
        state: names and tensors.
        half: store floats as float16, except tensors whose values do not fit its range.
        metadata: texts to put into the file's header.
    """
    tensors = {key: (to_half(value) if half else value).contiguous().cpu() for key, value in state.items()}
    write_bytes(path, save(tensors, metadata=dict(metadata or {})))


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Return where each tensor of a safetensors file lies. Raises BundleError when it is no such file."""
    try:
        # The library checks the whole header: types, and that the tensors fill the file without a gap.
        with safe_open(path, framework="pt"), path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        message = f"{path} is no safetensors file or damaged: {error}"
        raise BundleError(message) from error
    header.pop("__metadata__", None)
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        offset = 8 + length + start
        tensors[name] = StoredTensor(entry["dtype"], tuple(entry["shape"]), offset, end - start)
    return tensors


def to_half(tensor: torch.Tensor) -> torch.Tensor:
    """Return a float tensor as float16, or unchanged when a value would overflow; other types unchanged."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    return half if torch.equal(half.isfinite(), tensor.isfinite()) else tensor


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], *, strict: bool = True) -> LoadReport:
    """Copy weights into a model; adapts keys between backbone and segmentor.

    A backbone takes the `backbone.` part of a segmentor's weights; a segmentor takes a bare backbone's
    weights as its backbone (its heads then count as missing). Classification heads are left out, and so is
    an auxiliary head the model was built without. Values are converted to the model's type.

    Args:
        model: `InternImage` or `Segmentor`.
        weights: names and tensors, such as from `load_checkpoint`.
        strict: refuse any difference; otherwise load what matches and report the rest.

    Returns:
        What did not match.

    Raises:
        BundleError: with `strict`, listing missing, unexpected and misshaped keys; weights that are whole
            numbers.
    """
    report, fitting = _compare(model, weights)
    if strict and (report.missing or report.unexpected or report.misshaped):
        hint = ""
        if any(".conv_seg." in difference for difference in report.misshaped):
            hint = "; the number of classes differs: build the model with the weights' num_classes"
        message = f"the weights do not fit the model: {report}{hint}"
        raise BundleError(message)
    own = model.state_dict()
    whole = [
        key
        for key, value in fitting.items()
        if own[key].is_floating_point() and not value.is_floating_point()
    ]
    if whole:
        message = (
            f"{len(whole)} of the weights are whole numbers, such as {whole[0]}, as after quantisation, "
            "whose scales are not known here; take the weights from before it"
        )
        raise BundleError(message)
    model.load_state_dict(fitting, strict=False)
    return report


def compare_weights(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> LoadReport:
    """Return what `load_weights` would not match, by names and shapes; neither side needs values."""
    return _compare(model, weights)[0]


def _compare(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> tuple[LoadReport, StateDict]:
    """Return what does not match, and what does, under the model's keys."""
    own = model.state_dict()
    state, ignored = _adapt(model, dict(weights), set(own))
    misshaped = {
        key: f"{key}: {tuple(value.shape)}, model has {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    }
    report = LoadReport(
        missing=tuple(key for key in own if key not in state),
        unexpected=tuple(key for key in state if key not in own),
        misshaped=tuple(misshaped.values()),
        ignored=tuple(ignored),
    )
    return report, {key: value for key, value in state.items() if key in own and key not in misshaped}


def _adapt(model: nn.Module, state: StateDict, own: set[str]) -> tuple[StateDict, list[str]]:
    """Return the weights under the model's keys, and the keys left out on purpose."""
    ignored: list[str] = []
    prefix = "backbone."
    if isinstance(model, InternImage) and any(key.startswith(prefix) for key in state):
        ignored += [key for key in state if not key.startswith(prefix)]
        state = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    elif not isinstance(model, InternImage) and any(key.startswith("patch_embed.") for key in state):
        ignored += [key for key in state if key.startswith(_CLASSIFIER)]
        state = {prefix + key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
    unused = [key for key in state if key not in own and key.startswith((*_CLASSIFIER, "auxiliary_head."))]
    return {key: value for key, value in state.items() if key not in unused}, ignored + unused
