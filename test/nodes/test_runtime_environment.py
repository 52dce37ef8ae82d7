"""Node and replay where there is no torch, no pydantic, no typer: a vehicle computer's Python."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from support.bags import T0, expected_mask, scene, write_bag
from support.ros_bench import Bench, image_message, mask_of
from support.runtime_env import FORBIDDEN, build, environment

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runtime_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("runtime") / "venv")


def run(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(python), *words], env=environment(ROOT), cwd=cwd, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_the_environment_lacks_what_it_must_lack(runtime_python: Path, tmp_path: Path) -> None:
    code = "import importlib.util, json; print(json.dumps([importlib.util.find_spec(n) is None for n in {}]))"
    done = run(runtime_python, "-c", code.format(list(FORBIDDEN)), cwd=tmp_path)
    assert json.loads(done.stdout) == [True] * len(FORBIDDEN), done.stderr


def test_replay(runtime_python: Path, tmp_path: Path, brightness_bundle: Path) -> None:
    bag = write_bag(tmp_path / "in", focal=20.0)
    words = ["-m", "internimage_perception.cli.main", "replay", str(bag), "--model", str(brightness_bundle)]
    done = run(runtime_python, *words, "--out", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames_out"] == 12 and report["backend"] == "onnxruntime-cpu"
    for path in (bag, brightness_bundle):
        done = run(
            runtime_python, "-m", "internimage_perception.cli.main", "inspect", str(path), cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr


def test_torch_backend_says_what_is_missing(
    runtime_python: Path, tmp_path: Path, brightness_bundle: Path
) -> None:
    bag = write_bag(tmp_path / "in")
    words = ["-m", "internimage_perception.cli.main", "replay", str(bag), "--model", str(brightness_bundle)]
    done = run(runtime_python, *words, "--out", str(tmp_path / "out"), "--backend", "torch", cwd=tmp_path)
    assert done.returncode == 1
    assert "torch" in done.stderr and "Traceback" not in done.stderr


def test_node(runtime_python: Path, bench: Bench, brightness_bundle: Path) -> None:
    masks = bench.listen("front")
    publisher = bench.publisher("/cam/front/image_raw")
    process = bench.start(
        python=runtime_python, bundle=str(brightness_bundle), image_topics=["front=cam/front/image_raw"]
    )
    bench.connected(publisher)
    publisher.publish(image_message(scene(1), T0))
    bench.wait(lambda: len(masks) == 1, "a mask")
    np.testing.assert_array_equal(mask_of(masks[0]), expected_mask(scene(1)))
    assert "onnxruntime-cpu" in process.log
