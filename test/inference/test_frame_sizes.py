"""Sizes of frames: what an export takes on every backend, and what the refusals advise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.engines import fake_toolkit

from internimage_perception.errors import BackendError
from internimage_perception.geometry import PinholeCamera
from internimage_perception.inference.backends import NullBackend, create_backend
from internimage_perception.inference.backends.onnxruntime import OnnxRuntimeBackend
from internimage_perception.inference.backends.tensorrt import TensorRTBackend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.cache import CACHE_ENVIRONMENT
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.export_spec import ExportSpec
from internimage_perception.inference.frame_sizes import FrameSizes

FIXED = ExportSpec("fp32", (4, 4, 4), (48, 48, 48), (64, 64, 64))
RANGES = ExportSpec("fp32", (1, 1, 8), (24, 48, 144), (32, 64, 192))


@pytest.fixture
def plain(brightness_bundle: Path) -> Bundle:
    return Bundle.load(brightness_bundle)


def images(count: int, height: int, width: int) -> np.ndarray:
    return np.zeros((count, height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "taken"),
    [((24, 32), True), ((144, 192), True), ((48, 64), True), ((23, 64), False), ((48, 193), False)],
)
def test_ranges_hold_at_both_ends(plain: Bundle, size: tuple[int, int], taken: bool) -> None:
    sizes = FrameSizes.of_export(replace(plain, export=RANGES))
    assert sizes is not None and sizes.take(*size) is taken


def test_a_plain_bundle_takes_any_size(plain: Bundle) -> None:
    for backend in (NullBackend(plain), OnnxRuntimeBackend(plain)):
        assert backend.frame_sizes is None
        assert backend.run(images(1, 3, 5))["class_ids"].shape == (1, 3, 5)


def test_a_refusal_says_what_is_taken_and_how_to_export(plain: Bundle) -> None:
    fixed = FrameSizes.of_export(replace(plain, export=FIXED))
    assert fixed is not None
    assert fixed.refusal(24, 32) == (
        f"images of 32x24 pixels (width x height) do not fit the export {plain.root}, which takes 64x48; "
        "export the bundle anew with --height 24 --width 32, or with --dynamic for cameras of several sizes"
    )
    ranges = FrameSizes.of_export(replace(plain, export=RANGES))
    assert ranges is not None
    refusal = ranges.refusal(20, 200)
    assert "which takes widths 32 to 192 and heights 24 to 144" in refusal
    assert refusal.endswith("--height 20:48:144 --width 32:64:200")


@pytest.mark.parametrize("size", [(20, 64), (48, 200)])
def test_every_backend_refuses_what_the_export_does_not_take(
    plain: Bundle, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph itself would run on any size in ONNX Runtime; an engine would not."""
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path))
    exported = replace(plain, export=RANGES)
    backends = [OnnxRuntimeBackend(exported), TensorRTBackend(exported, toolkit=fake_toolkit())]
    assert backends[0].frame_sizes == backends[1].frame_sizes == NullBackend(exported).frame_sizes
    for backend in backends:
        assert backend.run(images(2, 24, 32))["class_ids"].shape == (2, 24, 32)
        with pytest.raises(BackendError, match=f"{size[1]}x{size[0]} pixels .* do not fit the export"):
            backend.run(images(1, *size))


def test_an_engine_for_fewer_sizes_asks_for_another_engine(
    plain: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path))
    usual = TensorRTBackend(plain, toolkit=fake_toolkit()).frame_sizes
    assert usual is not None and usual.take(1080, 1920)
    profile = Profile((1, 4, 4), (24, 48, 48), (32, 64, 64))
    sizes = TensorRTBackend(plain, profile=profile, toolkit=fake_toolkit()).frame_sizes
    assert sizes is not None and not sizes.take(96, 64)
    assert f"build-engine {plain.root}` with --height 24:48:96 --width 32:64:64" in sizes.refusal(96, 64)


def test_a_warning_names_cameras_calibrated_for_other_sizes(plain: Bundle) -> None:
    def lens(width: int, height: int) -> PinholeCamera:
        return PinholeCamera(width=width, height=height, fx=50.0, fy=50.0, cx=width / 2, cy=height / 2)

    sizes = FrameSizes.of_export(replace(plain, export=FIXED))
    assert sizes is not None
    assert sizes.misfits({"front": lens(64, 48)}) is None
    warning = sizes.misfits({"front": lens(64, 48), "left": lens(32, 24), "rear": lens(128, 96)})
    assert warning is not None
    assert "which takes 64x48: left (32x24), rear (128x96);" in warning
    assert "front" not in warning and "--height 24 --width 32" in warning


def test_a_graph_of_fixed_sizes_without_an_export_says_its_own(plain: Bundle, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(plain.file("portable.onnx"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[1].dim_value = 48
    onnx.save(model, tmp_path / "portable.onnx")
    backend = create_backend("onnxruntime-cpu", replace(plain, root=tmp_path))
    with pytest.raises(BackendError, match=r"widths 1 to 16384 and heights 48"):
        backend.run(images(1, 47, 64))
    assert backend.run(images(1, 48, 70))["class_ids"].shape == (1, 48, 70)
