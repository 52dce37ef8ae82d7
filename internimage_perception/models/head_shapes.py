"""What stands on an InternImage backbone, read off the names and shapes of the weights."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from internimage_perception.errors import BundleError
from internimage_perception.models.backbone_shapes import Shape, shape_of
from internimage_perception.models.upernet import POOL_SCALES, FCNHead

_KNOWN = {"backbone", "decode_head", "auxiliary_head", "head", "conv_head"}
_AUXILIARY_KEYS = 8
_HEAD_WIDTH = 64
"""Channels of an attention head in the official networks."""


@dataclass(frozen=True, slots=True)
class Head:
    """What turns a backbone into a network with answers.

    Attributes:
        fields: of `SegmentorConfig` or `ClassifierConfig`, without `backbone`; empty for a bare backbone.
        words: for people.
        assumed: what is no property of the weights, in words.
    """

    fields: Mapping[str, object] = field(default_factory=dict)
    words: str = "none"
    assumed: tuple[str, ...] = ()


def unsupported_parts(shapes: Mapping[str, Shape]) -> str | None:
    """Return the name of a network on InternImage that this package cannot run yet; None for others."""
    tops = {key.split(".", 1)[0] for key in shapes}
    composite = any(key.startswith("backbone.cb_modules.") for key in shapes)
    name: str | None = None
    if any(top.startswith("meta_") for top in tops):
        name = f"the iNaturalist network with metadata (MetaFormer){_classes(shapes, 'head.weight')}"
    elif "roi_head" in tops:
        name = _region_detector(shapes)
    elif any(key.startswith("bbox_head.transformer.") for key in shapes):
        dino = "DINO" if "bbox_head.label_embedding.weight" in shapes else "a DETR-like detector"
        name = f"{dino}{_classes(shapes, 'bbox_head.cls_branches.0.weight')}"
    elif any(
        key.startswith(("decode_head.pixel_decoder.", "panoptic_head.pixel_decoder.")) for key in shapes
    ):
        name = f"Mask2Former{_classes(shapes, 'decode_head.cls_embed.weight', extra=1)}"
    elif other := sorted(top for top in tops - _KNOWN if re.search(r"(head|neck)$", top)):
        name = f"a network with {', '.join(other)}"
    elif "decode_head" in tops and _decode_head(shapes) is None:
        parts = sorted({key.split(".")[1] for key in shapes if re.match(r"decode_head\.\w+\.", key)})
        name = f"a decode head of {', '.join(parts)}"
    if composite:
        return f"{name or 'a network'} on a composite backbone (CB: two of them)"
    return name


def recognise_head(
    shapes: Mapping[str, Shape], prefix: str, widths: Sequence[int], heads: int | None
) -> Head:
    """Return the head of a network that this package can run.

    Args:
        shapes: of all weights.
        prefix: of the backbone's.
        widths: of the backbone's four stages.
        heads: of the attention of H and G; default: one per 64 channels.

    Raises:
        BundleError: weights are missing, or the head is none this package has.
    """
    if prefix:
        read = _decode_head(shapes)
        return Head() if read is None else read(shapes, widths)
    if not any(key.startswith("head.") for key in shapes):
        return Head()
    classes, width = shape_of(shapes, "head.weight", 2)
    if not any(key.startswith("clip_projector.") for key in shapes):
        words = f"convolution and average, {width} channels, {classes} classes"
        return Head({"num_classes": classes}, words)
    channels = shape_of(shapes, "dcnv3_head_x3.weight", 4)[0]
    factor = round((shape_of(shapes, "dcnv3_head_x4.0.weight", 4)[0] / channels) ** 0.5)
    outputs = shape_of(shapes, "clip_projector.cross_dcn.proj.weight", 2)[0]
    origin = "as given" if heads is not None else f"of {_HEAD_WIDTH} channels, as in H and G"
    heads = heads if heads is not None else max(1, channels // _HEAD_WIDTH)
    dims = (channels, factor, heads, outputs)
    official = {} if dims == (1024, 2, 16, 768) else {"clip_dims": dims}
    return Head(
        {"num_classes": classes, "use_clip_projector": True, **official},
        f"attention over the two coarsest maps, {channels} channels, {classes} classes",
        (f"{heads} attention head{'s' * (heads != 1)}, {origin}",),
    )


def _upernet(shapes: Mapping[str, Shape], widths: Sequence[int]) -> Head:
    found = {match[1] for key in shapes if (match := re.match(r"decode_head\.psp_modules\.(\d+)\.", key))}
    if len(found) != len(POOL_SCALES):
        message = f"this UPerNet pools over {len(found)} grids; that of this package has {len(POOL_SCALES)}"
        raise BundleError(message)
    pooled = f"pooling over {', '.join(map(str, POOL_SCALES))} regions per axis, as in every official UPerNet"
    return _segmentation(shapes, widths, "upernet", "UPerNet", (pooled,))


def _segformer(shapes: Mapping[str, Shape], widths: Sequence[int]) -> Head:
    return _segmentation(shapes, widths, "segformer", "SegFormer-style head", ())


_DECODE_HEADS = {"psp_modules": _upernet, "fpn_bottleneck": _upernet, "fusion_conv": _segformer}
"""Parts that only one of the heads has, and its reader."""


def _decode_head(shapes: Mapping[str, Shape]) -> Callable[[Mapping[str, Shape], Sequence[int]], Head] | None:
    parts = (key.split(".")[1] for key in shapes if key.startswith("decode_head."))
    return next((_DECODE_HEADS[part] for part in parts if part in _DECODE_HEADS), None)


def _segmentation(
    shapes: Mapping[str, Shape], widths: Sequence[int], kind: str, name: str, assumed: tuple[str, ...]
) -> Head:
    classes, channels = shape_of(shapes, "decode_head.conv_seg.weight", 4)[:2]
    words = f"{name}, {channels} channels, {classes} classes"
    auxiliary, remark = _auxiliary(shapes, widths, classes)
    fields = {"num_classes": classes, "head_channels": channels, "aux_channels": auxiliary, "kind": kind}
    return Head(fields, f"{words}, {remark}", assumed)


def _auxiliary(shapes: Mapping[str, Shape], widths: Sequence[int], classes: int) -> tuple[int | None, str]:
    """Return the width of an auxiliary head of the official form, and what to say of it."""
    own = [key for key in shapes if key.startswith("auxiliary_head.")]
    if not own:
        return None, "no auxiliary head"
    conv = shapes.get("auxiliary_head.convs.0.conv.weight", ())
    width = conv[0] if conv else 0
    official = (
        len(own) == _AUXILIARY_KEYS
        and conv == (width, widths[FCNHead.feature_index], 3, 3)
        and shapes.get("auxiliary_head.conv_seg.weight") == (classes, width, 1, 1)
    )
    if official:
        return width, f"auxiliary head, {width} channels, for training only"
    return None, "an auxiliary head of another form, for training only"


def _region_detector(shapes: Mapping[str, Shape]) -> str:
    cascade = any(key.startswith("roi_head.bbox_head.0.") for key in shapes)
    masks = any(key.startswith("roi_head.mask_head.") for key in shapes)
    name = ("Cascade " if cascade else "") + (
        "Mask R-CNN" if masks else "R-CNN" if cascade else "Faster R-CNN"
    )
    key = f"roi_head.bbox_head.{'0.' if cascade else ''}fc_cls.weight"
    return f"{name}{_classes(shapes, key, extra=1)}"


def _classes(shapes: Mapping[str, Shape], key: str, extra: int = 0) -> str:
    """Return the number of classes in words, without the `extra` ones that stand for nothing."""
    shape = shapes.get(key)
    return f", {shape[0] - extra} classes" if shape else ""
