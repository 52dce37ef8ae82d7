"""The optimiser Muon (Jordan et al. 2024): momentum steps whose matrices are made orthogonal.

Every direction of a weight matrix then learns at the same rate, where Adam favours the few that dominate
the gradient; a small network on little time gets further. Steps are scaled to the size of Adam's (Liu et al.
2025, "Muon is scalable for LLM training"), so that both share one learning rate.
"""

import torch
from torch.optim.optimizer import ParamsT

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Muon for matrices and convolutions, seen as (outputs, everything else)."""

    def __init__(self, parameters: ParamsT, lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Do one step."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum: torch.Tensor = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)
                update = orthogonal(ahead) * (0.2 * max(ahead.shape) ** 0.5)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view_as(parameter), alpha=-group["lr"])


def orthogonal(matrix: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """Return a matrix of the same singular vectors, with singular values near 1 (Newton-Schulz iteration)."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    # Rounding does no harm here: singular values end anywhere between 0.7 and 1.2.
    x = (x / (x.norm() + 1e-7)).bfloat16()
    a, b, c = _COEFFICIENTS
    for _ in range(rounds):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    found: torch.Tensor = x.T if tall else x
    return found.to(matrix.dtype)
