"""Writing the deployed graph as portable ONNX, complete or with its weights in a file beside it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import helper

from internimage_perception.deploy.initializers import WeightsFile, store_initializers
from internimage_perception.deploy.selfcheck import OutputAgreement, check_export
from internimage_perception.deploy.tracing import Graph, merge_batch_norms, trace
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.files import atomic_path

_PROTOBUF_LIMIT = 2**31 - 2**24
"""Most bytes of values in one ONNX file: the format's 2 GB, less what nodes and names may take."""
_ACCEPTED = 0.999
"""Least share of values that agree: near-ties between classes fall either way, anything more is an error."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how well it answers.

    Attributes:
        path: the file.
        sha256: its checksum.
        size: its length in bytes.
        external: the bytes it reads from the weights file beside it; 0 when it is complete.
        agreements: each output against PyTorch, on random frames in ONNX Runtime.
    """

    path: Path
    sha256: str
    size: int
    external: int
    agreements: tuple[OutputAgreement, ...]


def export_portable(
    graph: Graph,
    path: Path,
    *,
    weights: Path | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write `graph` to `path` as ONNX, after it has answered like PyTorch.

    The file takes "images", uint8 (N, H, W, 3) with N, H and W free, and answers under the names of
    `graph.outputs` what the graph returns. DCNv3 stays one node per layer, with a function of standard
    operators (set 18) beside it, so that ONNX Runtime and TensorRT run the file without a plugin. Weights
    that float16 holds exactly are stored as float16 with a cast behind. The file appears under its name
    only when it is whole.

    Args:
        graph: the graph; brought into evaluation mode.
        path: where to write.
        weights: the network's weights as safetensors in the same folder. The graph then refers to the
            values there (ONNX external data) instead of holding them, and the two files belong together
            from then on. None: the file is complete by itself.
        metadata: texts to put into the file, such as name and version; `weights_sha256` is added.

    Raises:
        ConfigError: the values are too many for one ONNX file (2 GB), or `weights` lies elsewhere or holds
            another network.
        BundleError: the file answers differently from PyTorch or is no valid ONNX, and nothing is left
            behind; or `weights` cannot be read.
    """
    if weights and weights.parent.resolve() != path.parent.resolve():
        message = f"{weights} must lie beside {path}: a graph names its weights relative to its own folder"
        raise ConfigError(message)
    stored = WeightsFile(weights) if weights else None
    # The model itself is gone before the check, which needs memory for the network twice more.
    data, external = _serialize(graph.eval(), stored, metadata or {})
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        try:
            onnx.checker.check_model(temporary)  # by its path, so that the weights file is found
        except onnx.checker.ValidationError as error:
            message = f"{path} was not written: the onnx package refuses it: {error}"
            raise BundleError(message) from error
        agreements = check_export(graph, temporary)
        # A confidence is rounded, and may be rounded either way; it is that of the class beside it.
        if any(item.identical < _ACCEPTED for item in agreements if item.name != "confidence"):
            message = f"{path} was not written: the exported graph answers differently from PyTorch ("
            raise BundleError(message + "; ".join(map(str, agreements)) + ")")
    return ExportReport(path, hashlib.sha256(data).hexdigest(), len(data), external, agreements)


def _serialize(graph: Graph, stored: WeightsFile | None, metadata: Mapping[str, str]) -> tuple[bytes, int]:
    """Return the ONNX file's content, and the bytes it refers to outside."""
    model = trace(merge_batch_norms(graph))
    external = store_initializers(model, stored)
    sign(model, graph, metadata)
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size > _PROTOBUF_LIMIT:
        message = (
            f"the graph has {size / 1e9:.1f} GB of values; one ONNX file holds at most 2 GB: "
            "let it refer to a weights file beside it, as a bundle's graph does"
        )
        raise ConfigError(message)
    return model.SerializeToString(deterministic=True), external


def sign(model: onnx.ModelProto, graph: Graph, metadata: Mapping[str, str]) -> None:
    """Write into an exported file what it was made from: `metadata` and the weights' checksum."""
    helper.set_model_props(model, {**metadata, "weights_sha256": _weights_digest(graph)})
    model.producer_name = "internimage_perception"
    model.producer_version = ""


def _weights_digest(graph: Graph) -> str:
    """Return the SHA-256 of names and values of all weights, so that a file tells what it was made from."""
    digest = hashlib.sha256()
    for name, tensor in graph.model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
