"""Very large networks: built without weights, which then come from their files piece by piece.

InternImage-G has 3 G parameters, 6 GB in bfloat16. Reading its checkpoint, building it with random numbers
and copying one into the other takes several times that. Here the network is built on the meta device, and
each tensor is made once, in its final type and place, from pieces of a few megabytes.
"""

import io
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from internimage_perception.errors import BundleError
from internimage_perception.models.checkpoint_files import plain_keys
from internimage_perception.models.checkpoints import load_checkpoint, load_weights, stored_tensors
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.config import Config
from internimage_perception.models.internimage import InternImage
from internimage_perception.models.registry import create_model
from internimage_perception.models.segmentor import Segmentor

_PIECE = 4 * 2**20
"""Bytes read at once."""
_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor's values lie in a file, row by row and little-endian."""

    path: Path
    offset: int
    dtype: torch.dtype
    shape: torch.Size


def load_large_model(
    source: str | Path | Mapping[str, object] | Config,
    weights: Path | Sequence[Path],
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
) -> InternImage | Segmentor | Classifier:
    """Build a network and fill it from its files, with hardly more memory than its weights take.

    Args:
        source: as `create_model` takes it, such as "upernet_internimage_g".
        weights: .safetensors or PyTorch's .pth (its format since 1.6), one file or several parts whose
            tensors complement each other. Prefixes `module.` and `model.` and entries of training checkpoints
            are understood, as by `load_checkpoint`. No code in a .pth runs.
        dtype: of the floating-point weights.
        device: where the weights go.

    Returns:
        The network in evaluation mode.

    Raises:
        BundleError: a file is missing, damaged, compressed, of PyTorch's old format, or would run code; two
            files hold the same tensor; the weights do not fit the network.
        ConfigError: the architecture is unknown.
    """
    places: dict[str, _Place] = {}
    for path in [weights] if isinstance(weights, str | Path) else weights:
        found = _places(Path(path))
        if twice := sorted(places.keys() & found.keys()):
            message = f"{path} holds {twice[0]}, which another of the files holds too"
            raise BundleError(message)
        places |= found
    with torch.device("meta"):
        model = create_model(source)
    # Names and shapes are compared without any values; so is what belongs to another kind of network.
    load_weights(model, _without_values(places))
    # One buffer for all: many that come and go leave holes in the heap between the weights.
    buffer = torch.empty(_PIECE, dtype=torch.uint8)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            place = next(places[name] for name in _spellings(key) if name in places)
            kind = dtype if tensor.is_floating_point() else tensor.dtype
            _assign(model, key, _read(place, kind, torch.device(device), buffer))
    return model.eval()


def _spellings(key: str) -> tuple[str, ...]:
    """Return a key as backbones and segmentors call it."""
    return key, f"backbone.{key}", key.removeprefix("backbone.")


def _places(path: Path) -> dict[str, _Place]:
    if path.suffix == ".safetensors" and path.is_file():
        places = dict(_safetensors_places(path))
        return dict(zip(plain_keys(_without_values(places)), places.values(), strict=True))
    _check_archive(path)
    # Without memory behind its tensors, PyTorch reads everything of a checkpoint but their values.
    with FakeTensorMode():
        state = load_checkpoint(path)
    places = {}
    for key, tensor in state.items():
        start = tensor.untyped_storage()._checkpoint_offset  # noqa: SLF001 - PyTorch tells it nowhere else
        assert isinstance(start, int)  # noqa: S101 - `_check_archive` left archives only
        if not tensor.is_contiguous():
            message = (
                f"{path}: {key} is stored transposed or in part; load the file and save its tensors anew"
            )
            raise BundleError(message)
        offset = start + int(tensor.storage_offset()) * tensor.element_size()
        places[key] = _Place(path, offset, tensor.dtype, tensor.shape)
    return places


def _check_archive(path: Path) -> None:
    """Refuse a .pth whose bytes are not the values: packed anew by an archiver, or from a big-endian host.

    A bare pickle is of the format before archives. What is neither is left to PyTorch, whose complaints fit.
    """
    if not zipfile.is_zipfile(path):
        if path.is_file() and _first_byte(path) == pickle.PROTO:
            message = f"{path} is of PyTorch's format before 1.6; load and save it once with a later PyTorch"
            raise BundleError(message)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            orders = [
                archive.open(entry).read(8) for entry in entries if entry.filename.endswith("/byteorder")
            ]
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error) as error:
        message = f"{path} is damaged: {error}"
        raise BundleError(message) from error
    if b"big" in orders or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        message = f"{path} is compressed or big-endian; load it and save its tensors anew"
        raise BundleError(message)


def _first_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1)


def _without_values(places: Mapping[str, _Place]) -> dict[str, torch.Tensor]:
    return {key: torch.empty(place.shape, dtype=place.dtype, device="meta") for key, place in places.items()}


def _safetensors_places(path: Path) -> Iterator[tuple[str, _Place]]:
    for key, stored in stored_tensors(path).items():
        if stored.dtype not in _TYPES:
            message = f"{path}: {key} is of type {stored.dtype}, which no weights of these networks have"
            raise BundleError(message)
        yield key, _Place(path, stored.offset, _TYPES[stored.dtype], torch.Size(stored.shape))


def _read(place: _Place, dtype: torch.dtype, device: torch.device, buffer: torch.Tensor) -> torch.Tensor:
    """Return the tensor in its final type and place; only a piece of it is in memory twice."""
    values = torch.empty(place.shape, dtype=dtype, device=device)
    flat = values.view(-1)
    piece = buffer.view(place.dtype)
    with place.path.open("rb", buffering=0) as file:
        file.seek(place.offset)
        for start in range(0, flat.numel(), piece.numel()):
            part = piece[: flat.numel() - start]
            _fill(part, file, place.path)
            flat[start : start + part.numel()].copy_(part)
    return values


def _fill(part: torch.Tensor, file: io.FileIO, path: Path) -> None:
    """Read as many bytes as the tensor has."""
    values: npt.NDArray[np.uint8] = part.view(torch.uint8).numpy()
    room = values.data
    while room:
        count = file.readinto(room)
        if not count:
            message = f"{path} ends before its weights do; copy it anew"
            raise BundleError(message)
        room = room[count:]


def _assign(model: nn.Module, key: str, values: torch.Tensor) -> None:
    """Put a tensor in the place of one without values."""
    owner, _, name = key.rpartition(".")
    module = model.get_submodule(owner)
    old = getattr(module, name)
    if isinstance(old, nn.Parameter):
        values = nn.Parameter(values, requires_grad=old.requires_grad and values.is_floating_point())
    setattr(module, name, values)
