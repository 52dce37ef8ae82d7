"""Which network a file's weights belong to, from their names and shapes alone."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from internimage_perception.errors import BundleError
from internimage_perception.models.backbone_shapes import Shape, describe_backbone, recognise_backbone
from internimage_perception.models.checkpoint_files import StateDict
from internimage_perception.models.checkpoints import LoadReport, compare_weights
from internimage_perception.models.config import (
    ClassifierConfig,
    Config,
    InternImageConfig,
    SegmentorConfig,
    parse_config,
    to_mapping,
)
from internimage_perception.models.flops import count_parameters
from internimage_perception.models.head_shapes import recognise_head, unsupported_parts
from internimage_perception.models.registry import create_model, load_config, model_names

_OPERATOR = re.compile(r"(.*?)levels\.\d+\.blocks\.\d+\.dcn\.")
_EXPECTED = (
    "patch_embed.conv1.weight", "levels.0.blocks.0.dcn.offset.weight", "levels.0.blocks.0.mlp.fc1.weight",
)  # fmt: skip
_SHOWN = 5
_TRAINING_ONLY = ("drop_path_rate", "with_cp", "out_indices")
_ADJUSTABLE = ("num_classes", "aux_channels", "layer_scale", "offset_scale")
"""Fields that may differ from a registered network's without making another network of it."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """A recognised network.

    Attributes:
        config: what the network is.
        architecture: the same for `create_model` and `create_bundle`: a registered name, such a name as
            `base` with what differs, or all fields.
        registered: that name; None when no registered network is like it.
        variant: "T", "S", "B", "L", "XL", "H", "G", "nano", or "own".
        task: "segmentation", "classification" or "backbone".
        classes: of the answers; None for a backbone.
        prefix: of the backbone's keys in the weights.
        found: backbone and head in words.
        assumed: what of the network is no property of its weights, in words.
    """

    config: Config
    architecture: str | dict[str, object]
    registered: str | None
    variant: str
    task: str
    classes: int | None
    prefix: str
    found: tuple[str, ...]
    assumed: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for people."""
        classes = "" if self.classes is None else f", {self.classes} classes"
        return f"{_name(self.variant)}, {self.task}{classes}"


@dataclass(frozen=True, slots=True)
class FittedWeights:
    """Weights under the keys of a recognised network.

    Attributes:
        state: what fits, in the network's order.
        report: what does not: `missing` and `misshaped` forbid using it, `unexpected` could not be placed,
            `ignored` was left out on purpose.
        parameters: learned numbers of the network.
    """

    state: StateDict
    report: LoadReport
    parameters: int


def recognise(
    weights: Mapping[str, torch.Tensor],
    *,
    backbone_only: bool = False,
    offset_scale: float | None = None,
    post_norm_blocks: Sequence[int] | None = None,
    attention_heads: int | None = None,
) -> Recognition:
    """Recognise the network that weights belong to; their values are not looked at.

    Args:
        weights: under plain keys, as `read_checkpoint` gives them; tensors without values serve.
        backbone_only: take the backbone alone, of networks that this package cannot run too.
        offset_scale: see `recognise_backbone`.
        post_norm_blocks: see `recognise_backbone`.
        attention_heads: of the head of H and G; default: one per 64 channels.

    Raises:
        BundleError: the weights are those of something else, of a network that this package cannot run yet,
            or contradict each other.
        ConfigError: no network can be built from these sizes.
    """
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    prefix = _prefix(shapes, backbone_only)
    own = {key[len(prefix) :]: shape for key, shape in shapes.items() if key.startswith(prefix)}
    backbone, assumed = recognise_backbone(own, offset_scale=offset_scale, post_norm_blocks=post_norm_blocks)
    variant, _ = _registered(backbone)
    label = _label(variant)
    found = [f"backbone: {describe_backbone(backbone)}"]
    config: Config = backbone
    if not backbone_only:
        unsupported = unsupported_parts(shapes)
        if unsupported is None and prefix not in ("", "backbone."):
            unsupported = f"a network whose backbone is called {prefix.rstrip('.')}"
        if unsupported is not None:
            message = (
                f"the weights are those of {unsupported}, with {_name(label)}; this package cannot run that "
                "yet. Its backbone alone can be taken (backbone_only=True, command line: --backbone-only)"
            )
            raise BundleError(message)
        head = recognise_head(shapes, prefix, backbone.widths, attention_heads)
        found.append(f"head: {head.words}")
        assumed += head.assumed
        if head.fields:
            config = parse_config(to_mapping(backbone) | dict(head.fields))
    registered, differing = _registered(config)
    return Recognition(
        config=config,
        architecture=_architecture(config, registered, differing),
        registered=registered,
        variant=label,
        task=_task(config),
        classes=None if isinstance(config, InternImageConfig) else config.num_classes,
        prefix=prefix,
        found=tuple(found),
        assumed=assumed,
    )


