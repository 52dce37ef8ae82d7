"""Exporting a bundle: graphs for one precision and one size of frames, checked, in a folder of their own."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import external_data_helper

from internimage_perception import __version__
from internimage_perception.deploy.agreement import (
    LOGITS,
    Answers,
    ExportedFile,
    Figures,
    Frames,
    Peak,
    compare,
    rounded_answers,
    torch_answers,
)
from internimage_perception.deploy.export import sign
from internimage_perception.deploy.folders import check_target, model_folder
from internimage_perception.deploy.half import LARGEST, half_graph
from internimage_perception.deploy.quantization import quantize
from internimage_perception.deploy.tracing import Graph, merge_batch_norms, trace
from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.backends.torch import load_graph
from internimage_perception.inference.bundle import (
    CLASS_NAMES,
    CLASSIFICATION,
    PLUGIN,
    PORTABLE,
    Bundle,
    ExportSpec,
    sha256_of,
)
from internimage_perception.inference.check_frames import CHECK, StoredCheck, patterned_frames, store_check
from internimage_perception.inference.class_names import write_names
from internimage_perception.inference.export_spec import FP16, FP32, INT8

WEIGHTS_DATA = "weights.data"
_TOGETHER = 1_000_000_000
"""Bytes of values up to which a graph holds them itself; one file holds 2 GB at most."""
_SMALL = 1024
"""Bytes of a value that stays in the graph in any case: shapes and the like must be read with it."""

_STORED = 2
"""Frames that travel with an export."""

NOISE = "noise"
_LIMITS: Mapping[str, Mapping[tuple[str, str], float]] = {
    FP32: {(LOGITS, "relative_difference"): 1e-4, ("class_ids", "different"): 1e-3},
    FP16: {(LOGITS, "relative_rms"): 0.05},
    INT8: {(LOGITS, "relative_rms"): 0.25},
}
"""Most that an output may differ. Masks of a network without training flip between classes as likely as each
other, so that float16 and int8 are judged by their logits."""


@dataclass(frozen=True, slots=True)
class ExportFrames:
    """Frames to check and to calibrate an export with, in the bundle's channel order.

    Attributes:
        checked: kind of frames to frames, uint8 (H, W, 3), all of the export's usual size.
        calibrated: frames that int8's scales are taken from; none of them is among the others.
    """

    checked: Mapping[str, Sequence[Frames]] = field(default_factory=dict)
    calibrated: Sequence[Frames] = ()


def check_exportable(bundle: Bundle, out_dir: Path, *, overwrite: bool) -> None:
    """Raise what `export_bundle` would raise for the bundle and the folder, before any work."""
    check_target(out_dir, overwrite=overwrite)
    if bundle.export is not None:
        message = f"{bundle.root} is an export already; take the bundle it was exported from"
        if "exported_from" in bundle.provenance:
            message += f", {bundle.provenance['exported_from']}"
        raise BackendError(message)


def export_bundle(
    bundle: Bundle, out_dir: Path, spec: ExportSpec, frames: ExportFrames, *, overwrite: bool = False
) -> Bundle:
    """Write the export of a bundle and return it, loaded and verified.

    The folder appears under its name only when it is whole and its graphs answer like PyTorch.

    Args:
        bundle: with weights of its own.
        out_dir: the folder to make.
        spec: precision and frames; what it says of agreement is replaced by what is found.
        frames: beside noise, which is always checked.
        overwrite: replace a bundle or export that is there.

    Raises:
        BundleError: the folder may not be written, or the graph's answers are too far off; nothing is left.
        ConfigError: int8 without frames to calibrate with.
        BackendError: the bundle is itself an export.
    """
    check_exportable(bundle, out_dir, overwrite=overwrite)
    if spec.precision == INT8 and not frames.calibrated:
        message = (
            "int8 takes its scales from real frames, and none are given; calibrate with a bag or pictures"
        )
        raise ConfigError(message)
    graph = load_graph(bundle)
    half = half_graph(graph) if spec.precision == FP16 else None
    kinds = {NOISE: _noise(spec)}
    kinds |= {kind: list(_batches(given, spec.batch[1])) for kind, given in frames.checked.items() if given}
    # Before the work of exporting: a network that leaves float16's range is refused for it.
    rounded = {} if half is None else _rounded(half, kinds)
    with model_folder(out_dir) as folder:
        names = _write_graphs(_model(bundle, graph, half, spec, frames, folder), folder)
        if bundle.task == CLASSIFICATION:
            write_names(folder / CLASS_NAMES, [item.name for item in bundle.classes])
            names.append(CLASS_NAMES)
        figures = _check(
            ExportedFile(folder / PORTABLE, graph.outputs), graph, spec.precision, kinds, rounded
        )
        store_check(folder / CHECK, _stored(graph, kinds))
        names.append(CHECK)
        made = replace(
            bundle,
            root=folder,
            export=replace(spec, agreement=figures),
            provenance={**bundle.provenance, "exported_from": bundle.identity(), "exporter": __version__},
            files={name: sha256_of(folder / name) for name in names},
        )
        made.write_manifest()
    return Bundle.load(out_dir)


def _model(
    bundle: Bundle, graph: Graph, half: Graph | None, spec: ExportSpec, frames: ExportFrames, folder: Path
) -> onnx.ModelProto:
    """Return the graph in its precision, with DCNv3's function and its weights as plain initialisers."""
    ranges = (spec.batch, spec.height, spec.width)
    batch, height, width = (usual if least == most else None for least, usual, most in ranges)
    model = trace(half or merge_batch_norms(graph), (batch, height, width))
    if spec.precision == INT8:
        scratch = folder / "scratch"
        scratch.mkdir()
        batches = list(_batches(frames.calibrated, spec.batch[1] if batch else 1))
        model = quantize(model, batches, scratch, large=_size(model) > _TOGETHER)
        shutil.rmtree(scratch)
    properties = {"name": bundle.name, "version": __version__, "precision": spec.precision}
    sign(model, graph, properties)
    return model


