"""Networks recognised from names and shapes of their weights: registered, official, arbitrary, hostile."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.models import (
    InternImageConfig,
    SegmentorConfig,
    create_model,
    load_config,
    load_weights,
    model_names,
)
from internimage_perception.models.config import to_mapping
from internimage_perception.models.recognition import fit_weights, recognise

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "golden" / "internimage"
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TINY = {"channels": 16, "depths": [1, 1, 2, 1], "groups": [1, 2, 4, 8]}
SEGMENTOR = TINY | {"head_channels": 8, "num_classes": 3, "aux_channels": 4}
TRAINING_ONLY = ("drop_path_rate", "with_cp", "out_indices")


def meta_state(configuration):
    with torch.device("meta"):
        return create_model(configuration).state_dict()


def empty(shapes):
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def essential(config):
    fields = {key: value for key, value in to_mapping(config).items() if key not in TRAINING_ONLY}
    return fields | {"layer_scale": fields["layer_scale"] is not None}


def assert_fits(recognition, weights):
    fitted = fit_weights(recognition, weights)
    assert str(fitted.report) == "all keys match"
    with torch.device("meta"):
        model = create_model(recognition.architecture)
    assert {k: v.shape for k, v in fitted.state.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    assert fitted.parameters == sum(parameter.numel() for parameter in model.parameters())
    return fitted


@pytest.mark.parametrize("name", model_names())
def test_every_registered_network_goes_by_its_name(name):
    weights = meta_state(name)
    found = recognise(weights)
    assert found.architecture == found.registered == name
    assert essential(found.config) == essential(load_config(name))
    assert list(assert_fits(found, weights).state) == list(weights)


KINDS = {
    "det_mask_rcnn": "Mask R-CNN, 80 classes", "det_cascade": "Cascade Mask R-CNN, 80 classes",
    "det_dino_4scale_internimage": "DINO, 80 classes",
    "det_dino_4scale_cb": "DINO, 80 classes on a composite backbone",
    "seg_mask2former_internimage_h_896": "Mask2Former, 150 classes",
    "seg_mask2former_internimage_h_1024": "Mask2Former, 19 classes",
}  # fmt: skip
BACKBONES = {
    "T": 28_754_672, "S": 48_502_560, "B": 94_909_920, "L": 218_952_370, "XL": 328_971_228,
    "H": 1_073_122_480, "G": 3_052_781_184,
}  # fmt: skip
LAYER_SCALE_OF_T = 14_848


def official_files():
    found = sorted(OFFICIAL.glob("*_keys.json")) or sorted(GOLDEN.glob("*_keys.json"))
    return [pytest.param(path, id=path.stem) for path in found]


@pytest.mark.parametrize("path", official_files())
def test_every_official_list_of_keys(path):
    stored = json.loads(path.read_text())
    weights = empty(stored["keys"])
    variant = re.search(r"internimage_(t|s|b|l|xl|h|g)_", path.stem)[1].upper()
    alone = recognise(weights, backbone_only=True)
    assert (alone.variant, alone.task, alone.classes) == (variant, "backbone", None)
    scale = LAYER_SCALE_OF_T * (variant == "T" and alone.config.layer_scale is not None)
    assert assert_fits_alone(alone, weights).parameters == BACKBONES[variant] + scale
    refused = next((words for start, words in KINDS.items() if path.stem.startswith(start)), None)
    if refused is not None:
        with pytest.raises(BundleError, match=re.escape(refused)) as caught:
            recognise(weights)
        assert f"InternImage-{variant}" in str(caught.value)
        assert "--backbone-only" in str(caught.value)
        return
    found = recognise(weights)
    fitted = assert_fits(found, weights)
    assert fitted.parameters == stored.get("params", stored.get("parameters"))
    assert list(fitted.state) == list(stored["keys"])
    assert not fitted.report.ignored
    kind = "upernet" if "upernet" in path.stem else "segformer" if "segformer" in path.stem else None
    if kind:
        assert found.architecture == f"{kind}_internimage_{variant.lower()}"
        assert (found.task, found.classes, found.config.kind) == ("segmentation", 150, kind)
    else:
        config = {"layer_scale": None} | stored["config"]
        own = to_mapping(found.config) | {"layer_scale": config["layer_scale"]}
        assert {key: own[key] for key in config} == config
        backbone = getattr(found.config, "backbone", found.config)
        assert (backbone.layer_scale is None) == (config["layer_scale"] is None)
        assert found.classes == config.get("num_classes")


def assert_fits_alone(recognition, weights):
    """The backbone in whole; what else the file holds is left out on purpose."""
    fitted = fit_weights(recognition, weights)
    assert str(fitted.report) == "all keys match"
    assert len(fitted.state) + len(fitted.report.ignored) == len(weights)
    return fitted


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("internimage_tiny_*_*.npz")))
def test_tiny_official_networks_answer_as_officially(name, recipe):
    if name.endswith("_grads"):
        name = name.removesuffix("_grads")
    stored = np.load(GOLDEN / f"{name}.npz")
    made = recipe.config(stored)
    shapes = {key: tuple(value.shape) for key, value in meta_state(made).items()}
    weights = {key: torch.from_numpy(recipe.weight(key, shape)) for key, shape in shapes.items()}
    clip = made.get("patched_clip_dims") or (1024, 2, 16, 768)
    found = recognise(
        weights,
        offset_scale=made["offset_scale"],
        post_norm_blocks=made.get("level2_post_norm_block_ids"),
        attention_heads=clip[2],
    )
    assert (found.variant, found.registered) == ("own", None)
    model = create_model(found.architecture).eval()
    load_weights(model, fit_weights(found, weights).state)
    with torch.no_grad():
        answer = model(torch.from_numpy(recipe.array(stored, "input")))
    if "_cls_" in name:
        np.testing.assert_allclose(answer, stored["logits"], atol=1e-4, rtol=1e-4)
    else:
        for index, feature in enumerate(answer):
            np.testing.assert_allclose(feature, stored[f"feat{index}"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("upernet_B_tiny", "upernet"), ("segformer_B_tiny", "segformer")])
def test_tiny_official_segmentors_answer_as_officially(name, kind, recipe):
    stored = np.load(GOLDEN / f"{name}.npz")
    shapes = {key: tuple(value.shape) for key, value in meta_state(recipe.config(stored)).items()}
    weights = {key: torch.from_numpy(recipe.weight(key, shape)) for key, shape in shapes.items()}
    found = recognise(weights)
    assert (found.config.kind, found.classes, found.config.aux_channels) == (kind, 19, 16)
    model = create_model(found.architecture).eval()
    load_weights(model, fit_weights(found, weights).state)
    with torch.no_grad():
        low = model.low_logits(torch.from_numpy(recipe.array(stored, "input")))
    np.testing.assert_allclose(low, stored["logits_low"], atol=1e-5, rtol=1e-4)


@st.composite
def configurations(draw):
    width = draw(st.sampled_from((4, 8, 16, 32)))
    factor = draw(st.integers(1, 4))
    post_norm, gates = draw(st.booleans()), draw(st.booleans())
    depths = [draw(st.integers(1, 3)) for _ in range(4)]
    extra = draw(st.sets(st.integers(0, depths[2] - 1)))
    fields = {
        "channels": 2 * width * factor,
        "depths": depths,
        "groups": [2 * factor * 2**stage for stage in range(4)],
        "mlp_ratio": draw(st.sampled_from((1.0, 2.0, 4.0, 8 / 3, 3.3, 0.7))),
        "post_norm": post_norm,
        # With gates, only these two say where the norms are.
        "res_post_norm": not post_norm if gates else draw(st.booleans()),
        "layer_scale": draw(st.sampled_from((None, 1.0, 1e-5))),
        "dw_kernel_size": draw(st.sampled_from((None, 5, 7))),
        "center_feature_scale": gates,
        "remove_center": draw(st.booleans()),
        "offset_scale": draw(st.sampled_from((0.5, 1.0, 2.0))),
        "level2_post_norm": bool(extra),
        "level2_post_norm_block_ids": sorted(extra),
    }
    head = draw(st.sampled_from(("none", "average", "attention", "upernet", "segformer")))
    classes = {"num_classes": draw(st.integers(1, 40))}
    if head == "attention":
        fields |= classes | {"use_clip_projector": True, "clip_dims": [16, 2, 4, 12]}
    elif head == "average":
        fields |= classes
    elif head != "none":
        auxiliary = draw(st.sampled_from((None, 4)))
        fields |= classes | {"kind": head, "head_channels": 8, "aux_channels": auxiliary}
    return fields


@settings(max_examples=30)
@given(configurations())
def test_any_network_of_this_package_is_recognised(fields):
    weights = meta_state(fields)
    attention = fields.get("clip_dims", [0, 0, None])[2]
    found = recognise(
        weights,
        offset_scale=fields["offset_scale"],
        post_norm_blocks=fields["level2_post_norm_block_ids"],
        attention_heads=attention,
    )
    made, own = essential(load_config(fields)), essential(found.config)
    # Roundings of the hidden width leave a range of ratios that build the same network.
    for side in (made, own):
        side["mlp_ratio"] = [int(2**stage * fields["channels"] * side["mlp_ratio"]) for stage in range(4)]
        side["dw_kernel_size"] = side["dw_kernel_size"] or 3
    if not fields["center_feature_scale"] and made["groups"] != own["groups"]:
        # 72 rows are 8 groups of 9 points or 9 of 8: then it says so.
        assert any("also fit" in words for words in found.assumed)
        return
    assert own == made
    assert_fits(found, weights)


def test_groups_of_the_usual_width_win():
    fields = {"channels": 144, "depths": [1, 1, 1, 1], "remove_center": True}
    found = recognise(meta_state(fields | {"groups": [9, 18, 36, 72]}))
    assert (found.config.groups, found.config.remove_center) == ((9, 18, 36, 72), True)
    assert any("also fit 9 points" in words for words in found.assumed)
    found = recognise(meta_state(fields | {"groups": [8, 16, 32, 64], "remove_center": False}))
    assert found.config.remove_center, "the same shapes: 18 channels in a group are unusual, 16 are not"


def test_the_class_count_of_the_weights_counts():
    found = recognise(meta_state({"base": "upernet_internimage_b", "num_classes": 19}))
    assert found.architecture == {"base": "upernet_internimage_b", "num_classes": 19}
    assert (found.variant, found.classes) == ("B", 19)
    found = recognise(
        meta_state({"base": "upernet_internimage_t", "aux_channels": None, "layer_scale": None})
    )
    assert found.architecture == {"base": "upernet_internimage_t", "aux_channels": None, "layer_scale": None}


def test_offset_scale_is_assumed_from_the_width_and_can_be_given():
    large = meta_state("internimage_l")
    assert recognise(large).config.offset_scale == 2.0
    given_scale = recognise(large, offset_scale=1.0)
    assert given_scale.architecture == {"base": "internimage_l", "offset_scale": 1.0}
    assert "offset_scale 1, as given" in given_scale.assumed
    assert recognise(meta_state("internimage_h")).config.offset_scale == 1.0


def test_an_auxiliary_head_of_another_form_is_left_out():
    state = meta_state(SEGMENTOR) | empty({"auxiliary_head.convs.1.conv.weight": (4, 4, 3, 3)})
    found = recognise(state)
    assert found.config.aux_channels is None
    assert "auxiliary head of another form" in found.found[1]
    report = fit_weights(found, state).report
    assert len(report.ignored) == 9
    assert not report.unexpected
    other_classes = meta_state(SEGMENTOR | {"num_classes": 5})
    assert recognise(other_classes | without(meta_state(SEGMENTOR), "auxiliary_head")).config == found.config


def test_a_classifier_without_its_last_layer_is_a_backbone():
    state = meta_state("internimage_t_1k")
    headless = {key: value for key, value in state.items() if not key.startswith("head.")}
    found = recognise(headless)
    assert (found.architecture, found.task) == ("internimage_t", "backbone")
    assert all(key.startswith("conv_head.") for key in fit_weights(found, headless).report.ignored)


def test_odd_keys_and_missing_ones_are_reported_in_full():
    state = meta_state(TINY)
    gone = [key for key in state if ".mlp.fc2." in key]
    extra = {f"strange.{index}": torch.empty(1, device="meta") for index in range(20)}
    weights = {key: value for key, value in state.items() if key not in gone} | extra
    report = fit_weights(recognise(weights), weights).report
    assert sorted(report.missing) == sorted(gone)
    assert sorted(report.unexpected) == sorted(extra)


def without(state, *starts):
    return {key: value for key, value in state.items() if not key.startswith(starts)}


def renamed(state, old, new):
    return {key.replace(old, new): value for key, value in state.items()}


def replaced(state, key, shape):
    assert key in state
    return state | empty({key: shape})


REFUSED = {
    "something else": (lambda: empty({"conv1.weight": (64, 3, 7, 7)}), "expected keys such as patch_embed"),
    "nothing": (dict, "not those of an InternImage"),
    "no stem": (lambda: without(meta_state(TINY), "patch_embed"), "lack patch_embed.conv2.weight"),
    "no third stage": (lambda: without(meta_state(TINY), "levels.2."), "blocks in the stages 0, 1, 3"),
    "a fifth stage": (
        lambda: meta_state(TINY) | renamed(meta_state(TINY), "levels.3", "levels.4"), "0, 1, 2, 3, 4",
    ),
    "a block less": (lambda: without(meta_state(TINY), "levels.2.blocks.0."), "lack block 0 of stage 2"),
    "blocks without end": (
        lambda: meta_state(TINY) | empty({"levels.2.blocks.999999.gamma1": (64,)}), "lack block 2 of stage 2",
    ),
    "flat stem": (
        lambda: replaced(meta_state(TINY), "patch_embed.conv2.weight", (16,)), r"has the shape \(16,\)",
    ),
    "empty stem": (
        lambda: replaced(meta_state(TINY), "patch_embed.conv2.weight", (0, 8, 3, 3)), "each at least 1",
    ),
    "odd groups": (
        lambda: replaced(meta_state(TINY), "levels.0.blocks.0.dcn.mask.weight", (7, 16)), "fits no number",
    ),
    "UPerNet of three grids": (
        lambda: without(meta_state(SEGMENTOR), "decode_head.psp_modules.3"), "pools over 3 grids",
    ),
    "no classifier of pixels": (
        lambda: without(meta_state(SEGMENTOR), "decode_head.conv_seg."), "lack decode_head.conv_seg.weight",
    ),
    "another decode head": (
        lambda: without(renamed(meta_state(SEGMENTOR), "_head.", "_head.x"), "auxiliary"),
        "a decode head of xbottleneck, xconv_seg",
    ),
    "a neck": (
        lambda: meta_state(SEGMENTOR) | empty({"neck.a": (1,), "pts_bbox_head.b": (1,)}),
        "a network with neck, pts_bbox_head",
    ),
    "a backbone of another name": (
        lambda: renamed(meta_state(SEGMENTOR), "backbone.", "img_backbone."),
        "a network whose backbone is called img_backbone",
    ),
    "metadata": (
        lambda: meta_state(TINY | {"num_classes": 7}) | empty({"meta_head_1.weight": (1, 1)}),
        r"iNaturalist network with metadata \(MetaFormer\), 7 classes",
    ),
    "boxes": (
        lambda: renamed(meta_state(TINY), "", "") | empty({"roi_head.bbox_head.fc_cls.weight": (9, 4)}),
        "Faster R-CNN, 8 classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_refused_in_words(case):
    make, words = REFUSED[case]
    with pytest.raises(BundleError, match=words):
        recognise(make())


def test_the_backbone_of_a_network_with_unknown_parts_can_be_taken():
    state = renamed(meta_state(SEGMENTOR), "backbone.", "img_backbone.") | empty({"neck.a": (1,)})
    found = recognise(state, backbone_only=True)
    assert found.prefix == "img_backbone."
    assert essential(found.config) == essential(load_config(TINY))
    assert "neck.a" in assert_fits_alone(found, state).report.ignored


def test_kernels_of_5x5_are_refused():
    state = meta_state(TINY)
    for stage, groups in enumerate(TINY["groups"]):
        for block in range(TINY["depths"][stage]):
            key = f"levels.{stage}.blocks.{block}.dcn.mask.weight"
            state = replaced(state, key, (25 * groups, 16 * 2**stage))
    with pytest.raises(BundleError, match="5x5 points"):
        recognise(state)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [(None, "behind the blocks 5, 11"), ([0], "has 2 extra norms"), ([1, 0], "1, 0"), ([0, 2], "0, 2")],
)
def test_extra_norms_that_cannot_be_there_are_refused(blocks, words):
    fields = {"post_norm": True, "level2_post_norm": True, "level2_post_norm_block_ids": [0, 1]}
    with pytest.raises(BundleError, match=words):
        recognise(meta_state(TINY | fields), post_norm_blocks=blocks)


def test_attention_heads_that_do_not_divide_the_width_are_refused():
    fields = TINY | {"num_classes": 3, "use_clip_projector": True, "clip_dims": [64, 2, 4, 12]}
    assert recognise(meta_state(fields)).config.clip_dims == (64, 2, 1, 12)
    with pytest.raises(ConfigError, match="heads"):
        recognise(meta_state(fields), attention_heads=5)


def test_configurations_are_of_the_kind_of_their_weights():
    assert isinstance(recognise(meta_state(TINY)).config, InternImageConfig)
    assert isinstance(recognise(meta_state(SEGMENTOR)).config, SegmentorConfig)
