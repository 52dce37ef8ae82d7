"""Architectures as data: what a network is made of, checked, from a mapping."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from internimage_perception.errors import ConfigError

_NEUTRAL: dict[str, tuple[object, ...]] = {
    # Options of the official configurations that this package has in one form only.
    "type": ("InternImage",),
    "core_op": ("DCNv3", "DCNv3_pytorch"),
    "act_layer": ("GELU",),
    "norm_layer": ("LN",),
    "cls_scale": (1.5,),
    "use_dcn_v4_op": (False,),
    "init_cfg": (None,),
}
DECODE_HEADS = {"upernet": "upernet", "u": "upernet", "segformer": "segformer", "s": "segformer"}
"""What `kind` may say, and the head it stands for."""


@dataclass(frozen=True, slots=True)
class InternImageConfig:
    """Backbone; the fields are the official constructor's.

    Attributes:
        channels: width of the first stage; doubles from stage to stage.
        depths: blocks of the four stages.
        groups: DCNv3 groups of the four stages.
        mlp_ratio: hidden width of a block's MLP over its width.
        drop_path_rate: stochastic depth of the last block; falls linearly to 0 at the first.
        post_norm: normalise after the operator instead of before it (S to XL, G).
        layer_scale: initial value of the learned scale per channel of each branch; None: no such scale.
        offset_scale: DCNv3 factor on grid and offsets (2.0 in L and XL).
        dw_kernel_size: side of DCNv3's depthwise convolution; None: 3.
        res_post_norm: normalise before and after the operator (H).
        level2_post_norm: extra norms inside the third stage (H, G).
        level2_post_norm_block_ids: blocks of the third stage that such a norm follows.
        center_feature_scale: DCNv3's centre gate (H, G).
        remove_center: DCNv3 without the central point.
        out_indices: stages whose maps are returned, from 0.
        with_cp: recompute blocks in the backward pass to save memory (gradient checkpointing).
    """

    channels: int
    depths: tuple[int, ...]
    groups: tuple[int, ...]
    mlp_ratio: float = 4.0
    drop_path_rate: float = 0.0
    post_norm: bool = False
    layer_scale: float | None = None
    offset_scale: float = 1.0
    dw_kernel_size: int | None = None
    res_post_norm: bool = False
    level2_post_norm: bool = False
    level2_post_norm_block_ids: tuple[int, ...] = ()
    center_feature_scale: bool = False
    remove_center: bool = False
    out_indices: tuple[int, ...] = (0, 1, 2, 3)
    with_cp: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError for values no network can be built from."""
        if len(self.depths) != 4 or len(self.groups) != 4 or min(self.depths, default=0) < 1:
            message = (
                f"depths and groups need one positive number per stage (4), got {self.depths}, {self.groups}"
            )
            raise ConfigError(message)
        if self.channels < 2 or self.channels % 2:
            message = f"channels must be even and at least 2, got {self.channels}"
            raise ConfigError(message)
        for stage, (width, group) in enumerate(zip(self.widths, self.groups, strict=True)):
            if group < 1 or width % group:
                message = f"groups[{stage}] = {group} must divide the stage's {width} channels"
                raise ConfigError(message)
        if not 0 <= self.drop_path_rate < 1:
            message = f"drop_path_rate must lie in [0, 1), got {self.drop_path_rate}"
            raise ConfigError(message)
        if any(not 0 <= block < self.depths[2] for block in self.level2_post_norm_block_ids):
            message = (
                f"level2_post_norm_block_ids {self.level2_post_norm_block_ids} must lie below "
                f"depths[2] = {self.depths[2]}"
            )
            raise ConfigError(message)
        if not self.out_indices or any(index not in range(4) for index in self.out_indices):
            message = f"out_indices must be stages 0 to 3, got {self.out_indices}"
            raise ConfigError(message)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the four stages."""
        return self.channels, 2 * self.channels, 4 * self.channels, 8 * self.channels


@dataclass(frozen=True, slots=True)
class SegmentorConfig:
    """Segmentation network: backbone, decode head, optional FCN head for training.

    Attributes:
        backbone: the backbone's configuration; returns all four stages.
        num_classes: channels of the logits.
        head_channels: width of the decode head (officially 512 in UPerNet, 256 in the SegFormer head).
        aux_channels: width of the auxiliary head (256 in UPerNet); None: the network has none.
        kind: decode head, "upernet" (or "u") or "segformer" (or "s").
    """

    backbone: InternImageConfig
    num_classes: int
    head_channels: int
    aux_channels: int | None = None
    kind: str = "upernet"

    def __post_init__(self) -> None:
        """Raise ConfigError for values no network can be built from."""
        if self.kind not in DECODE_HEADS:
            known = ", ".join(map(repr, DECODE_HEADS))
            message = f"kind {self.kind!r} is not a decode head of this package; there are {known}"
            raise ConfigError(message)
        if self.backbone.out_indices != (0, 1, 2, 3):
            message = f"a decode head needs out_indices (0, 1, 2, 3), got {self.backbone.out_indices}"
            raise ConfigError(message)
        _check_positive(
            num_classes=self.num_classes,
            head_channels=self.head_channels,
            aux_channels=self.aux_channels or 1,
        )


@dataclass(frozen=True, slots=True)
class ClassifierConfig:
    """Image classification network: backbone and one of the two official heads.

    Attributes:
        backbone: the backbone's configuration.
        num_classes: ImageNet-1k has 1000, ImageNet-22k 21841.
        use_clip_projector: pool by attention over the two coarsest maps (H, G) instead of averaging the
            coarsest one (T to XL).
        clip_dims: of that attention: width, factor from the coarsest map to the one before (2), heads,
            width of the answer.
    """

    backbone: InternImageConfig
    num_classes: int
    use_clip_projector: bool = False
    clip_dims: tuple[int, ...] = (1024, 2, 16, 768)

    def __post_init__(self) -> None:
        """Raise ConfigError for values no network can be built from."""
        _check_positive(num_classes=self.num_classes)
        if len(self.clip_dims) != 4 or min(self.clip_dims) < 1:
            message = f"clip_dims needs four positive numbers, got {self.clip_dims}"
            raise ConfigError(message)
        width, factor, heads, _ = self.clip_dims
        if factor != 2 or width % heads:
            message = (
                f"clip_dims {self.clip_dims}: the factor between the two coarsest maps is 2, and the number "
                "of heads must divide the width"
            )
            raise ConfigError(message)


Config = InternImageConfig | SegmentorConfig | ClassifierConfig
"""Every kind of network: bare backbone, segmentation, classification."""


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            message = f"{name} must be at least 1, got {value}"
            raise ConfigError(message)


def parse_config(mapping: Mapping[str, object]) -> Config:
    """Build the configuration a flat mapping describes.

    A segmentor if it names a field of one, such as `head_channels`; else a classifier if it has
    `num_classes`; else a bare backbone. Raises ConfigError naming unknown, missing and wrong fields.
    """
    fields = dict(mapping)
    for name, values in _NEUTRAL.items():
        if name in fields and (value := fields.pop(name)) not in values:
            message = f"{name} = {value!r} is not supported; only {', '.join(map(repr, values))}"
            raise ConfigError(message)
    # The name under which reference outputs keep the head's numbers when they are not the official ones.
    if (patched := fields.pop("patched_clip_dims", None)) is not None:
        fields["clip_dims"] = patched
    own, decode, classify = map(_fields_of, (InternImageConfig, SegmentorConfig, ClassifierConfig))
    known = {*own, *decode, *classify}
    if unknown := sorted(set(fields) - known):
        message = f"unknown fields {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        raise ConfigError(message)
    backbone = InternImageConfig(**_typed({k: v for k, v in fields.items() if k in own}, own))
    rest = {key: value for key, value in fields.items() if key not in own}
    if not rest:
        return backbone
    only_decode, only_classify = (sorted(set(rest) - set(other)) for other in (classify, decode))
    if only_decode and only_classify:
        message = (
            f"{', '.join(only_decode)} belong to segmentation, {', '.join(only_classify)} to classification; "
            "a network does one of them"
        )
        raise ConfigError(message)
    if only_decode:
        return SegmentorConfig(backbone=backbone, **_typed(rest, decode))
    return ClassifierConfig(backbone=backbone, **_typed(rest, classify))


def to_mapping(config: Config) -> dict[str, object]:
    """Return the flat mapping `parse_config` reads back, of plain YAML types."""
    mapping = dataclasses.asdict(config)
    mapping |= mapping.pop("backbone", {})
    return {key: list(value) if isinstance(value, tuple) else value for key, value in mapping.items()}


def _fields_of(kind: type[Config]) -> "dict[str, dataclasses.Field[Any]]":
    return {field.name: field for field in dataclasses.fields(kind) if field.name != "backbone"}


def _typed(values: dict[str, object], known: Mapping[str, "dataclasses.Field[Any]"]) -> dict[str, Any]:
    required = {name for name, field in known.items() if field.default is dataclasses.MISSING}
    if missing := sorted(required - set(values)):
        message = f"missing fields {', '.join(missing)}"
        raise ConfigError(message)
    return {name: _convert(name, _kind(known[name].type), value) for name, value in values.items()}


def _kind(annotation: object) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation)


def _convert(name: str, kind: str, value: object) -> object:
    """Check one value against a field's annotation; YAML writes 1 for 1.0 and lists for tuples."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None and "None" in kind:
        return None
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind.startswith("int") and number and isinstance(value, int):
        return value
    if kind.startswith("float") and isinstance(value, int | float) and number and math.isfinite(value):
        return float(value)
    if kind == "str" and isinstance(value, str):
        return value
    if (
        kind.startswith("tuple")
        and isinstance(value, Sequence)
        and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    ):
        return tuple(value)
    message = f"{name} must be {kind}, got {value!r}"
    raise ConfigError(message)
