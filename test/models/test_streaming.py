"""Large networks: the same weights, and no second copy of them."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from internimage_perception.errors import BundleError
from internimage_perception.models import create_model, save_checkpoint
from internimage_perception.models.streaming import load_large_model

ROOT = Path(__file__).resolve().parents[2]
LIKE_H = {
    "channels": 16, "depths": [1, 1, 2, 1], "groups": [1, 2, 4, 8], "dw_kernel_size": 5,
    "res_post_norm": True, "level2_post_norm": True, "level2_post_norm_block_ids": [1],
    "center_feature_scale": True,
}  # fmt: skip
KINDS = {
    "backbone": LIKE_H,
    "classifier": LIKE_H | {"num_classes": 5, "use_clip_projector": True, "clip_dims": [16, 2, 4, 8]},
    "segmentor": LIKE_H | {"num_classes": 5, "head_channels": 8, "aux_channels": 4},
}


@pytest.fixture(scope="module", params=KINDS)
def configuration(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def trained(configuration):
    torch.manual_seed(0)
    return create_model(configuration).eval()


def assert_same(model, trained, dtype=torch.bfloat16):
    assert not model.training
    own = model.state_dict()
    assert list(own) == list(trained.state_dict())
    for key, tensor in trained.state_dict().items():
        assert torch.equal(own[key], tensor.to(dtype) if tensor.is_floating_point() else tensor)


@pytest.mark.parametrize("half", [False, True])
def test_safetensors(tmp_path, configuration, trained, half):
    save_checkpoint(tmp_path / "w.safetensors", trained.state_dict(), half=half)
    model = load_large_model(configuration, tmp_path / "w.safetensors", dtype=torch.float16)
    assert_same(model, trained, torch.float16)


def test_pytorch_checkpoints_with_prefixes_and_more_in_them(tmp_path, configuration, trained):
    state = {f"module.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"model": state, "optimizer": {"step": torch.ones(7)}, "epoch": 3}, tmp_path / "w.pth")
    assert_same(load_large_model(configuration, tmp_path / "w.pth"), trained)


def test_the_network_runs(tmp_path, configuration, trained):
    save_checkpoint(tmp_path / "w.safetensors", trained.state_dict())
    model = load_large_model(configuration, tmp_path / "w.safetensors")
    x = torch.randn(1, 3, 64, 64, dtype=torch.bfloat16)
    expected = create_model(configuration).eval()
    expected.load_state_dict(trained.state_dict())
    with torch.no_grad():
        answers, wanted = model(x), expected.to(torch.bfloat16)(x)
    for answer, want in zip(answers, wanted, strict=True):
        assert torch.equal(answer, want)


def test_several_files_and_a_backbone_out_of_a_segmentor(tmp_path):
    trained = create_model(KINDS["segmentor"]).eval()
    state = list(trained.state_dict().items())
    for number, part in enumerate((state[:40], state[40:])):
        save_checkpoint(tmp_path / f"{number}.safetensors", dict(part))
    files = [tmp_path / "0.safetensors", tmp_path / "1.safetensors"]
    assert_same(load_large_model(KINDS["segmentor"], files), trained)
    assert_same(load_large_model(LIKE_H, files), trained.backbone)
    with pytest.raises(BundleError, match="another of the files"):
        load_large_model(LIKE_H, [*files, files[0]])
    with pytest.raises(BundleError, match="missing"):
        load_large_model(LIKE_H, files[0])


def test_files_that_cannot_be_streamed_say_why(tmp_path):
    state = create_model(LIKE_H).state_dict()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(BundleError, match=r"before 1\.6"):
        load_large_model(LIKE_H, tmp_path / "old.pth")
    name = "levels.0.blocks.0.mlp.fc1.weight"
    torch.save(state | {name: torch.zeros(16, 64).T}, tmp_path / "turned.pth")
    with pytest.raises(BundleError, match=f"{name} is stored transposed"):
        load_large_model(LIKE_H, tmp_path / "turned.pth")
    torch.save({"model": state, "optimizer": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
        zipfile.ZipFile(tmp_path / "big.pth", "w") as big,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
            big.writestr(entry.filename, b"big" if "byteorder" in entry.filename else plain.read(entry))
    for name in ("packed.pth", "big.pth"):
        with pytest.raises(BundleError, match="compressed or big-endian"):
            load_large_model(LIKE_H, tmp_path / name)
    with pytest.raises(BundleError, match="gone"):
        load_large_model(LIKE_H, tmp_path / "gone.safetensors")


MEASURE = """
import sys
import zipfile
from pathlib import Path
import torch
from internimage_perception.models import create_model, load_checkpoint, load_weights, save_checkpoint
from internimage_perception.models.streaming import load_large_model

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

def load(configuration, path):
    if sys.argv[1] == "streamed":
        return load_large_model(configuration, path)
    model = create_model(configuration)
    load_weights(model, load_checkpoint(path))
    return model.to(torch.bfloat16)

small = {"channels": 16, "depths": [1, 1, 2, 1], "groups": [1, 2, 4, 8]}
large = {"channels": 192, "depths": [1, 1, 2, 1], "groups": [6, 12, 24, 48]}
folder, suffix = sys.argv[2:]
if sys.argv[1] == "write":
    for name, configuration in (("small", small), ("large", large)):
        state = create_model(configuration).state_dict()
        path = f"{folder}/{name}{suffix}"
        torch.save(state, path) if suffix == ".pth" else save_checkpoint(Path(path), state)
    raise SystemExit
load(small, f"{folder}/small{suffix}")  # what the libraries need for themselves is there from now on
before = status("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
model = load(large, f"{folder}/large{suffix}")
print(status("VmHWM") - before, sum(t.numel() * t.element_size() for t in model.state_dict().values()))
"""


def in_a_process_of_its_own(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="memory is measured as Linux tells it"
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_memory_hardly_exceeds_the_weights(tmp_path, suffix):
    in_a_process_of_its_own("write", tmp_path, suffix)
    peak, weights = in_a_process_of_its_own("streamed", tmp_path, suffix)
    assert weights > 60e6
    assert 0.9 * weights < peak < 1.15 * weights
    # The ordinary way, measured the same, shows that the measurement sees copies.
    peak, weights = in_a_process_of_its_own("ordinary", tmp_path, suffix)
    assert peak > 2 * weights
