"""What a file with weights holds: which of its entries they are, under which names, what lies beside them."""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from internimage_perception.errors import BundleError

StateDict = dict[str, torch.Tensor]
Color = tuple[int, int, int]

_ENTRIES = ("state_dict", "model")
_AVERAGED = ("model_ema", "state_dict_ema")
_PREFIXES = ("module.", "model.")


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The weights of a file and what is known of them.

    Attributes:
        weights: under the keys of this package.
        entry: of the file that they were taken from; empty where the file is nothing but weights.
        averaged: entry with the moving average of the weights, which training code keeps beside them; empty
            without one. It is the same as `entry` when that was taken.
        others: the file's other entries, such as an optimizer.
        prefixes: what was in front of every key and was taken off, in that order.
        renamed: the layer scales had the names of the Hugging Face layout.
        class_names: that the training code wrote into the file; empty without any.
        palette: colours (r, g, b) of these classes; empty without any.
    """

    weights: StateDict
    entry: str = ""
    averaged: str = ""
    others: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    renamed: bool = False
    class_names: tuple[str, ...] = ()
    palette: tuple[Color, ...] = ()

    def layout(self) -> str:
        """Return for people where the weights lay and what was done to their names."""
        parts = [f"entry {self.entry}" if self.entry else "weights and nothing else"]
        if self.entry and self.entry == self.averaged:
            parts[0] += " (moving average)"
        elif self.averaged:
            parts.append(f"a moving average lies in {self.averaged}, not taken")
        parts += [f"prefix {prefix} taken off" for prefix in self.prefixes]
        if self.renamed:
            parts.append("Hugging Face names")
        if others := [name for name in self.others if name != self.averaged]:
            parts.append(f"left alone: {', '.join(others)}")
        return "; ".join(parts)


def read_checkpoint(
    path: str | Path, *, trust_pickle: bool = False, averaged: bool = False, mapped: bool = False
) -> CheckpointFile:
    """Read the weights of a .safetensors or PyTorch file, on the CPU.

    A training checkpoint's `state_dict` or `model` entry is taken; `module.` and `model.` in front of
    every key fall away.

    Args:
        path: the file.
        trust_pickle: let a PyTorch file run code while it is read. Such a file can do anything the user
            can: only for files from a source you trust. Objects of packages that are not installed, such as
            the configuration of the training code, become empty stand-ins.
        averaged: take the moving average of the weights, `model_ema`, which is otherwise only taken from
            files with nothing else.
        mapped: leave the values of a PyTorch file where they are until they are used. Needs the format since
            1.6; files of an older one are read whole.

    Raises:
        BundleError: the file is missing, damaged, would have to run code, or lacks what was asked for.
    """
    path = Path(path)
    _require_content(path)
    if path.suffix == ".safetensors":
        content: object = _read_safetensors(path)
    else:
        content = _read_pickle(path, trust_pickle, mapped)
    names, taken = _find(path, content, averaged)
    if not isinstance(taken, Mapping) or not taken:
        message = f"{path} holds no weights: expected names and tensors, found {type(taken).__name__}"
        raise BundleError(message)
    for key, value in taken.items():
        if not isinstance(key, str):
            message = f"{path} holds no plain weights: the key {key!r} is {type(key).__name__}, not a name"
            raise BundleError(message)
        if not isinstance(value, torch.Tensor):
            message = f"{path} holds no plain weights: entry {key!r} is {type(value).__name__}, not a tensor"
            raise BundleError(message)
        if kind := _unusable(value):
            message = f"{path} holds no plain weights: {key} is {kind}; save dense real numbers"
            raise BundleError(message)
    weights, prefixes = _without_prefixes(dict(taken))
    top = content if names and isinstance(content, Mapping) else {}
    class_names, palette = _classes(top.get("meta"))
    return CheckpointFile(
        weights=_renamed(weights),
        entry=".".join(names),
        averaged=next((name for name in _AVERAGED if isinstance(top.get(name), Mapping)), ""),
        others=tuple(str(name) for name in top if name not in names),
        prefixes=prefixes,
        renamed=any(".layer_scale" in key for key in weights),
        class_names=class_names,
        palette=palette,
    )


def plain_keys(state: StateDict) -> StateDict:
    """Return weights under the keys of this package: without wrappers' prefixes, layer scales as gammas."""
    return _renamed(_without_prefixes(state)[0])


def _require_content(path: Path) -> None:
    """Raise BundleError unless there is a file with something in it."""
    if path.is_dir():
        message = f"{path} is a folder, not a file with weights; name the .pth or .safetensors file in it"
        raise BundleError(message)
    if not path.is_file():
        message = f"no weights at {path}"
        raise BundleError(message)
    if path.stat().st_size == 0:
        message = f"{path} is empty (0 bytes); copy or download it again"
        raise BundleError(message)


