"""A deployed graph in half precision, every change of type written down in it."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from internimage_perception.deploy.tracing import Graph
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.layers import ConvUnit
from internimage_perception.models.segmentor import Segmentor

LARGEST = 65504.0
"""The largest number that float16 holds."""


def half_graph(graph: Graph) -> Graph:
    """Return a copy of `graph` whose network computes in float16, ready for tracing.

    In float32 stay: resizing and normalising the frame, layer norms, and everything behind the logits
    (resize, argmax, probabilities). The exporter keeps softmax and means in float32, and DCNv3 its sampling
    positions, in every implementation. Batch norms are merged into their convolutions before the rounding: a
    convolution's own sum may leave float16's range where the normalised one does not.

    Args:
        graph: in evaluation mode; not changed.
    """
    network = graph.model
    shared: dict[int, object] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        rounded = tensor.detach().half() if tensor.is_floating_point() else tensor
        is_parameter = isinstance(tensor, nn.Parameter)
        shared[id(tensor)] = nn.Parameter(rounded, requires_grad=False) if is_parameter else rounded
    for tensor in (graph.mean, graph.inverse_std):
        shared[id(tensor)] = tensor
    half = copy.deepcopy(graph, shared)
    copies = dict(half.model.named_modules())
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm):
            parent, _, child = name.rpartition(".")
            setattr(copies[parent], child, _FloatNorm(module))
        elif isinstance(module, ConvUnit):
            unit = copies[name]
            assert isinstance(unit, ConvUnit)  # noqa: S101 - a copy of the module
            unit.conv = _merged(module.conv, module.bn)
            setattr(unit, "bn", nn.Identity())  # noqa: B010 - declared as a batch norm
    if isinstance(network, Classifier) and not network.classifier.use_clip_projector:
        head = copies["conv_head"]
        assert isinstance(head, nn.Sequential)  # noqa: S101 - a copy of the module
        convolution, norm = network.get_submodule("conv_head.0"), network.get_submodule("conv_head.1.0")
        head[0], head[1] = _merged(convolution, norm), nn.Identity()
    setattr(half, "model", _HalfNetwork(half.model))  # noqa: B010 - declared as the network itself
    return half.eval()


class _FloatNorm(nn.Module):
    """A layer norm in float32 between maps of another type."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.float()).to(x.dtype)


class _HalfNetwork(nn.Module):
    """A float16 network for float32 images and logits."""

    def __init__(self, network: Segmentor | Classifier) -> None:
        super().__init__()
        self.network = network

    def low_logits(self, images: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.network, Segmentor)  # noqa: S101 - a classifier is called instead
        return self.network.low_logits(images.half()).float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images.half()).float()


def _merged(convolution: nn.Module, norm: nn.Module) -> nn.Conv2d:
    """Return both as one convolution, rounded once. `fuse_conv_bn_eval` leaves its arguments as they are."""
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)  # noqa: S101, PT018 - layers
    merged: nn.Conv2d = fuse_conv_bn_eval(convolution, norm)
    return merged.half().requires_grad_(requires_grad=False)
