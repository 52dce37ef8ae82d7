"""Batch norms that see the pictures of all processes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from internimage_perception.training.collectives import count_over_processes, process_count


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Return the model with batch norms over all processes, of the same parameters, buffers and keys.

    Norms on GPUs become PyTorch's SyncBatchNorm, all others `SynchronisedBatchNorm2d`; move the model to
    its device before. Without other processes the model stays as it is.
    """
    if process_count() == 1:
        return model
    for name, child in list(model.named_children()):
        setattr(model, name, synchronise_batch_norm(child))
    if type(model) is not nn.BatchNorm2d:
        return model
    on_gpu = any(tensor.is_cuda for tensor in (*model.parameters(), *model.buffers()))
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if on_gpu else SynchronisedBatchNorm2d.like(model)


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics, in training, are those of all processes' (N, C, H, W), any backend.

    Normalised with the statistics of the joined batch, as one process would; gradients of weight and bias
    are this process's part. PyTorch's own needs a GPU.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "SynchronisedBatchNorm2d":
        """Return one that shares the parameters and buffers of another batch norm."""
        new = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name, parameter in norm.named_parameters():
            setattr(new, name, parameter)
        for name, buffer in norm.named_buffers():
            setattr(new, name, buffer)
        return new.train(norm.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name of nn.BatchNorm2d's
        """Normalise (N, C, H, W); all processes must call this in training."""
        if not self.training or process_count() == 1:
            return super().forward(input)
        mean, variance, count = _joint_statistics(input.detach())
        if self.track_running_stats:
            self._keep(mean, variance * (count / (count - 1).clamp(min=1)))
        precision = torch.promote_types(input.dtype, torch.float32)
        weight = mean.new_ones(mean.shape, dtype=precision) if self.weight is None else self.weight
        statistics = _Statistics(mean.to(precision), variance.to(precision), count, self.eps)
        return _Normalise.apply(input, weight, self.bias, statistics)

    @torch.no_grad()
    def _keep(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Let the running statistics follow."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        follow = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), follow)
        self.running_var.lerp_(variance.to(self.running_var), follow)


def _joint_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean and variance (biased) of the channels over all processes, and the number of values."""
    count = x.numel() // x.shape[1]
    variance, mean = torch.var_mean(
        x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0
    )
    mean, variance = mean.double(), variance.double()
    # Sums of squares in double precision can be joined without losing small variances.
    sums = torch.stack([mean * count, (variance + mean.square()) * count, torch.full_like(mean, count)])
    total, squares, counts = count_over_processes(sums)
    mean = total / counts
    return mean, (squares / counts - mean.square()).clamp(min=0), counts[0]


@dataclass(frozen=True)
class _Statistics:
    """Mean and variance of the channels, from so many values each."""

    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor
    eps: float


class _Normalise(torch.autograd.Function):
    """Normalise with statistics of the input of all processes."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's own
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        statistics: _Statistics,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.statistics = statistics
        mean, variance, eps = statistics.mean, statistics.variance, statistics.eps
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401 - autograd's own
        x, weight = ctx.saved_tensors
        known: _Statistics = ctx.statistics
        # As if the statistics were constants ...
        towards, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, known.mean, known.variance, None, None, False, known.eps, [True] * 3
        )
        # ... and then what goes through them: the sums with the gradient, over all processes.
        sums = count_over_processes(torch.stack([of_bias, of_weight]).double())
        inverse = (known.variance.double() + known.eps).rsqrt()
        level, slope = -weight * inverse * sums / known.count
        centred = x - _of_channels(known.mean, x)
        towards += torch.addcmul(_of_channels(level, x), centred, _of_channels(slope * inverse, x))
        return towards, of_weight, of_bias if ctx.needs_input_grad[2] else None, None


def _of_channels(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.to(x.dtype)[None, :, None, None]
