"""Making a model bundle: weights, portable graph and manifest in one folder."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from internimage_perception import __version__
from internimage_perception.deploy.export import export_portable
from internimage_perception.deploy.folders import check_target, model_folder
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.inference.bundle import (
    CLASS_NAMES,
    CLASSIFICATION,
    PORTABLE,
    SEGMENTATION,
    WEIGHTS,
    Bundle,
    ClassSpec,
    InputSpec,
    OutputSpec,
    sha256_of,
)
from internimage_perception.inference.class_names import write_names
from internimage_perception.models.checkpoints import load_weights, save_checkpoint, to_half
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.config import (
    ClassifierConfig,
    InternImageConfig,
    SegmentorConfig,
    to_mapping,
)
from internimage_perception.models.deployed import deploy_model
from internimage_perception.models.registry import load_config
from internimage_perception.models.segmentor import Segmentor


def create_bundle(  # noqa: PLR0913 - what a bundle is made of
    out_dir: str | Path,
    *,
    architecture: str | Mapping[str, object],
    state_dict: Mapping[str, torch.Tensor] | None,
    classes: Sequence[ClassSpec],
    input_spec: InputSpec,
    output_spec: OutputSpec | None = None,
    name: str,
    provenance: Mapping[str, object] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle folder and return it, loaded and verified.

    The folder appears under its name only when it is whole. Weights are rounded to float16 once and lie in
    the folder once: the graph refers to the values in the weights file, so that every backend computes with
    the same network. The auxiliary head, which only training needs, is left out.

    Args:
        out_dir: the folder to make.
        architecture: of a segmentor or classifier: name or mapping as `models.create_model` takes it; a
            name adopts the number of `classes`, a mapping must agree with it.
        state_dict: weights; None: random ones from `seed`.
        classes: the classes, ids counting up from 0.
        input_spec: size and statistics of the network's input (statistics in RGB order).
        output_spec: resolution of the masks; None: that of the network's input. A classifier's is None.
        name: the model's name.
        provenance: where the weights come from; needs `weights` when `state_dict` is given.
        seed: for random weights.
        overwrite: replace an existing bundle.

    Raises:
        ConfigError: the architecture is a bare backbone or does not fit the classes.
        BundleError: the folder exists, the weights do not fit, or the exported graph answers differently.
    """
    out_dir = Path(out_dir)
    check_target(out_dir, overwrite=overwrite)
    config = _configuration(architecture, classes)
    model = _model(config, state_dict, seed)
    random = {"weights": f"random, seed {seed}"} if state_dict is None else {}
    origin: dict[str, object] = {**random, **(provenance or {})}
    if not origin.get("weights"):
        message = "provenance needs `weights`: a sentence on where they come from"
        raise ConfigError(message)
    output = output_spec or OutputSpec()
    graph = deploy_model(
        model,
        height=input_spec.height,
        width=input_spec.width,
        mean=input_spec.mean,
        std=input_spec.std,
        output_size=output.size,
        channel_order=input_spec.channel_order,
    )
    task, names = SEGMENTATION, [WEIGHTS, PORTABLE]
    with model_folder(out_dir) as folder:
        if isinstance(model, Classifier):
            task, names = CLASSIFICATION, [*names, CLASS_NAMES]
            write_names(folder / CLASS_NAMES, [item.name for item in classes])
        save_checkpoint(folder / WEIGHTS, model.state_dict(), half=True, metadata={"name": name})
        metadata = {"name": name, "version": __version__}
        export_portable(graph, folder / PORTABLE, weights=folder / WEIGHTS, metadata=metadata)
        bundle = Bundle(
            root=folder,
            name=name,
            task=task,
            architecture=to_mapping(config),
            classes=tuple(classes),
            input=input_spec,
            output=output,
            provenance=origin,
            files={file: sha256_of(folder / file) for file in names},
        )
        bundle.write_manifest()
    return Bundle.load(out_dir)


def _configuration(
    architecture: str | Mapping[str, object], classes: Sequence[ClassSpec]
) -> SegmentorConfig | ClassifierConfig:
    if [item.id for item in classes] != list(range(len(classes))) or not classes:
        message = "classes need the ids 0, 1, 2 and so on, in this order"
        raise BundleError(message)
    named = isinstance(architecture, str)
    config = load_config({"base": architecture, "num_classes": len(classes)} if named else architecture)
    if named and isinstance(config, ClassifierConfig):
        # With a number of classes a bare backbone would be a classifier, which nobody asked for.
        config = config if isinstance(load_config(architecture), ClassifierConfig) else config.backbone
    if isinstance(config, InternImageConfig):
        message = (
            f"{architecture!r} is a bare backbone; a bundle needs a segmentor, with head_channels, or a "
            "classifier, with num_classes"
        )
        raise ConfigError(message)
    if config.num_classes != len(classes):
        message = (
            f"the architecture has num_classes {config.num_classes}, but {len(classes)} classes are given"
        )
        raise ConfigError(message)
    return dataclasses.replace(config, aux_channels=None) if isinstance(config, SegmentorConfig) else config


def _model(
    config: SegmentorConfig | ClassifierConfig, state_dict: Mapping[str, torch.Tensor] | None, seed: int
) -> Segmentor | Classifier:
    """Return the network in evaluation mode, its weights rounded to what float16 can hold."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (Segmentor(config) if isinstance(config, SegmentorConfig) else Classifier(config)).eval()
    if state_dict is not None:
        load_weights(model, state_dict)
    for key, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            message = (
                f"the weights are of no use: {key} holds values that are not finite numbers, as after a "
                "training that diverged; take an earlier checkpoint"
            )
            raise BundleError(message)
        tensor.copy_(to_half(tensor))
    return model
