"""Weights and inputs of the reference outputs, made from names and seeds instead of stored.

The value of a weight depends only on its state-dict key and shape. numpy's RandomState stream is frozen, so
the numbers are the same everywhere.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def weight(key: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the weight named `key`."""
    last = key.rsplit(".", maxsplit=1)[-1]
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var":
        values = 1 + 0.2 * np.abs(noise)
    elif last == "running_mean":
        values = 0.1 * noise
    elif last in {"gamma1", "gamma2"}:
        values = 0.5 + 0.2 * noise
    elif len(shape) == 1:
        if last == "weight":
            values = 1 + 0.2 * noise
        else:
            values = (0.5 if ".offset." in key or ".mask." in key else 0.1) * noise
    else:
        values = noise / np.sqrt(np.prod(shape[1:]))
    return np.asarray(values, np.float32)


def normal(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """Return the standard normal array of a seed: inputs, and the weights of the losses."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def picture(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return an RGB image of patches, noise and white dots, (height, width, 3)."""
    random = np.random.RandomState(seed)
    patches = random.randint(0, 256, (height // 9 + 1, width // 9 + 1, 3))
    total = patches.repeat(9, axis=0).repeat(9, axis=1)[:height, :width]
    total = total + random.randint(-60, 61, (height, width, 3))
    total[random.randint(0, 10, (height, width)) == 0] = 255
    return np.clip(total, 0, 255).astype(np.uint8)


def array(stored: Mapping[str, npt.NDArray[Any]], name: str) -> npt.NDArray[Any]:
    """Return an array of a reference file, whether it is stored or given by its seed."""
    if name in stored:
        return stored[name]
    return normal(tuple(int(n) for n in stored[f"{name}_shape"]), int(stored[f"{name}_seed"]))


def config(stored: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return the architecture a reference file was made with."""
    return dict(json.loads(bytes(stored["config_json"])))
