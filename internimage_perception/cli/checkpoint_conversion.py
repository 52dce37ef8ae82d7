"""What `convert-checkpoint` does with a file once its options are checked; needs torch."""

import argparse
import json
from pathlib import Path

from internimage_perception.cli.bundle_options import input_spec, parse_output_size
from internimage_perception.cli.checkpoint_report import CheckpointReport
from internimage_perception.cli.class_choice import choose_classes
from internimage_perception.deploy import create_bundle
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.inference.bundle import ClassSpec, OutputSpec, sha256_of
from internimage_perception.models import ClassifierConfig, save_checkpoint
from internimage_perception.models.adapt import read_class_map, select_classes
from internimage_perception.models.checkpoint_files import StateDict, read_checkpoint
from internimage_perception.models.published import classifier_side
from internimage_perception.models.recognition import Recognition, fit_weights, recognise


def convert(options: argparse.Namespace) -> None:
    """Recognise, print, write. Raises BundleError and ConfigError; what was found is printed before."""
    report, classes = _recognise(options)
    differing = report.fitted.report.missing + report.fitted.report.misshaped
    written: dict[str, object] = {}
    if not options.json:
        print("\n".join(report.lines()), flush=True)
    if not differing and not options.dry_run:
        written = {"written": str(_write(options, report, classes))}
    if options.json:
        print(json.dumps(report.to_dict() | written, indent=2))
    if differing:
        raise BundleError(
            f"{options.file} is not converted: {len(report.fitted.report.missing)} keys of the network are "
            f"missing and {len(report.fitted.report.misshaped)} have another shape, such as {differing[0]}"
        )
    if written and not options.json:
        print(f"{written['written']} written")
        if classes:
            print(f"see what it holds: internimage-perception inspect {written['written']}")


def _recognise(options: argparse.Namespace) -> tuple[CheckpointReport, tuple[ClassSpec, ...]]:
    file = read_checkpoint(options.file, trust_pickle=options.trust_pickle, averaged=options.ema, mapped=True)
    weights, picked = file.weights, ""
    if options.map is not None:
        weights, picked = _pick(weights, options.map)
    blocks = options.post_norm_blocks
    network = recognise(
        weights,
        backbone_only=options.backbone_only,
        offset_scale=options.offset_scale,
        post_norm_blocks=None if blocks is None else [int(block) for block in blocks.split(",")],
        attention_heads=options.attention_heads,
    )
    has_attention = isinstance(network.config, ClassifierConfig) and network.config.use_clip_projector
    if options.attention_heads is not None and not has_attention:
        raise ConfigError(f"--attention-heads is given, but this is {network}, without such a head")
    classes: tuple[ClassSpec, ...] = ()
    origin = ""
    if network.classes is not None:
        names = () if picked else file.class_names
        classes, origin = choose_classes(
            network.classes, given=options.classes, names=names, palette=file.palette
        )
    elif options.classes is not None:
        raise ConfigError(f"--classes is given, but this is {network}, without classes")
    fitted = fit_weights(network, weights)
    return CheckpointReport(options.file, file, network, fitted, picked, origin), classes


def _pick(weights: StateDict, path: Path) -> tuple[StateDict, str]:
    """Keep the rows of the head that a map names; the official one names one class twice."""
    indices = read_class_map(path)
    picked = select_classes(weights, indices)
    different = len(set(indices))
    words = f"{len(indices)} classes picked by --map from the file's {len(weights['head.weight'])}"
    return picked, words if different == len(indices) else f"{words}, {different} different ones"


def _write(options: argparse.Namespace, report: CheckpointReport, classes: tuple[ClassSpec, ...]) -> Path:
    """Write what --out asks for; returns its path."""
    out: Path = options.out
    network, state = report.recognition, report.fitted.state
    if out.suffix == ".safetensors":
        fields = {"architecture": json.dumps(network.architecture), "source": options.file.name}
        save_checkpoint(out, _apart(state), metadata=fields)
        return out
    if not classes:
        raise ConfigError(
            f"this is {network}: a bundle needs a head. Its weights alone can be written: give --out a name "
            "that ends in .safetensors"
        )
    bundle = create_bundle(
        out,
        architecture=network.architecture,
        state_dict=state,
        classes=classes,
        input_spec=input_spec(options, _classifier_side(network)),
        output_spec=OutputSpec(parse_output_size(options.output_size)),
        name=options.name or out.resolve().name,
        provenance={
            "weights": f"{options.file.name}, sha256 {sha256_of(options.file)}",
            "layout": report.file.layout(),
            "recognised": str(network),
            "assumed": "; ".join(network.assumed),
            **({"picked": report.picked} if report.picked else {}),
        },
        overwrite=options.overwrite,
    )
    return bundle.root


def _apart(state: StateDict) -> StateDict:
    """Give tensors that share memory, which safetensors does not store, memory of their own."""
    seen: set[int] = set()
    separate: StateDict = {}
    for key, value in state.items():
        place = value.untyped_storage().data_ptr()
        separate[key] = value.clone() if place in seen else value
        seen.add(place)
    return separate


def _classifier_side(network: Recognition) -> int | None:
    """Return the side of the images that such a classifier is made for; None for a segmentor."""
    if not isinstance(network.config, ClassifierConfig):
        return None
    return classifier_side(f"internimage_{network.variant.lower()}", network.config.num_classes)
