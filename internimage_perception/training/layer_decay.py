"""Learning rates that fall towards the first layers: InternImage's official groups of parameters.

The official networks were fine-tuned with these (`CustomLayerDecayOptimizerConstructor`, in a version for
segmentation and one for detection), oddities included: a rate that was found with them fits only them.
"""

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from internimage_perception.errors import ConfigError
from internimage_perception.models.internimage import InternImage

# What Fabric, DDP, compiling and recomputing put into the names of the modules they wrap.
_WRAPPERS = re.compile(
    r"^(?:(?:_forward_module|module|_orig_mod)\.)+|(?:_orig_mod|_checkpoint_wrapped_module)\."
)
_PLACE = re.compile(r"backbone\.levels\.(\d+)\.(?:norm\.|downsample\.|\w+\.(\d+)\.)")
_FIRST = (
    "backbone.patch_embed",
    # Queries and predictors of Mask2Former, though they are the last to be used, learn the slowest.
    *(
        f"decode_head.{name}"
        for name in ("mask_embed", "cls_embed", "level_embed", "query_embed", "query_feat")
    ),
)
_NEVER_DECAYED = ("norm", "relative_position", "sampling_offsets")
_OFFSETS = ("sampling_offsets", "reference_points")


def layer_of(name: str, depths: Sequence[int]) -> int:
    """Return the layer that a parameter counts for, from 0 to sum(depths) + 1.

    0 is the stem, 1 to sum(depths) are the blocks, the last one is everything behind the backbone.

    Args:
        name: as in a segmentor or detector, `backbone.levels.0.blocks.0.dcn.mask.bias`.
        depths: blocks of the backbone's stages.
    """
    if name.startswith(_FIRST) or "level_embeds" in name:
        return 0
    if (found := _PLACE.match(name)) is None:
        return sum(depths) + 1
    stage, index = int(found[1]), found[2]
    if index is not None:
        # Norms between blocks (`post_norms.3`) have their own numbers, and count for the block so numbered.
        return 1 + sum(depths[:stage]) + int(index)
    # What follows a stage counts for the next one's first block; the last stage has none next to it.
    return 1 + sum(depths[: min(stage + 1, len(depths) - 1)])


def decays(name: str, dimensions: int) -> bool:
    """Return whether weight decay is for a parameter: not for vectors, biases, norms and offsets."""
    return dimensions > 1 and not name.endswith(".bias") and not any(part in name for part in _NEVER_DECAYED)


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float,
    *,
    detection: bool = False,
    dino_head: bool = False,
    offset_lr_scale: float = 1.0,
    backbone_small_lr: bool = False,
) -> list[dict[str, Any]]:
    """Return the official groups, for an optimiser of PyTorch, in the order of the model's parameters.

    A layer's learning rate is `learning_rate * layer_decay ** (layers after it)`.

    Args:
        model: bare backbone, segmentor, detector; frozen parameters are left out.
        learning_rate: of the last layer.
        weight_decay: of matrices and kernels; see `decays`.
        layer_decay: in (0, 1]; 1: all layers learn alike.
        detection: the version for detection, where `offset_lr_scale` is for the whole network; in that for
            segmentation it is for the backbone alone, and InternImage's has no such parameters.
        dino_head: sampling offsets and reference points of the heads learn at a tenth of the rate.
        offset_lr_scale: factor on the rate of sampling offsets and reference points. Those of DCNv3 are
            called otherwise and not among them.
        backbone_small_lr: every layer but the last learns at a further tenth.

    Returns:
        Groups with `params`, `param_names`, `lr`, `weight_decay`, `lr_scale` (the rate's share of
        `learning_rate`) and `name` ("layer_3_no_decay").

    Raises:
        ConfigError: `layer_decay` below 1 for a network without InternImage.
    """
    prefix, depths = _backbone_of(model)
    trained = [(_plain(name), p) for name, p in model.named_parameters() if p.requires_grad]
    if layer_decay != 1.0 and not depths:
        raise ConfigError(
            f"layer_decay {layer_decay} counts the layers of InternImage, which must be the network or its "
            "part `backbone`"
        )
    last = sum(depths) + 1
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in trained:
        layer, decayed = layer_of(prefix + name, depths), decays(name, parameter.ndim)
        scale = layer_decay ** (last - layer)
        if backbone_small_lr and scale < 1:
            scale *= 0.1
        label = f"layer_{layer}_{'decay' if decayed else 'no_decay'}"
        if any(part in name for part in _OFFSETS):
            if dino_head:
                label, scale = f"{label}_0.1x", scale * 0.1
            elif detection or "backbone" in prefix + name:
                label, scale = f"{label}_offset_lr_scale", scale * offset_lr_scale
        group = groups.setdefault(
            label,
            {
                "params": [],
                "param_names": [],
                "lr": learning_rate * scale,
                "weight_decay": weight_decay if decayed else 0.0,
                "lr_scale": scale,
                "name": label,
            },
        )
        group["params"].append(parameter)
        group["param_names"].append(name)
    return list(groups.values())


def _backbone_of(model: nn.Module) -> tuple[str, tuple[int, ...]]:
    """Return what makes the model's names those of a segmentor, and the depths of its InternImage."""
    for path, module in model.named_modules():
        if isinstance(module, InternImage):
            place = _plain(f"{path}.") if path else ""
            if not place or place.startswith("backbone."):
                return "" if place else "backbone.", module.config.depths
    return "", ()


def _plain(name: str) -> str:
    return _WRAPPERS.sub("", name)
