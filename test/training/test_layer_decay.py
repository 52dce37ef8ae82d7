"""Official layer decay: against a second reading of its description, and by hand where it is odd."""

import pytest
import torch
from torch import nn

from internimage_perception.errors import ConfigError
from internimage_perception.models import create_model
from internimage_perception.training.layer_decay import parameter_groups

SEGMENTORS = [f"upernet_internimage_{size}" for size in ("nano", "t", "s", "b", "l", "xl", "h", "g")]
LEAST = ["mask_embed", "cls_embed", "level_embed", "query_embed", "query_feat"]


def on_meta(name):
    with torch.device("meta"):
        return create_model(name)


def by_name(groups):
    """Return each parameter's group."""
    found = {}
    for group in groups:
        assert len(group["params"]) == len(group["param_names"])
        for name in group["param_names"]:
            assert name not in found
            found[name] = group
    return found


def layer_by_the_book(name, depths):
    """Walk through a name word by word, stage by stage."""
    words = name.split(".")
    if "level_embeds" in name or words[:2] == ["backbone", "patch_embed"]:
        return 0
    if words[0] == "decode_head" and words[1] in LEAST:
        return 0
    if words[:2] != ["backbone", "levels"]:
        return sum(depths) + 2 - 1
    stage, part = int(words[2]), words[3]
    first_of_stage = 1
    for depth in depths[:stage]:
        first_of_stage += depth
    if part in {"norm", "downsample"}:
        return first_of_stage if stage == 3 else first_of_stage + depths[stage]
    return first_of_stage + int(words[4])


@pytest.mark.parametrize("name", [*SEGMENTORS, "segformer_internimage_l"])
def test_all_parameters_of_all_segmentors(name):
    model = on_meta(name)
    depths = model.config.backbone.depths
    layers = sum(depths) + 2
    groups = parameter_groups(model, 2e-5, 0.05, 0.94)
    found = by_name(groups)
    parameters = dict(model.named_parameters())
    assert found.keys() == parameters.keys()
    for key, parameter in parameters.items():
        group = found[key]
        assert any(parameter is other for other in group["params"])
        layer = layer_by_the_book(key, depths)
        spared = parameter.dim() == 1 or key.endswith(".bias") or "norm" in key
        assert group["name"] == f"layer_{layer}_{'no_decay' if spared else 'decay'}"
        assert group["lr_scale"] == pytest.approx(0.94 ** (layers - layer - 1), rel=1e-12)
        assert group["lr"] == pytest.approx(2e-5 * group["lr_scale"], rel=1e-12)
        assert group["weight_decay"] == (0.0 if spared else 0.05)
    assert len({group["name"] for group in groups}) == len(groups)


def test_interesting_names_of_h():
    # Depths 6, 6, 32, 6: blocks are layers 1 to 50, and 51 is the heads'.
    found = by_name(parameter_groups(on_meta("upernet_internimage_h"), 1.0, 0.05, 0.95))
    expected = {
        "backbone.patch_embed.conv1.weight": (51, "layer_0_decay"),
        "backbone.patch_embed.norm2.1.weight": (51, "layer_0_no_decay"),
        "backbone.levels.0.blocks.0.dcn.mask.weight": (50, "layer_1_decay"),
        "backbone.levels.0.blocks.5.mlp.fc2.bias": (45, "layer_6_no_decay"),
        "backbone.levels.0.norm.0.weight": (44, "layer_7_no_decay"),
        "backbone.levels.0.downsample.conv.weight": (44, "layer_7_decay"),
        "backbone.levels.1.blocks.0.dcn.center_feature_scale_proj_weight": (44, "layer_7_decay"),
        "backbone.levels.1.blocks.0.dcn.center_feature_scale_proj_bias": (44, "layer_7_no_decay"),
        # The norm after block 29 is the fifth, and counts for block 4.
        "backbone.levels.2.post_norms.4.0.weight": (34, "layer_17_no_decay"),
        "backbone.levels.2.blocks.29.dcn.offset.weight": (9, "layer_42_decay"),
        "backbone.levels.2.downsample.norm.1.weight": (6, "layer_45_no_decay"),
        "backbone.levels.3.blocks.0.res_post_norm1.0.weight": (6, "layer_45_no_decay"),
        # The last stage's norm comes after block 5 of it, and counts for block 0.
        "backbone.levels.3.norm.0.bias": (6, "layer_45_no_decay"),
        "backbone.levels.3.blocks.5.mlp.fc1.weight": (1, "layer_50_decay"),
        "decode_head.conv_seg.weight": (0, "layer_51_decay"),
        "decode_head.bottleneck.bn.weight": (0, "layer_51_no_decay"),
        "auxiliary_head.convs.0.conv.weight": (0, "layer_51_decay"),
    }
    for name, (power, label) in expected.items():
        assert found[name]["name"] == label
        assert found[name]["lr_scale"] == pytest.approx(0.95**power)


