"""Linear layers that answer faster without gradients: bias and activation in the matrix product itself."""

import torch
from torch import nn
from torch.nn import functional

_TYPES = (torch.float32, torch.bfloat16)


class Linear(nn.Linear):
    """`torch.nn.Linear`; on a CPU, without gradients, oneDNN adds the bias while it multiplies.

    PyTorch's own way writes the bias into the whole result first, and an activation reads and writes it once
    more. Values differ by rounding alone. Training, export, compilation and other devices take the usual way.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the base class's name
        """Map (..., in_features) to (..., out_features)."""
        if _fusible(input, self):
            return _fused(input, self, "none")
        return super().forward(input)

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in_features) to GELU (exact, by the error function) of (..., out_features)."""
        if _fusible(x, self):
            return _fused(x, self, "gelu")
        return functional.gelu(self(x))


def _fusible(x: torch.Tensor, layer: nn.Linear) -> bool:
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in _TYPES
        and layer.weight.dtype == x.dtype
        and x.numel() > 0
        # Stand-ins of tracers are of other types, or have no values that a product could read.
        and type(x) is torch.Tensor
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]
        and not torch.is_autocast_enabled("cpu")
        and bool(torch.backends.mkldnn.enabled)
        # Not a documented operator: a build or a later version may lack it.
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _fused(x: torch.Tensor, layer: nn.Linear, activation: str) -> torch.Tensor:
    fused: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - the only name it has
        x, layer.weight, layer.bias, activation, [], "none"
    )
    return fused
