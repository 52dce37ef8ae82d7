"""Show that colour does not give the street's classes away: a per-pixel colour classifier, and its mIoU.

Multinomial logistic regression on the colour of the pixel, its square and products, and the mean and spread
of its 3x3 neighbourhood, trained on streets of the training split and tested on held-out streets:

    python bench/street_color_baseline.py [--streets 24] [--views 6]
"""

import argparse

import cv2
import numpy as np
import numpy.typing as npt
from results import save

from internimage_perception.data.street.samples import random_samples
from internimage_perception.data.street.seeds import Split
from internimage_perception.evaluation.confusion import ConfusionMatrix

CLASSES = 13
PIXELS_PER_VIEW = 1500
FIRST_SEED = 900_000


def features(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the features of every pixel, (height * width, 22), the last of them 1."""
    rgb = image.astype(np.float32) / 255.0
    mean = np.asarray(cv2.blur(rgb, (3, 3)), np.float32)
    spread = np.sqrt(np.maximum(np.asarray(cv2.blur(rgb * rgb, (3, 3))) - mean * mean, 0.0)) * 4.0
    r, g, b = np.moveaxis(rgb, -1, 0)
    total = r + g + b + 0.05
    products = [r * r, g * g, b * b, r * g, r * b, g * b, r / total, g / total, b / total]
    columns = [*np.moveaxis(rgb, -1, 0), *np.moveaxis(mean, -1, 0), *np.moveaxis(spread, -1, 0), *products]
    columns += [rgb.max(axis=-1) - rgb.min(axis=-1), np.abs(r - g), np.abs(g - b), np.ones_like(r)]
    return np.stack(columns, axis=-1).reshape(-1, len(columns)).astype(np.float64)


def train(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.intp], weight: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the weights (features, classes) after gradient descent by Adam on the weighted cross-entropy."""
    rng = np.random.default_rng(0)
    w, first, second = np.zeros((3, x.shape[1], CLASSES))
    for step in range(1, 3001):
        pick = rng.integers(len(x), size=4096)
        logits = x[pick] @ w
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(pick)), y[pick]] -= 1.0
        gradient = x[pick].T @ (p * weight[y[pick], None]) / len(pick)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.05 * (1.0 - step / 3001)
        w -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return w


def per_class_iou(
    split: Split, streets: int, views: int, w: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the IoU of each class over all valid pixels of held-out streets, NaN for absent ones."""
    matrix = ConfusionMatrix(CLASSES)
    for seed in range(FIRST_SEED, FIRST_SEED + streets):
        for image, labels in random_samples(seed, views, split=split):
            guess = (features(image) @ w).argmax(axis=1).astype(np.uint8)
            matrix.add(labels, guess.reshape(labels.shape))
    return matrix.iou()


def main() -> None:
    """Train, test, and write the result down, for pixels weighted as they come and by class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streets", type=int, default=30, help="per split")
    parser.add_argument("--views", type=int, default=4, help="pictures per street")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    xs, ys = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + options.streets):
        for image, labels in random_samples(seed, options.views):
            valid = np.flatnonzero(labels.ravel() < CLASSES)
            pick = rng.choice(valid, min(PIXELS_PER_VIEW, len(valid)), replace=False)
            xs.append(features(image)[pick])
            ys.append(labels.ravel()[pick].astype(np.intp))
    x, y = np.concatenate(xs), np.concatenate(ys)
    share = np.bincount(y, minlength=CLASSES) / len(y)
    balanced = 1.0 / np.maximum(share, 1e-4)
    result = {}
    for name, weight in (
        ("as they come", np.ones(CLASSES)),
        ("square root", np.sqrt(balanced)),
        ("balanced", balanced),
    ):
        w = train(x, y, weight / (weight * share).sum())
        for split in ("train", "test"):
            iou = per_class_iou(split, options.streets, options.views, w)
            result[f"{name}, {split}"] = {
                "miou13": round(float(np.nanmean(iou)), 4),
                "per_class": [round(float(v), 3) for v in iou],
            }
    save("street_color_baseline", {"streets": options.streets, "views": options.views, "scores": result})


if __name__ == "__main__":
    main()