def test_layer_scales_are_vectors():
    found = by_name(parameter_groups(on_meta("upernet_internimage_l"), 1.0, 0.05, 0.94))
    assert found["backbone.levels.2.blocks.21.gamma1"]["name"] == "layer_32_no_decay"
    assert found["backbone.levels.2.blocks.21.gamma1"]["lr_scale"] == pytest.approx(0.94**6)


def test_bare_networks_count_as_backbones():
    backbone = on_meta("internimage_s")
    groups = parameter_groups(backbone, 1.0, 0.05, 0.9)
    whole = by_name(parameter_groups(on_meta("upernet_internimage_s"), 1.0, 0.05, 0.9))
    found = by_name(groups)
    assert found.keys() == dict(backbone.named_parameters()).keys()
    assert {name: group["name"] for name, group in found.items()} == {
        name.removeprefix("backbone."): group["name"]
        for name, group in whole.items()
        if name.startswith("backbone.")
    }
    classifier = by_name(parameter_groups(on_meta("internimage_t_1k"), 1.0, 0.05, 0.9))
    assert classifier["patch_embed.conv1.weight"]["lr_scale"] == pytest.approx(0.9**31)
    assert classifier["conv_head.0.weight"]["lr_scale"] == 1.0
    assert classifier["head.bias"]["name"] == "layer_31_no_decay"


class Wrapper(nn.Module):
    def __init__(self, name, module):
        super().__init__()
        self.add_module(name, module)


@pytest.mark.parametrize(
    "names", [["module"], ["_forward_module"], ["_orig_mod", "module", "_forward_module"]]
)
@pytest.mark.parametrize("kind", ["upernet_internimage_nano", "internimage_nano"])
def test_wrappers_change_nothing(names, kind):
    model = wrapped = on_meta(kind)
    for name in names:
        wrapped = Wrapper(name, wrapped)
    expected = [(g["name"], g["lr"], g["param_names"]) for g in parameter_groups(model, 1.0, 0.05, 0.9)]
    assert [
        (g["name"], g["lr"], g["param_names"]) for g in parameter_groups(wrapped, 1.0, 0.05, 0.9)
    ] == expected


def test_compiled_blocks_change_nothing():
    model = on_meta("upernet_internimage_nano")
    expected = by_name(parameter_groups(model, 1.0, 0.05, 0.9))
    stage = model.backbone.levels[2]
    stage.blocks[1] = Wrapper("_orig_mod", stage.blocks[1])
    found = by_name(parameter_groups(model, 1.0, 0.05, 0.9))
    assert {k: g["name"] for k, g in found.items()} == {k: g["name"] for k, g in expected.items()}


def test_frozen_parameters_are_left_out():
    model = on_meta("upernet_internimage_nano")
    model.backbone.levels[:2].requires_grad_(requires_grad=False)
    found = by_name(parameter_groups(model, 1.0, 0.05, 0.9))
    expected = {name for name, p in model.named_parameters() if p.requires_grad}
    assert found.keys() == expected
    assert not any(name.startswith(("backbone.levels.0", "backbone.levels.1")) for name in found)
    assert found["backbone.levels.2.blocks.0.norm1.0.weight"]["lr_scale"] < 1
    model.backbone.requires_grad_(requires_grad=False)
    assert {g["lr_scale"] for g in parameter_groups(model, 1.0, 0.05, 0.9)} == {1.0}


def with_queries(model):
    """Give a segmentor's head what Mask2Former's has."""
    head = model.decode_head
    for name in ("query_embed", "query_feat", "level_embed"):
        head.add_module(name, nn.Embedding(4, 8, device="meta"))
    head.mask_embed = nn.Sequential(nn.Linear(8, 8, device="meta"))
    head.cls_embed = nn.Linear(8, 3, device="meta")
    head.attention = nn.Module()
    head.attention.sampling_offsets = nn.Linear(8, 8, device="meta")
    head.attention.relative_position_table = nn.Parameter(torch.zeros(2, 2, device="meta"))
    head.level_encoding = nn.Embedding(3, 8, device="meta")
    return model