def _unusable(tensor: torch.Tensor) -> str:
    """Return what kind of tensor this is where a network cannot take its values; else nothing."""
    if tensor.is_meta:
        return "a shape without values (device meta)"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_quantized:
        return "quantised"
    return "of complex numbers" if tensor.is_complex() else ""


def _find(path: Path, content: object, averaged: bool) -> tuple[tuple[str, ...], object]:
    """Return the names of the entries that lead to the weights, and what lies there."""
    names: tuple[str, ...] = ()
    if isinstance(content, Mapping):
        ordinary = any(isinstance(content.get(entry), Mapping) for entry in _ENTRIES)
        average = next((entry for entry in _AVERAGED if isinstance(content.get(entry), Mapping)), None)
        if averaged and average is None:
            entries = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
            message = (
                f"{path} holds no moving average of its weights: looked for {' and '.join(_AVERAGED)}, "
                f"found {', '.join(entries) or 'weights and nothing else'}"
            )
            raise BundleError(message)
        if average is not None and (averaged or not ordinary):
            names, content = (average,), content[average]
    for entry in _ENTRIES:
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            names, content = (*names, entry), content[entry]
    return names, content


def _without_prefixes(state: StateDict) -> tuple[StateDict, tuple[str, ...]]:
    """Take off what is in front of every key; returns that too."""
    prefixes: list[str] = []
    # In either order, and repeatedly: wrappers are wrapped.
    while prefix := next(
        (item for item in _PREFIXES if state and all(key.startswith(item) for key in state)), ""
    ):
        state = {key[len(prefix) :]: value for key, value in state.items()}
        prefixes.append(prefix)
    return state, tuple(prefixes)


def _renamed(state: StateDict) -> StateDict:
    # The Hugging Face layout's name for the layer scale.
    return {key.replace(".layer_scale", ".gamma"): value for key, value in state.items()}


def _classes(meta: object) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """Return the names and colours that mmsegmentation writes beside the weights, where they are sound."""
    if not isinstance(meta, Mapping):
        return (), ()
    names, colors = meta.get("CLASSES"), meta.get("PALETTE")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        return (), ()
    listed = colors if isinstance(colors, list | tuple) else ()
    palette = tuple(color for color in map(_color, listed) if color is not None)
    return tuple(names), palette if len(palette) == len(names) else ()


def _color(value: object) -> Color | None:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    r, g, b = value
    return (r, g, b) if all(type(part) is int and 0 <= part <= 255 for part in value) else None


def _read_safetensors(path: Path) -> StateDict:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        message = f"{path} is no safetensors file or damaged: {error}"
        raise BundleError(message) from error


def _read_pickle(path: Path, trust: bool, mapped: bool) -> object:
    try:
        with path.open("rb") as file:
            archive = file.read(4) == b"PK\x03\x04"
        # Only with trust may the file name classes of its own; PyTorch alone reads tensors and plain values.
        module = SimpleNamespace(__name__="pickle", Unpickler=_Unpickler, load=pickle.load) if trust else None
        return torch.load(
            path,
            map_location="cpu",
            pickle_module=module,
            weights_only=not trust,
            mmap=True if mapped and archive else None,
        )
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):  # noise, or a protocol that PyTorch writes when told to
            message = (
                f"{path} was not read: its list of contents is damaged, or pickled by another protocol than "
                "PyTorch's own. Compare it with its source; if it is the same and you trust it, load it with "
                "trust_pickle=True (command line: --trust-pickle)"
            )
            raise BundleError(message) from error
        found = re.search(r"GLOBAL (\S+)", str(error))
        message = (
            f"{path} was not read: it wants to run code while loading "
            f"({found[1] if found else 'it holds more than tensors'}). If you trust its source, load it with "
            "trust_pickle=True (command line: --trust-pickle)"
        )
        raise BundleError(message) from error
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        # A bare KeyError says no more than which byte it stumbled over.
        reason = "it does not begin like one" if isinstance(error, KeyError) else str(error)
        message = f"{path} is no PyTorch weights file or damaged: {reason or type(error).__name__}"
        raise BundleError(message) from error


class _Absent(dict[object, object]):
    """Stands in for an object whose package is not installed; takes whatever is put into it."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Leave the object's attributes out."""

    def append(self, item: object) -> None:
        """Leave an element out."""

    def extend(self, items: object) -> None:
        """Leave elements out."""


class _Unpickler(pickle.Unpickler):
    """Reads objects of packages that are not installed as empty stand-ins."""

    def find_class(self, module: str, name: str) -> object:
        """Return the class, or the stand-in."""
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return _Absent
