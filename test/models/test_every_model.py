"""Every registered network: its full size without weights, a small one of its kind exported and run."""

import dataclasses
import functools

import pytest
import torch

from internimage_perception.models import (
    InternImageConfig,
    create_model,
    deploy_model,
    load_config,
    model_names,
)
from internimage_perception.models.catalog import describe_model
from internimage_perception.models.config import SegmentorConfig, parse_config, to_mapping

CLASSES = 6


def reduced(name):
    """Return the smallest network with all the flags of a registered one, as a hashable configuration."""
    mapping = to_mapping(load_config(name))
    width = mapping["channels"] // mapping["groups"][0]
    mapping |= {
        "channels": 16, "depths": [1, 1, 2, 1], "groups": [1, 2, 4, 8] if width < 32 else [2, 4, 8, 16],
        "drop_path_rate": 0.0, "num_classes": CLASSES,
    }  # fmt: skip
    if mapping["level2_post_norm"]:
        mapping["level2_post_norm_block_ids"] = [1]
    if mapping["layer_scale"] is not None:
        mapping["layer_scale"] = 1.0
    if "clip_dims" in mapping:
        mapping["clip_dims"] = [32, 2, 4, 24]
    elif mapping.get("aux_channels"):
        mapping["aux_channels"] = None
    # A backbone is deployed under a head.
    if isinstance(load_config(name), InternImageConfig | SegmentorConfig):
        mapping["head_channels"] = 16
    return parse_config(mapping)


def lively(config):
    """Return a network whose offsets, masks and answers differ from place to place."""
    torch.manual_seed(0)
    model = create_model(config)
    for name, parameter in model.named_parameters():
        if ".offset." in name or ".mask." in name:
            torch.nn.init.normal_(parameter, std=0.2)
        if "conv_seg" in name or name.startswith("head."):
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Return a function: a configuration to its export's report, made once per kind of network."""
    pytest.importorskip("onnxruntime")
    from internimage_perception.deploy import export_portable  # noqa: PLC0415 - needs onnx

    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def exported(config):
        statistics = {"mean": (120.0, 115.0, 100.0), "std": (58.0, 57.0, 56.0)}
        graph = deploy_model(lively(config), height=64, width=64, **statistics)
        return export_portable(graph, folder / f"{abs(hash(config))}.onnx")

    return exported


@pytest.mark.parametrize("name", model_names())
def test_a_registered_network(name, export):
    description = describe_model(name)
    assert description.parameters > 1e6

    config = reduced(name)
    flags = ("post_norm", "res_post_norm", "center_feature_scale", "offset_scale", "dw_kernel_size")
    full, small = (getattr(item, "backbone", item) for item in (load_config(name), config))
    assert [getattr(full, flag) for flag in flags] == [getattr(small, flag) for flag in flags]
    assert (full.layer_scale is None) == (small.layer_scale is None)

    report = export(config)
    assert report.path.stat().st_size == report.size
    ids, share = report.agreements
    assert ids.identical > 0.999
    # Of a mask one step of 255; of ranks the logarithm of a probability.
    assert share.max_difference <= (1 if share.name == "confidence" else 1e-3)


def test_the_kinds_that_are_exported_differ():
    configurations = {reduced(name) for name in model_names()}
    assert len(configurations) == 13
    assert all(dataclasses.is_dataclass(item) for item in configurations)
