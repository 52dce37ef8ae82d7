"""An InternImage backbone's configuration, read off the names and shapes of its weights."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from internimage_perception.errors import BundleError
from internimage_perception.models.config import InternImageConfig

Shape = tuple[int, ...]

_LARGEST = 2**24
_KERNEL_POINTS = (9, 8)
"""Of 3x3 points, with the central one and without: all that the official backbone has."""
_OTHER_POINTS = {25: "5x5", 24: "5x5 without the central one", 49: "7x7", 48: "7x7 without the central one"}
_GROUP_WIDTHS = (16, 32)
"""Channels of a group in the official networks, T to XL and H, G."""
_LARGE_OFFSETS = (160, 192)
"""First widths of L and XL, which are trained with offset_scale 2."""
_POST_NORM_STEP = 6
"""H and G have one of their extra norms behind every sixth block of the third stage."""


def shape_of(shapes: Mapping[str, Shape], key: str, dimensions: int) -> Shape:
    """Return a weight's shape. Raises BundleError when it is missing or of another kind."""
    shape = shapes.get(key)
    if shape is None:
        message = f"the weights lack {key}, without which the network is not known"
        raise BundleError(message)
    if len(shape) != dimensions or not all(1 <= size <= _LARGEST for size in shape):
        message = f"{key} has the shape {shape}; expected are {dimensions} sizes, each at least 1"
        raise BundleError(message)
    return shape


def recognise_backbone(
    shapes: Mapping[str, Shape],
    *,
    offset_scale: float | None = None,
    post_norm_blocks: Sequence[int] | None = None,
) -> tuple[InternImageConfig, tuple[str, ...]]:
    """Return the configuration, and in words what of it is no property of the weights but assumed.

    Args:
        shapes: of the backbone's weights, without prefix; others between them do no harm.
        offset_scale: factor on grid and offsets; default: 2 for the widths of L and XL, else 1.
        post_norm_blocks: blocks of the third stage behind which the extra norms of H and G are; default:
            every sixth.

    Raises:
        BundleError: weights are missing or contradict each other, or the network is none this package has.
        ConfigError: sizes from which no network can be built.
    """
    channels = shape_of(shapes, "patch_embed.conv2.weight", 4)[0]
    widths = [channels * 2**stage for stage in range(4)]
    depths = _depths(shapes)
    has = _Blocks(shapes)
    gates = has("dcn.center_feature_scale_proj_weight")
    between = has("res_post_norm1.0.weight")
    # A stage's norm is there if the blocks end without one, and wherever there are centre gates.
    stage_norm = any(re.fullmatch(r"levels\.\d\.norm\.0\.\w+", key) for key in shapes)
    post_norm = not between if gates else not stage_norm
    groups, points, doubt = _groups(shapes, widths, gates)
    extra, extra_words = _extra_norms(shapes, depths[2], post_norm_blocks)
    dw_kernel_size = shape_of(shapes, "levels.0.blocks.0.dcn.dw_conv.0.weight", 4)[-1]
    if offset_scale is None:
        offset_scale = 2.0 if channels in _LARGE_OFFSETS else 1.0
        like = "as in L and XL" if offset_scale == 2.0 else "as in all variants but L and XL"
        scale_words = f"offset_scale {offset_scale:g}, {like}"
    else:
        scale_words = f"offset_scale {offset_scale:g}, as given"
    config = InternImageConfig(
        channels=channels,
        depths=tuple(depths),
        groups=tuple(groups),
        mlp_ratio=_mlp_ratio(shapes, widths),
        post_norm=post_norm,
        layer_scale=1.0 if has("gamma1") or has("gamma2") else None,
        offset_scale=offset_scale,
        dw_kernel_size=None if dw_kernel_size == 3 else dw_kernel_size,
        res_post_norm=between,
        level2_post_norm=bool(extra),
        level2_post_norm_block_ids=extra,
        center_feature_scale=gates,
        remove_center=points % 2 == 0,
    )
    order = f"norms {'behind' if post_norm else 'before'} the operator, as in {'G' if post_norm else 'H'}"
    return config, tuple(filter(None, (scale_words, order if gates else "", extra_words, doubt)))


def describe_backbone(config: InternImageConfig) -> str:
    """Return a backbone's numbers for people."""
    return ", ".join(_words(config))


def _words(config: InternImageConfig) -> Iterator[str]:
    yield f"{config.channels} channels"
    yield f"blocks {'-'.join(map(str, config.depths))}"
    yield f"groups {'-'.join(map(str, config.groups))}"
    yield f"MLP ratio {config.mlp_ratio:g}"
    side = config.dw_kernel_size or 3
    yield f"depthwise {side}x{side}"
    place = "behind" if config.post_norm else "before"
    yield f"norms {'before and behind' if config.res_post_norm and not config.post_norm else place}"
    yield "no layer scale" if config.layer_scale is None else "layer scale"
    if config.level2_post_norm:
        yield f"extra norms behind blocks {', '.join(map(str, config.level2_post_norm_block_ids))} of stage 3"
    if config.center_feature_scale:
        yield "centre feature scale"
    if config.remove_center:
        yield "no central point"