def fit_weights(recognition: Recognition, weights: Mapping[str, torch.Tensor]) -> FittedWeights:
    """Put weights under the keys of the recognised network, and compare the two; nothing is copied."""
    left: tuple[str, ...] = ()
    if isinstance(recognition.config, InternImageConfig):
        prefix = recognition.prefix
        left = tuple(key for key in weights if not key.startswith(prefix))
        weights = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    with torch.device("meta"):
        model = create_model(recognition.config)
    report = compare_weights(model, weights)
    return FittedWeights(
        state={key: weights[key] for key in model.state_dict() if key in weights},
        report=LoadReport(report.missing, report.unexpected, report.misshaped, left + report.ignored),
        parameters=count_parameters(model),
    )


def _prefix(shapes: Mapping[str, Shape], backbone_only: bool) -> str:
    """Return what is in front of the backbone's keys."""
    prefixes = sorted({match[1] for key in shapes if (match := _OPERATOR.match(key))}, key=len)
    if not prefixes:
        shown = ", ".join(list(shapes)[:_SHOWN])
        message = (
            f"the weights are not those of an InternImage: expected keys such as {', '.join(_EXPECTED)}; "
            f"found {shown}{', ...' if len(shapes) > _SHOWN else ''}"
        )
        raise BundleError(message)
    # Of two backbones in one network, the second may do without a stem of its own.
    whole = [prefix for prefix in prefixes if f"{prefix}patch_embed.conv2.weight" in shapes]
    official = [prefix for prefix in prefixes if prefix in ("", "backbone.")]
    return [*official, *whole, *prefixes][0] if not backbone_only else [*whole, *prefixes][0]


def _registered(config: Config) -> tuple[str | None, dict[str, object]]:
    """Return the registered network that is most like it, with the fields in which they differ."""
    best: tuple[str | None, dict[str, object]] = (None, {})
    own = _essential(config)
    for name, registered in _registered_configs():
        if type(registered) is not type(config):
            continue
        known = _essential(registered)
        differing = {key: value for key, value in own.items() if value != known[key]}
        if not set(differing) <= set(_ADJUSTABLE):
            continue
        if best[0] is None or len(differing) < len(best[1]):
            best = name, differing
    return best


@functools.cache
def _registered_configs() -> tuple[tuple[str, Config], ...]:
    return tuple((name, load_config(name)) for name in model_names())


def _essential(config: Config) -> dict[str, object]:
    """Return the fields that matter once there are weights; of the layer scale, whether it is there."""
    fields = {key: value for key, value in to_mapping(config).items() if key not in _TRAINING_ONLY}
    return fields | {"layer_scale": None if fields["layer_scale"] is None else 1.0}


def _label(registered: str | None) -> str:
    if registered is None:
        return "own"
    variant = registered.rpartition("_")[2]
    return variant.upper() if len(variant) <= 2 else variant


def _name(label: str) -> str:
    return "InternImage of its own kind" if label == "own" else f"InternImage-{label}"


def _architecture(
    config: Config, registered: str | None, differing: dict[str, object]
) -> str | dict[str, object]:
    if registered is None:
        return to_mapping(config)
    return {"base": registered, **differing} if differing else registered


def _task(config: Config) -> str:
    if isinstance(config, SegmentorConfig):
        return "segmentation"
    return "classification" if isinstance(config, ClassifierConfig) else "backbone"
