"""Parts of one batch in several processes: losses, batch norms, whole steps; fresh processes import this."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from internimage_perception.models import create_model
from internimage_perception.models.layers import batch_part
from internimage_perception.training.batch_norm import synchronise_batch_norm
from internimage_perception.training.collectives import process_count, sum_over_processes
from internimage_perception.training.config import LossConfig, OhemConfig
from internimage_perception.training.losses import SegmentationLoss

CLASSES = 5
WEIGHTS = torch.tensor([0.5, 1.0, 1.5, 0.25, 1.75])
LOSSES = {
    "all": LossConfig(),
    "valid": LossConfig(average="valid", label_smoothing=0.1),
    "dice": LossConfig(cross_entropy=0.5, dice=2.0),
    "dice alone": LossConfig(cross_entropy=0.0, dice=1.0),
    "hard": LossConfig(average="valid", ohem=OhemConfig(threshold=0.1, min_kept=30)),
}
SHARES = (slice(0, 1), slice(1, 4))
"""Which pictures each of two processes has; unequal on purpose."""


def pictures():
    """Return logits of both heads, labels with unequal numbers of ignored ones, and weights of pixels."""
    generator = torch.Generator().manual_seed(3)
    main, auxiliary = (
        2 * torch.randn(4, CLASSES, *size, dtype=torch.float64, generator=generator)
        for size in ((4, 6), (2, 3))
    )
    labels = torch.randint(0, CLASSES - 1, (4, 8, 12), generator=generator)
    labels[0, :5], labels[2, :, 3:5], labels[3, 0, 0] = 255, 255, CLASSES - 1
    return (main, auxiliary), labels, torch.rand(4, 8, 12, generator=generator)


def losses_and_gradients(part, chunks=1):
    """Return, by name of the loss, values and the main logits' gradients for some of the pictures."""
    logits, labels, weights = pictures()
    found = {}
    for name, config in LOSSES.items():
        loss = SegmentationLoss(config, CLASSES, WEIGHTS)
        heads = [head[part].clone().requires_grad_() for head in logits]
        pieces = [
            {
                "logits": tuple(head.chunk(chunks)[number] for head in heads),
                "labels": labels[part].chunk(chunks)[number],
                "pixel_weights": weights[part].chunk(chunks)[number],
            }
            for number in range(chunks)
        ]
        totals = None
        if chunks > 1:
            first, *others = (loss.totals(**piece) for piece in pieces)
            totals = sum(others, first)
        values = []
        for piece in pieces:
            values.append(loss(**piece, parts=chunks, totals=totals))
            values[-1]["loss"].backward()
        added = {key: sum(value[key].detach() for value in values) for key in values[0]}
        found[name] = (added, [head.grad for head in heads])
    return found


def losses_task(rank):
    """Return losses of this process's pictures, at once and in parts, and a sum with its gradient."""
    value = torch.tensor([rank + 1.0, 10.0], requires_grad=True)
    total = sum_over_processes(value)
    (total * torch.tensor([1.0, rank])).sum().backward()
    part = SHARES[rank]
    # Two parts of as many pictures each need an even number of them.
    even = slice(2 * rank, 2 * rank + 2)
    return {
        "sum": (total.detach(), value.grad),
        "at once": losses_and_gradients(part),
        "in parts": losses_and_gradients(even, chunks=2),
    }


def norm_inputs():
    """Return a batch with channels far from 0, and the gradient of its normalised form."""
    generator = torch.Generator().manual_seed(5)
    x, towards = (torch.randn(4, 3, 5, 6, dtype=torch.float64, generator=generator) for _ in range(2))
    return x * torch.tensor([1.0, 5.0, 0.01]).view(3, 1, 1) + torch.tensor([0.0, -3.0, 7.0]).view(
        3, 1, 1
    ), towards


def new_norm(momentum=0.1, *, affine=True):
    """Return a batch norm with other weights than 1 and 0, inside a model."""
    norm = nn.BatchNorm2d(3, momentum=momentum, affine=affine).double()
    if affine:
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(1))
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    return nn.Sequential(norm, nn.ModuleDict({"inner": nn.Identity()})["inner"])


NORMS = ({}, {"momentum": None}, {"affine": False})


def normalise(model, part, dtype=torch.float64):
    """Return outputs, gradients and statistics of two steps in training, and an output afterwards."""
    x, towards = norm_inputs()
    x, towards = x[part].to(dtype).requires_grad_(), towards[part].to(dtype)
    outputs = [model(x), model(x * 2)]
    sum((output * towards).sum() for output in outputs).backward()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    last = model.eval()(x.detach())
    outputs = [output.detach() for output in outputs]
    return {
        "outputs": outputs,
        "towards": x.grad,
        "gradients": gradients,
        "state": state,
        "last": last.detach(),
    }


def norms_task(rank):
    """Return what synchronised batch norms make of this process's pictures."""
    found = [normalise(synchronise_batch_norm(new_norm(**options)), SHARES[rank]) for options in NORMS]
    low = synchronise_batch_norm(new_norm().float())
    return {"exact": found, "bfloat16": normalise(low, SHARES[rank], torch.bfloat16)}


ARCHITECTURE = {
    "channels": 16, "depths": [1, 1, 2, 1], "groups": [1, 2, 4, 8], "mlp_ratio": 2.0, "head_channels": 16,
    "aux_channels": 8, "num_classes": CLASSES, "drop_path_rate": 0.2,
}  # fmt: skip
STEPS = 5


def network(**changes):
    """Return a small UPerNet with everything that is drawn by lot."""
    torch.manual_seed(0)
    return create_model(ARCHITECTURE | changes).train()


def batch():
    """Return pictures and labels."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(4, 3, 64, 64, generator=generator)
    labels = torch.randint(0, CLASSES, (4, 64, 64), generator=generator)
    labels[0, :40] = 255
    return images, labels


class _Heads(nn.Module):
    """Lets `DistributedDataParallel` see both heads."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.head_logits(images)


def train(model, rank=0, accumulate=1):
    """Train for some steps on this process's share of the batch; returns the weights."""
    images, labels = batch()
    processes = process_count()
    parts = processes * accumulate
    module = _Heads(model)
    if processes > 1:
        synchronise_batch_norm(model)
        module = DistributedDataParallel(module)
    loss = SegmentationLoss(LossConfig(dice=0.5, average="valid"), CLASSES, WEIGHTS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    first = 4 // parts * accumulate * rank
    shares = [slice(start, start + 4 // parts) for start in range(first, first + 4 // processes, 4 // parts)]
    for step in range(STEPS):
        optimizer.zero_grad()
        totals = None
        for measuring in (True, False) if accumulate > 1 else (False,):
            for number, share in enumerate(shares):
                torch.manual_seed(1000 + step)
                with batch_part(rank * accumulate + number, parts):
                    if measuring:
                        with torch.no_grad():
                            found = loss.totals(labels[share], module(images[share]))
                        totals = found if totals is None else totals + found
                    else:
                        loss(module(images[share]), labels[share], accumulate, totals=totals)[
                            "loss"
                        ].backward()
        optimizer.step()
    return {key: value.clone() for key, value in model.state_dict().items()}


def training_task(rank):
    """Return the weights after training with the other process."""
    return train(network(), rank)