class _Blocks:
    """Tells whether any block has a weight."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        found = (re.fullmatch(r"levels\.\d+\.blocks\.\d+\.(.+)", key) for key in shapes)
        self._names = {match[1] for match in found if match}

    def __call__(self, name: str) -> bool:
        return name in self._names


def _depths(shapes: Mapping[str, Shape]) -> list[int]:
    blocks: dict[int, set[int]] = {}
    for key in shapes:
        if match := re.match(r"levels\.(\d{1,6})\.blocks\.(\d{1,6})\.", key):
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    if sorted(blocks) != [0, 1, 2, 3]:
        stages = ", ".join(map(str, sorted(blocks))) or "none"
        message = f"the weights have blocks in the stages {stages}; an InternImage has stages 0 to 3"
        raise BundleError(message)
    for stage, found in blocks.items():
        if len(found) != max(found) + 1:
            absent = min(set(range(max(found))) - found)
            message = f"the weights lack block {absent} of stage {stage}, whose last is {max(found)}"
            raise BundleError(message)
    return [len(blocks[stage]) for stage in range(4)]


def _groups(
    shapes: Mapping[str, Shape], widths: Sequence[int], gates: bool
) -> tuple[list[int], int, str | None]:
    """Return the groups of each stage, the points of a group, and a doubt in words if there is one.

    The mask's layer has groups x points rows; only centre gates have the groups alone.
    """
    first = [f"levels.{stage}.blocks.0.dcn" for stage in range(4)]
    rows = [shape_of(shapes, f"{name}.mask.weight", 2)[0] for name in first]
    known = [
        shape_of(shapes, f"{name}.center_feature_scale_proj_weight", 2)[0] if gates else None
        for name in first
    ]
    stages = list(zip(widths, rows, known, strict=True))
    fitting = [
        points
        for points in (*_KERNEL_POINTS, *_OTHER_POINTS)
        if all(_divides(width, row, points, group) for width, row, group in stages)
    ]
    if not fitting:
        message = (
            f"the layers of the masks have {rows} rows for stages of {list(widths)} channels; that fits no "
            "number of groups"
        )
        raise BundleError(message)
    ordinary = [points for points in fitting if points in _KERNEL_POINTS]
    usual = [
        points
        for points in ordinary
        if all(width * points // row in _GROUP_WIDTHS for width, row in zip(widths, rows, strict=True))
    ]
    points = [*usual, *ordinary, *fitting][0]
    if points not in _KERNEL_POINTS:
        message = (
            f"DCNv3 samples {_OTHER_POINTS[points]} points here; the networks of this package sample 3x3"
        )
        raise BundleError(message)
    groups = [row // points for row in rows]
    doubt = None
    if len(ordinary) > 1:
        doubt = f"{points} points and {'-'.join(map(str, groups))} groups (the rows of the masks also fit "
        doubt += f"{sum(ordinary) - points} points)"
    return groups, points, doubt


def _divides(width: int, rows: int, points: int, groups: int | None) -> bool:
    if rows % points or width % (rows // points):
        return False
    return groups is None or rows == groups * points


def _extra_norms(
    shapes: Mapping[str, Shape], depth: int, given: Sequence[int] | None
) -> tuple[tuple[int, ...], str]:
    """Return the blocks behind which the third stage has a norm of its own, and where that is from."""
    found = [re.match(r"levels\.2\.post_norms\.(\d{1,3})\.", key) for key in shapes]
    count = max((int(match[1]) + 1 for match in found if match), default=0)
    blocks = range(_POST_NORM_STEP - 1, _POST_NORM_STEP * count, _POST_NORM_STEP) if given is None else given
    places = ", ".join(map(str, blocks))
    if len(blocks) != count:
        message = f"the third stage has {count} extra norms, but the blocks {places or 'none'} were given"
        raise BundleError(message)
    if any(not 0 <= block < depth for block in blocks) or list(blocks) != sorted(set(blocks)):
        message = (
            f"the third stage has {count} extra norms and {depth} blocks; behind the blocks {places} they "
            "cannot be: name the right ones, counted from 0 (command line: --post-norm-blocks)"
        )
        raise BundleError(message)
    origin = "as in H and G" if given is None else "as given"
    return tuple(blocks), f"extra norms behind blocks {places} of the third stage, {origin}" if count else ""


def _mlp_ratio(shapes: Mapping[str, Shape], widths: Sequence[int]) -> float:
    """Return hidden width over width. The widest stage says it best: the width is rounded down."""
    hidden = shape_of(shapes, "levels.3.blocks.0.mlp.fc1.weight", 2)[0]
    ratio = hidden / widths[-1]
    # A quotient may come out a rounding error too small, which would cost a row in some stage.
    exact = all(int(width * ratio) == width * hidden // widths[-1] for width in widths)
    return ratio if exact else math.nextafter(ratio, math.inf)
