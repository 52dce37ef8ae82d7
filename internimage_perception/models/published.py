"""What was published about the registered networks: scores, sizes, sources, licences."""

from dataclasses import dataclass

SOURCE = "model tables of github.com/OpenGVLab/InternImage, commit 31c962dc (2025-03-25)"

_WEIGHTS = "official code and checkpoints: MIT (OpenGVLab/InternImage)"
_BACKBONE = f"{_WEIGHTS}; its weights are part of the classifiers' and segmentors', whose notes apply"
_SEGFORMER = (
    "the official network contains a head whose source file in mmsegmentation carries NVIDIA's "
    "non-commercial licence (the head here is written from names of weights and outputs alone): settle what "
    "that means for checkpoints trained with it before commercial use"
)


@dataclass(frozen=True, slots=True)
class Score:
    """A published result.

    Attributes:
        dataset: what it was measured on.
        metric: "top-1" or "mIoU", in percent.
        value: with one view per image.
        multi_scale: with several scales and flips; None: not published.
        size: (height, width) of the network's input, in training crops for segmentation.
        trained_on: data in the order of training, the last one the dataset's own.
    """

    dataset: str
    metric: str
    value: float
    multi_scale: float | None
    size: tuple[int, int]
    trained_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """What is known of one architecture.

    Attributes:
        scores: empty where nothing was published.
        checkpoint: whether there are official weights of it.
        source: where the scores are from; empty without any.
        licence: of official weights, as far as the authors state it, and what to mind.
    """

    scores: tuple[Score, ...]
    checkpoint: bool
    source: str
    licence: str


_JOINT = "joint set of 427 M images"
_IN1K, _IN22K, _ADE, _CITY, _VISTAS = (
    "ImageNet-1k",
    "ImageNet-22k",
    "ADE20K",
    "Cityscapes",
    "Mapillary Vistas",
)
_PRETRAINING = {
    "t": (_IN1K,), "s": (_IN1K,), "b": (_IN1K,), "l": (_IN22K,), "xl": (_IN22K,),
    "h": (_JOINT, _IN22K), "g": (_JOINT, _IN22K),
}  # fmt: skip

# Variant: top-1, side of the image.
_CLASSIFICATION = {
    "t": (83.5, 224), "s": (84.2, 224), "b": (84.9, 224), "l": (87.7, 384), "xl": (88.0, 384),
    "h": (89.6, 640), "g": (90.1, 512),
}  # fmt: skip
_IN1K_CLASSES = 1000
_SMALLEST_SIDE = 224
_PRETRAINING_SIDE = 384
# Variant: mIoU with one scale, with several, side of the crop.
_UPERNET_ADE20K = {
    "t": (47.9, 48.1, 512), "s": (50.1, 50.9, 512), "b": (50.8, 51.3, 512), "l": (53.9, 54.1, 640),
    "xl": (55.0, 55.3, 640), "h": (59.9, 60.3, 896),
}  # fmt: skip
_UPERNET_CITYSCAPES = {
    "t": (82.58, 83.40), "s": (82.74, 83.45), "b": (83.18, 83.97), "l": (83.68, 84.41), "xl": (83.62, 84.28),
}  # fmt: skip
_UPERNET_VISTAS_CITYSCAPES = {"l": (85.94, 86.22), "xl": (86.20, 86.42)}
_SEGFORMER_VISTAS_CITYSCAPES = {"l": (85.16, 85.67), "xl": (85.41, 85.93)}


def publication(name: str) -> Publication:
    """Return what was published about the network of a registered name; nothing for names of our own."""
    kind, _, rest = name.rpartition("internimage_")
    variant, _, classes = rest.partition("_")
    if variant not in _CLASSIFICATION:
        return Publication((), checkpoint=False, source="", licence="no official counterpart; Apache-2.0")
    data = list(_PRETRAINING[variant])
    if kind == "upernet_":
        scores = _upernet_scores(variant)
    elif kind == "segformer_":
        scores = [_cityscapes(variant, _SEGFORMER_VISTAS_CITYSCAPES[variant], (_VISTAS,))]
    elif classes == "1k":
        value, side = _CLASSIFICATION[variant]
        data += [] if data == [_IN1K] else [_IN1K]
        scores = [Score(_IN1K, "top-1", value, None, (side, side), tuple(data))]
    else:
        scores = []
    checkpoint = bool(scores) or (classes == "22k" and _IN22K in data)
    data = list(dict.fromkeys([*data, *(item for score in scores for item in score.trained_on)]))
    licence = _licence(kind, checkpoint, data) if kind or classes else _BACKBONE
    return Publication(tuple(scores), checkpoint, SOURCE if scores else "", licence)


def classifier_side(name: str, classes: int) -> int:
    """Return the side of the square images that the official classifier is made for.

    With the 1000 classes of ImageNet-1k it is that of the published score, else that of the training on
    larger data before, 384 at most; 224 for a name that nothing was published about.
    """
    kind, _, rest = name.partition("internimage_")
    _, side = _CLASSIFICATION.get("" if kind else rest.partition("_")[0], (0.0, _SMALLEST_SIDE))
    return side if classes == _IN1K_CLASSES else min(side, _PRETRAINING_SIDE)


def _upernet_scores(variant: str) -> list[Score]:
    scores: list[Score] = []
    if variant in _UPERNET_ADE20K:
        single, multi, side = _UPERNET_ADE20K[variant]
        data = (*_PRETRAINING[variant], _ADE)
        scores.append(Score(_ADE, "mIoU", single, multi, (side, side), data))
    if variant in _UPERNET_CITYSCAPES:
        scores.append(_cityscapes(variant, _UPERNET_CITYSCAPES[variant], ()))
    if variant in _UPERNET_VISTAS_CITYSCAPES:
        scores.append(_cityscapes(variant, _UPERNET_VISTAS_CITYSCAPES[variant], (_VISTAS,)))
    return scores


def _cityscapes(variant: str, values: tuple[float, float], between: tuple[str, ...]) -> Score:
    return Score(_CITY, "mIoU", *values, (512, 1024), (*_PRETRAINING[variant], *between, _CITY))


def _licence(kind: str, checkpoint: bool, data: list[str]) -> str:
    if not checkpoint:
        return f"{_WEIGHTS}; no weights of this network are published"
    parts = [_WEIGHTS, f"terms of the training data apply: {', '.join(data)}"]
    return "; ".join([*parts, _SEGFORMER] if kind == "segformer_" else parts)
