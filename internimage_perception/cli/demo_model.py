"""The model of the demonstrations: small, random, and honest about it."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from internimage_perception.cli.classes import read_classes
from internimage_perception.data.scene import StreetScene, demo_rig
from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle, InputSpec, OutputSpec
from internimage_perception.resources import share_path

if TYPE_CHECKING:
    from internimage_perception.models import Segmentor

ARCHITECTURE = "upernet_internimage_nano"
HONEST = (
    "The model's weights are random: the masks show the way of a frame through the package, "
    "not what is in the picture."
)


def require_deploy() -> None:
    """Raise BackendError, saying what to install, where models cannot be made."""
    try:
        importlib.import_module("internimage_perception.deploy")
    except ImportError as error:
        message = (
            f"the demonstration makes its own model, for which {error.name} is missing; "
            "install it by `pip install 'internimage_perception[deploy]'`"
        )
        raise BackendError(message) from error


def make_demo_bundle(folder: Path, seed: int) -> Bundle:
    """Write a bundle with random weights that takes images as 320x256; needs torch."""
    from internimage_perception.deploy import create_bundle  # noqa: PLC0415 - commands of the vehicle do without

    classes = read_classes(share_path("config/classes.yaml"))
    # Most cameras deliver bgr8: no conversion on the way.
    shape = InputSpec(height=256, width=320, channel_order="bgr")
    model = _random_model(seed, len(classes), shape)
    return create_bundle(
        folder,
        architecture=ARCHITECTURE,
        state_dict=model.state_dict(),
        classes=classes,
        input_spec=shape,
        output_spec=OutputSpec("model"),
        name="demo_random",
        provenance={"weights": f"random, seed {seed}; class scores centred and scaled on generated pictures"},
    )


def _random_model(seed: int, classes: int, shape: InputSpec) -> "Segmentor":
    """Return a random network that answers with every class somewhere.

    Straight from its random start it would call every pixel the same. Its last layer is therefore centred
    and scaled, class by class, over the pixels of some generated pictures.
    """
    import torch  # noqa: PLC0415 - as above

    from internimage_perception.models import Segmentor, create_model  # noqa: PLC0415 - needs torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model({"base": ARCHITECTURE, "num_classes": classes}).eval()
    assert isinstance(model, Segmentor)  # noqa: S101 - the architecture has a head
    scene = StreetScene(demo_rig(shape.width, shape.height), seed=seed)
    pictures = np.stack([scene.render(name, 0.0) for name in scene.rig.cameras]).astype(np.float32)
    images = (pictures - np.array(shape.mean, np.float32)) / np.array(shape.std, np.float32)
    with torch.inference_mode():
        scores = model.low_logits(torch.from_numpy(images).permute(0, 3, 1, 2))
    spread, mean = torch.std_mean(scores.clone(), dim=(0, 2, 3))
    with torch.no_grad():
        last = model.decode_head.conv_seg
        last.weight /= spread[:, None, None, None]
        last.bias = torch.nn.Parameter(-mean / spread)
    return model
