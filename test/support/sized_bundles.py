"""The brightness bundle as an export for one size, and one whose graph fails on other sizes unannounced."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from internimage_perception.inference.bundle import PORTABLE, Bundle, sha256_of
from internimage_perception.inference.export_spec import ExportSpec


def fixed_export(source: Path, folder: Path, *, batch: int = 4, height: int = 48, width: int = 64) -> Path:
    """Write an export of the brightness bundle for frames of one shape; returns its folder."""
    model = onnx.load(source / PORTABLE)
    for value in (*model.graph.input, *model.graph.output):
        for dim, size in zip(value.type.tensor_type.shape.dim, (batch, height, width), strict=False):
            dim.dim_value = size
    spec = ExportSpec("fp32", *((size,) * 3 for size in (batch, height, width)))
    return _write(model, source, folder, spec)


def failing_elsewhere(source: Path, folder: Path, *, height: int = 48, width: int = 64) -> Path:
    """Write a bundle that says it takes any size, and fails in the middle of its graph on all but one."""
    model = onnx.load(source / PORTABLE)
    nothing = np.zeros((height, width), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(nothing, "picture"))
    index, floor = next((i, node) for i, node in enumerate(model.graph.node) if node.op_type == "Floor")
    model.graph.node.insert(index, onnx.helper.make_node("Add", [floor.input[0], "picture"], ["summed"]))
    floor.input[0] = "summed"
    return _write(model, source, folder, None)


def _write(model: onnx.ModelProto, source: Path, folder: Path, spec: ExportSpec | None) -> Path:
    shutil.copytree(source, folder)
    onnx.save(model, folder / PORTABLE)
    bundle = Bundle.load(folder, verify=False)
    replace(bundle, export=spec, files={PORTABLE: sha256_of(folder / PORTABLE)}).write_manifest()
    return folder