def test_queries_learn_the_slowest():
    found = by_name(parameter_groups(with_queries(on_meta("upernet_internimage_nano")), 1.0, 0.05, 0.9))
    for name in ("query_embed.weight", "query_feat.weight", "level_embed.weight", "mask_embed.0.weight"):
        assert found[f"decode_head.{name}"]["name"] == "layer_0_decay"
    assert found["decode_head.cls_embed.bias"]["name"] == "layer_0_no_decay"
    last = found["decode_head.conv_seg.weight"]["name"]
    assert found["decode_head.level_encoding.weight"]["name"] == last
    assert found["decode_head.attention.relative_position_table"]["weight_decay"] == 0.0
    # A matrix, but an offset of deformable attention.
    assert found["decode_head.attention.sampling_offsets.weight"]["weight_decay"] == 0.0


def detector():
    """Return a network with the parts of DINO that have their own rates."""
    model = nn.Module()
    model.backbone = on_meta("internimage_nano")
    model.neck = nn.Conv2d(8, 8, 1, device="meta")
    model.bbox_head = nn.Module()
    model.bbox_head.transformer = nn.Module()
    model.bbox_head.transformer.level_embeds = nn.Parameter(torch.zeros(4, 8, device="meta"))
    model.bbox_head.transformer.sampling_offsets = nn.Linear(8, 8, device="meta")
    model.bbox_head.transformer.reference_points = nn.Linear(8, 4, device="meta")
    return model


OFFSETS = "bbox_head.transformer.sampling_offsets.weight"
POINTS = "bbox_head.transformer.reference_points.weight"


def test_detectors():
    model = detector()
    found = by_name(parameter_groups(model, 1.0, 1e-4, 0.9, detection=True))
    last = sum(model.backbone.config.depths) + 1
    assert found["bbox_head.transformer.level_embeds"]["name"] == "layer_0_decay"
    assert found["neck.weight"]["name"] == f"layer_{last}_decay"
    assert found["backbone.patch_embed.conv1.weight"]["lr_scale"] == pytest.approx(0.9**last)
    assert found[OFFSETS]["lr_scale"] == found[POINTS]["lr_scale"] == 1.0


def test_offsets_of_heads_have_their_own_rates():
    # Detection scales them all; segmentation those of a backbone, and InternImage's has none so called.
    found = by_name(parameter_groups(detector(), 1.0, 1e-4, 0.9, detection=True, offset_lr_scale=1e-3))
    assert found[OFFSETS]["lr_scale"] == found[POINTS]["lr_scale"] == pytest.approx(1e-3)
    assert (found[OFFSETS]["weight_decay"], found[POINTS]["weight_decay"]) == (0.0, 1e-4)
    assert found["neck.weight"]["lr_scale"] == 1.0
    offsets = found["backbone.levels.0.blocks.0.dcn.offset.weight"]
    assert offsets is found["backbone.levels.0.blocks.0.dcn.mask.weight"]
    found = by_name(parameter_groups(detector(), 1.0, 1e-4, 0.9, offset_lr_scale=1e-3))
    assert found[OFFSETS]["lr_scale"] == found[POINTS]["lr_scale"] == 1.0
    found = by_name(parameter_groups(detector(), 1.0, 1e-4, 0.9, dino_head=True))
    assert found[OFFSETS]["lr_scale"] == found[POINTS]["lr_scale"] == pytest.approx(0.1)
    assert found["neck.weight"]["lr_scale"] == 1.0


def test_small_backbone_rates():
    model = on_meta("upernet_internimage_nano")
    plain = by_name(parameter_groups(model, 1.0, 0.05, 0.9))
    for name, group in by_name(parameter_groups(model, 1.0, 0.05, 0.9, backbone_small_lr=True)).items():
        usual = plain[name]["lr_scale"]
        assert group["lr_scale"] == pytest.approx(usual if usual == 1.0 else usual / 10)


def test_composite_backbones_learn_at_one_rate():
    model = nn.Module()
    model.backbone = nn.Module()
    model.backbone.cb_modules = nn.ModuleList(on_meta("internimage_nano") for _ in range(2))
    assert {group["lr_scale"] for group in parameter_groups(model, 1.0, 1e-4, 0.94, detection=True)} == {1.0}


def test_networks_without_layers():
    with pytest.raises(ConfigError, match=r"layer_decay 0\.9 counts the layers of InternImage"):
        parameter_groups(nn.Linear(3, 3), 1.0, 0.05, 0.9)
    hidden = nn.Module()
    hidden.inner = nn.Module()
    hidden.inner.backbone = on_meta("internimage_nano")
    with pytest.raises(ConfigError, match="its part `backbone`"):
        parameter_groups(hidden, 1.0, 0.05, 0.9)
    groups = parameter_groups(nn.Linear(3, 3), 1.0, 0.05, 1.0)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1.0, 0.05), (1.0, 0.0)]
