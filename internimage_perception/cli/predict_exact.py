"""The official evaluation of a bundle's weights, in PyTorch."""

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from internimage_perception.cli.predict_networks import SLIDE, WHOLE
from internimage_perception.errors import BackendError, PerceptionError
from internimage_perception.inference.bundle import WEIGHTS, Bundle, InputSpec
from internimage_perception.models.checkpoints import load_checkpoint, load_weights
from internimage_perception.models.config import SegmentorConfig
from internimage_perception.models.inference_modes import MEAN, STD, EvaluationMode, Network, probabilities
from internimage_perception.models.registry import load_config
from internimage_perception.models.segmentor import Segmentor

Bytes = npt.NDArray[np.uint8]


class ExactNetwork:
    """A bundle's weights under the official evaluation, see `models.inference_modes`, on CPU or GPU.

    The bundle's own input and output sizes count for nothing here.

    Args:
        bundle: the model.
        mode: how pictures are shown to it.
        threads: CPU threads; None leaves it to PyTorch. It holds for the whole process, as PyTorch has it.

    Attributes:
        described: see `predict_networks.Network`.

    Raises:
        BackendError: the weights do not fit the architecture.
    """

    def __init__(self, bundle: Bundle, mode: EvaluationMode, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            segmentor = _segmentor(bundle)
        except PerceptionError as error:
            message = f"the bundle {bundle.root} does not run in torch: {error}"
            raise BackendError(message) from error
        self._network = _with_statistics(segmentor.to(self._device), bundle.input)
        self._mode = mode
        values = {**dataclasses.asdict(mode), "backend": f"torch-{self._device.type}"}
        self.described: dict[str, object] = {"mode": SLIDE if mode.window else WHOLE, **values}

    def label(self, image: Bytes) -> tuple[Bytes, Bytes]:
        """See `predict_networks.Network.label`."""
        try:
            with torch.inference_mode():
                answer = probabilities(self._network, image, self._mode, device=self._device)
                best, ids = answer.max(dim=0)
                confidence = (best * 255).round().clamp(max=255).to(torch.uint8)
                return ids.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            height, width = image.shape[:2]
            message = f"torch failed on a picture of {width}x{height} pixels: {error}"
            raise BackendError(message) from error


def _segmentor(bundle: Bundle) -> Segmentor:
    config = load_config(bundle.architecture)
    if not isinstance(config, SegmentorConfig):
        message = "its architecture is not one for segmentation"
        raise BackendError(message)
    if config.num_classes != len(bundle.classes):
        message = f"its architecture has {config.num_classes} classes, its list {len(bundle.classes)}"
        raise BackendError(message)
    model = Segmentor(config)
    load_weights(model, load_checkpoint(bundle.file(WEIGHTS)))
    return model.eval()


def _with_statistics(segmentor: Segmentor, spec: InputSpec) -> Network:
    """Return the network for pictures that were normalised by ImageNet's statistics."""
    if (spec.mean, spec.std) == (MEAN, STD):
        return segmentor
    device = next(segmentor.parameters()).device
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (spec.mean, spec.std))
    factor = torch.tensor(STD, device=device).view(3, 1, 1) / std
    offset = (torch.tensor(MEAN, device=device).view(3, 1, 1) - mean) / std
    return lambda images: segmentor(images * factor + offset)