def _size(model: onnx.ModelProto) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def _write_graphs(model: onnx.ModelProto, folder: Path) -> list[str]:
    """Write both graphs, their weights apart where they are too many for each; return the files' names."""
    names = [PORTABLE, PLUGIN]
    if _size(model) > _TOGETHER:
        external_data_helper.convert_model_to_external_data(
            model, location=WEIGHTS_DATA, size_threshold=_SMALL
        )
        external_data_helper.write_external_data_tensors(model, str(folder))
        names.append(WEIGHTS_DATA)
    for name in (PORTABLE, PLUGIN):
        if name == PLUGIN:
            del model.functions[:]
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))
        try:
            onnx.checker.check_model(folder / name)  # by its path, so that the weights are found
        except onnx.checker.ValidationError as error:
            message = f"no export was written: the onnx package refuses {name}: {error}"
            raise BundleError(message) from error
    return names


def _batches(images: Sequence[Frames], count: int) -> Iterator[Frames]:
    """Yield frames `count` at a time; the last one is repeated until its batch is full."""
    for start in range(0, len(images), count):
        chunk = list(images[start : start + count])
        yield np.stack(chunk + [chunk[-1]] * (count - len(chunk)))


def _noise(spec: ExportSpec) -> list[Frames]:
    """Return noise of the usual shape and, where the graph takes others, of an odd one."""
    shapes = [(spec.batch[1], spec.height[1], spec.width[1], 3)]
    if not spec.fixed:
        count, height, width = spec.batch, spec.height, spec.width
        odd = (min(count[0] + 1, count[2]), min(height[0] + 5, height[2]), min(width[0] + 3, width[2]), 3)
        shapes.append(odd)
    generator = np.random.default_rng(0)
    return [patterned_frames(generator, shape) for shape in shapes]


_Kinds = Mapping[str, Sequence[Frames]]
_Rounded = Mapping[str, tuple[Answers, Peak]]


def _rounded(half: Graph, kinds: _Kinds) -> _Rounded:
    """Return what PyTorch answers in float16 to the first frames of each kind, and the largest value inside.

    Raises BundleError when values leave float16's range.
    """
    found = {kind: rounded_answers(half, batches[0]) for kind, batches in kinds.items()}
    for kind, (_, peak) in found.items():
        if peak.value >= LARGEST:
            message = (
                f"no export was written: float16 ends at {LARGEST:.0f}, and {peak.layer} of this network "
                f"goes beyond it on {kind} frames; export it with precision fp32"
            )
            raise BundleError(message)
    return found


def _stored(graph: Graph, kinds: _Kinds) -> StoredCheck:
    """Return real frames, or else noise, with PyTorch's answers, for computers that have neither."""
    batches = list(kinds.values())[-1]
    images = np.concatenate([item for item in batches if item.shape[1:] == batches[0].shape[1:]])[:_STORED]
    answers = [torch_answers(graph, image[np.newaxis]) for image in images]
    columns = ([item.class_ids for item in answers], [item.certainty for item in answers])
    named = zip(graph.outputs, columns, strict=True)
    return StoredCheck(images, {name: np.concatenate(values) for name, values in named})


def _check(
    file: ExportedFile, graph: Graph, precision: str, kinds: _Kinds, rounded: _Rounded
) -> dict[str, dict[str, float]]:
    """Return the figures of all kinds of frames. Raises BundleError when the file is too far off."""
    found: dict[str, dict[str, float]] = {}
    for kind, batches in kinds.items():
        own = [torch_answers(graph, batch) for batch in batches]
        figures = compare(graph, [(mine, file.run(batch)) for mine, batch in zip(own, batches, strict=True)])
        if kind != NOISE or precision != INT8:  # scales are made for what cameras show
            _refuse(figures, precision, f"on {kind} frames")
        _add(found, kind, figures)
        if kind in rounded:
            answers, peak = rounded[kind]
            figures = compare(graph, [(own[0], answers)])
            _refuse(figures, precision, f"on {kind} frames, every value rounded to float16")
            _add(found, f"{kind}_rounded", figures)
            found[LOGITS][f"{kind}_largest_value"] = float(f"{peak.value:.6g}")
    return found


def _refuse(figures: Figures, precision: str, where: str) -> None:
    figures = {**figures, "class_ids": {"different": 1 - figures["class_ids"]["identical"]}}
    for (output, figure), limit in _LIMITS[precision].items():
        if not figures[output][figure] <= limit:
            message = (
                f"no export was written: {where} the {precision} graph answers differently from PyTorch: "
                f"{output} {figure.replace('_', ' ')} {figures[output][figure]:.3g}, allowed {limit:g}; "
            )
            raise BundleError(message + _ADVICE[precision])


_ADVICE = {
    FP32: "this is an error of the exporter or of ONNX Runtime",
    FP16: "export it with precision fp32",
    INT8: "calibrate with frames of the vehicle's own cameras, and with more of them, or take fp16",
}


def _add(found: dict[str, dict[str, float]], kind: str, figures: Figures) -> None:
    for output, values in figures.items():
        named = {f"{kind}_{figure}": float(f"{value:.6g}") for figure, value in values.items()}
        found.setdefault(output, {}).update(named)
