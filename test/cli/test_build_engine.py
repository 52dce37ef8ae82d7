"""`build-engine` on the command line, on fakes of TensorRT and CUDA."""

import sys

import pytest
from support.engines import fake_toolkit

from internimage_perception.cli.main import main
from internimage_perception.inference.engines.cache import CACHE_ENVIRONMENT
from internimage_perception.inference.engines.toolkit import Toolkit


@pytest.fixture
def toolkit(monkeypatch, tmp_path):
    """TensorRT and CUDA, and a cache of this test's own."""
    fake = fake_toolkit()
    monkeypatch.setattr(Toolkit, "open", lambda _device: fake)
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path / "cache"))
    return fake


def test_an_engine_is_built_and_then_fits(toolkit, brightness_bundle, capsys, tmp_path):
    assert main(["build-engine", str(brightness_bundle)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("brightness: built in ")
    (plan,) = (tmp_path / "cache" / "engines").glob("*.plan")
    assert f"  engine    {plan}\n" in said
    assert "Orin (compute capability 8.7), TensorRT 10.3.0" in said
    assert "1 to 4 frames" in said
    assert main(["build-engine", str(brightness_bundle)]) == 0
    assert "brightness: fits, nothing to do" in capsys.readouterr().out
    assert main(["build-engine", str(brightness_bundle), "--rebuild"]) == 0
    assert len(toolkit.trt.built) == 2


def test_frames_workspace_and_folder_can_be_chosen(toolkit, brightness_bundle, tmp_path):
    words = ["--batch", "1:2:3", "--height", "48", "--width", "64", "--workspace", "512"]
    assert main(["build-engine", str(brightness_bundle), *words, "--cache", str(tmp_path / "own")]) == 0
    built = toolkit.trt.built[0]
    assert built["shapes"] == ((1, 48, 64, 3), (2, 48, 64, 3), (3, 48, 64, 3))
    assert built["workspace"] == 512 << 20
    assert list((tmp_path / "own" / "engines").glob("*.plan"))


def test_a_check_builds_nothing_and_says_what_is_wrong(toolkit, brightness_bundle, capsys):
    words = ["build-engine", str(brightness_bundle), "--check"]
    assert main(words) == 1
    assert "there is no engine of brightness for Orin" in capsys.readouterr().err
    assert main([*words[:2], "--batch", "2"]) == 0
    assert main(words) == 0
    assert main([*words, "--batch", "3"]) == 1
    assert "the range of the batch was 2,2,2, now it is 3,3,3" in capsys.readouterr().err
    assert len(toolkit.trt.built) == 1


def test_one_that_fails_does_not_keep_others_from_being_built(toolkit, brightness_bundle, capsys):
    toolkit.trt.parse_error = "unsupported operator"
    assert main(["build-engine", "nano", str(brightness_bundle)]) == 1
    assert capsys.readouterr().err.count("unsupported operator") == 2
    toolkit.trt.parse_error = ""
    assert main(["build-engine", "nano", str(brightness_bundle)]) == 0
    said = capsys.readouterr().out
    assert "computes  fp32, DCNv3 as function" in said
    assert "computes  fp32, DCNv3 as standard" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "4:1:1"], "--batch is '4:1:1'"),
        (["--batch", "1:2"], "--batch is '1:2'"),
        (["--height", "0"], "--height is '0'"),
        (["--width", "99999"], "--width is '99999'"),
        (["--workspace", "0"], "--workspace is 0"),
        (["--device", "-1"], "--device is -1"),
    ],
)
@pytest.mark.usefixtures("toolkit")
def test_wrong_values_are_named(words, said, capsys):
    assert main(["build-engine", "nano", *words]) == 1
    assert said in capsys.readouterr().err


def test_without_tensorrt_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main(["build-engine", "nano"]) == 1
    assert "python3-libnvinfer" in capsys.readouterr().err
