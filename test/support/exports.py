"""Small models of every kind that can be exported, and a helper to export them in one line."""

import numpy as np
import torch

from internimage_perception.deploy import ExportFrames, export_bundle
from internimage_perception.inference.bundle import (
    CLASS_NAMES,
    CLASSIFICATION,
    SEGMENTATION,
    WEIGHTS,
    Bundle,
    ClassSpec,
    ExportSpec,
    InputSpec,
    OutputSpec,
    sha256_of,
)
from internimage_perception.inference.class_names import write_names
from internimage_perception.models import Segmentor, create_model, save_checkpoint
from internimage_perception.models.config import to_mapping

SEGMENTOR = {
    "channels": 16, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "head_channels": 16, "num_classes": 5,
}  # fmt: skip
LIKE_H = SEGMENTOR | {
    "depths": [1, 1, 2, 1], "dw_kernel_size": 5, "res_post_norm": True, "level2_post_norm": True,
    "level2_post_norm_block_ids": [1], "center_feature_scale": True,
}  # fmt: skip
LIKE_XL = SEGMENTOR | {
    "groups": [2, 4, 8, 16], "post_norm": True, "layer_scale": 0.5, "offset_scale": 2.0, "kind": "segformer",
}  # fmt: skip
CLASSIFIER = {"channels": 16, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "num_classes": 7}
CLASSIFIER_LIKE_H = CLASSIFIER | {
    "dw_kernel_size": 5, "center_feature_scale": True, "use_clip_projector": True,
    "clip_dims": [16, 2, 4, 24],
}  # fmt: skip


def bundle_of(folder, architecture, *, height=64, width=96, order="bgr", change=None):
    """Return a bundle whose network decides something; `change` may alter its network first."""
    torch.manual_seed(1)
    model = create_model(architecture)
    for name, parameter in model.named_parameters():
        if ".offset." in name or ".mask." in name:
            torch.nn.init.normal_(parameter, std=0.2)
        if "conv_seg" in name or name == "head.weight":
            torch.nn.init.normal_(parameter, std=0.5)
    if change is not None:
        change(model)
    masks = isinstance(model, Segmentor)
    folder.mkdir(parents=True)
    # As `create_bundle` does, less the portable graph, which an export does not read.
    save_checkpoint(folder / WEIGHTS, model.state_dict(), half=True)
    files = [WEIGHTS]
    if not masks:
        write_names(folder / CLASS_NAMES, [f"class {i}" for i in range(architecture["num_classes"])])
        files.append(CLASS_NAMES)
    Bundle(
        root=folder,
        name="small",
        task=SEGMENTATION if masks else CLASSIFICATION,
        architecture=to_mapping(model.config if masks else model.classifier),
        classes=tuple(ClassSpec(i, f"class {i}", (i, 0, 0)) for i in range(architecture["num_classes"])),
        input=InputSpec(height, width, order),
        output=OutputSpec("model"),
        provenance={"weights": "random"},
        files={name: sha256_of(folder / name) for name in files},
    ).write_manifest()
    return Bundle.load(folder)


def export(bundle, folder, precision, batch, height, width, frames=None, **options):
    """Export with fixed sizes, given as numbers, or ranges, given as three."""
    ranges = [(size,) * 3 if isinstance(size, int) else size for size in (batch, height, width)]
    return export_bundle(bundle, folder, ExportSpec(precision, *ranges), frames or ExportFrames(), **options)


def pictures(count, height, width, seed=0):
    """Return frames with large and small structure, uint8 (height, width, 3) each."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
        fine = generator.integers(-20, 20, (height, width, 3))
        large = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
        found.append(np.clip(large + fine, 0, 255).astype(np.uint8))
    return found
