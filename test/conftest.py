"""Fixtures every test may use."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

import internimage_perception
from internimage_perception.inference.bundle import (
    PORTABLE,
    Bundle,
    ClassSpec,
    InputSpec,
    OutputSpec,
    sha256_of,
)

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "test" / "golden"

pytest_plugins = ["skips_plugin"]

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# One package from two folders: the modules are in the source tree, the generated messages in the install
# space. Which of them Python finds first depends on how pytest was started.
_folders = dict.fromkeys(Path(start, "internimage_perception").resolve() for start in (ROOT, *sys.path))
internimage_perception.__path__ = [str(folder) for folder in _folders if folder.is_dir()]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the numeric reference outputs that travel with the repository."""
    return GOLDEN


@pytest.fixture(scope="session")
def recipe(golden: Path) -> ModuleType:
    """Return the module that makes reference weights and inputs."""
    spec = importlib.util.spec_from_file_location("golden_recipe", golden / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images, calibrations and bags beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data not beside the project")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Folder with the whole set of golden outputs beside the project."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("golden set not beside the project")
    return folder


@pytest.fixture(scope="session")
def brightness_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle whose mask can be computed by hand, at the size of the frame.

    class id = mean of the three channels // 20, confidence = red channel.
    """
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["images"], ["f"], to=tensor.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "twenty"], ["scaled"]),
        helper.make_node("Floor", ["scaled"], ["floored"]),
        helper.make_node("Cast", ["floored"], ["class_ids"], to=tensor.UINT8),
        helper.make_node("Gather", ["images", "zero"], ["confidence"], axis=3),
    ]
    constants = [
        helper.make_tensor("axes", tensor.INT64, [1], [3]),
        helper.make_tensor("twenty", tensor.FLOAT, [], [20.0]),
        helper.make_tensor("zero", tensor.INT64, [], [0]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", tensor.UINT8, ["n", "h", "w", 3])],
        [
            helper.make_tensor_value_info("class_ids", tensor.UINT8, ["n", "h", "w"]),
            helper.make_tensor_value_info("confidence", tensor.UINT8, ["n", "h", "w"]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    root = tmp_path_factory.mktemp("brightness")
    onnx.save(model, root / PORTABLE)
    classes = tuple(ClassSpec(i, f"level_{i}", (20 * i, 255 - 20 * i, 40)) for i in range(13))
    Bundle(
        root, "brightness", "segmentation", {"kind": "none"}, classes, InputSpec(32, 32), OutputSpec("input"),
        {"weights": "none"}, {PORTABLE: sha256_of(root / PORTABLE)},
    ).write_manifest()  # fmt: skip
    return root


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real network with random weights, exported and bundled as any other; small and fast."""
    pytest.importorskip("torch")
    from internimage_perception.deploy import create_bundle  # noqa: PLC0415 - torch is slow to import

    architecture = {
        "channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "head_channels": 16,
        "aux_channels": 8, "num_classes": 13, "kind": "u",
    }  # fmt: skip
    return create_bundle(
        tmp_path_factory.mktemp("tiny") / "bundle",
        architecture=architecture,
        state_dict=None,
        classes=tuple(ClassSpec(i, f"class_{i}", (20 * i, 255 - 20 * i, 40)) for i in range(13)),
        input_spec=InputSpec(64, 96),
        output_spec=OutputSpec("model"),
        name="tiny",
    ).root
