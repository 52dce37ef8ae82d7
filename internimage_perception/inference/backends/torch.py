"""Backend `torch`: the bundle's weights in the network itself, on CPU or GPU."""

import numpy as np

from internimage_perception.errors import BackendError, PerceptionError
from internimage_perception.inference.backends.base import Images, Outputs, check_images
from internimage_perception.inference.bundle import CLASSIFICATION, SEGMENTATION, WEIGHTS, Bundle
from internimage_perception.inference.frame_sizes import FrameSizes

try:
    import torch

    from internimage_perception.models.checkpoints import load_checkpoint, load_weights
    from internimage_perception.models.classifier import Classifier
    from internimage_perception.models.config import ClassifierConfig, SegmentorConfig
    from internimage_perception.models.deployed import (
        DeployedClassification,
        DeployedSegmentation,
        deploy_model,
    )
    from internimage_perception.models.registry import load_config
    from internimage_perception.models.segmentor import Segmentor
except ImportError as error:
    _missing: ImportError | None = error
else:
    _missing = None


class TorchBackend:
    """Runs `weights.safetensors` in PyTorch, in float32.

    Args:
        bundle: the model.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        threads: CPU threads; None leaves it to PyTorch. It holds for the whole process, as PyTorch has it.

    Raises:
        BackendError: PyTorch or safetensors is not installed, the device is not there, or the weights do
            not fit the architecture.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        if _missing is not None:
            message = f"torch cannot be used ({_missing}); install it: pip install torch safetensors"
            raise BackendError(message) from _missing
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if threads is not None:
            torch.set_num_threads(max(1, threads))
        try:
            self._graph = load_graph(bundle)
        except PerceptionError as error:
            message = f"the bundle {bundle.root} does not run in torch: {error}"
            raise BackendError(message) from error
        try:
            self._device = torch.device(device)
            self._graph.to(self._device)
        except (RuntimeError, AssertionError) as error:
            message = f"torch cannot use device {device!r}: {error}"
            raise BackendError(message) from error
        self.name = f"torch-{self._device.type}"
        self.prefers_batch = self._device.type != "cpu"
        # It runs no exports.
        self.frame_sizes: FrameSizes | None = None

    def run(self, images: Images) -> Outputs:
        """See `Backend.run`."""
        check_images(images)
        # PyTorch takes no read-only or reversed arrays; others are not copied.
        frames = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        try:
            with torch.inference_mode():
                answers = self._graph(frames.to(self._device))
        except RuntimeError as error:
            message = f"{self.name} failed on images {images.shape}: {error}"
            raise BackendError(message) from error
        return {name: answer.cpu().numpy() for name, answer in zip(self._graph.outputs, answers, strict=True)}


def load_graph(bundle: Bundle) -> "DeployedSegmentation | DeployedClassification":
    """Return the deployed graph of a bundle with its weights, in evaluation mode, on the CPU.

    Raises:
        PerceptionError: the bundle has no weights of its own, or they do not fit its architecture.
    """
    if bundle.export is not None:
        message = (
            f"{bundle.root} is an export, which holds graphs and no {WEIGHTS}: run it with the backend "
            "onnxruntime or tensorrt, or take the bundle it was exported from"
        )
        raise BackendError(message)
    config = load_config(bundle.architecture)
    model: Segmentor | Classifier
    if isinstance(config, SegmentorConfig) and bundle.task == SEGMENTATION:
        model = Segmentor(config)
    elif isinstance(config, ClassifierConfig) and bundle.task == CLASSIFICATION:
        model = Classifier(config)
    else:
        message = f"its architecture is not one for {bundle.task}"
        raise BackendError(message)
    if config.num_classes != len(bundle.classes):
        message = f"its architecture has {config.num_classes} classes, its list {len(bundle.classes)}"
        raise BackendError(message)
    load_weights(model, load_checkpoint(bundle.file(WEIGHTS)))
    return deploy_model(
        model.eval(),
        height=bundle.input.height,
        width=bundle.input.width,
        mean=bundle.input.mean,
        std=bundle.input.std,
        output_size=bundle.output.size,
        channel_order=bundle.input.channel_order,
    ).eval()
