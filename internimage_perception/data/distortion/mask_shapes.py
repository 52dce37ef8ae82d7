"""Shapes in masks: morphology, the image's border, connected parts."""

import cv2
import numpy as np

from internimage_perception.data.sample import Bools


def morphed(mask: Bools, how: int, size: int) -> Bools:
    """Return a mask after one of OpenCV's morphological operations with a disc, `size` pixels across."""
    kernel = np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), how, kernel), np.uint8).astype(np.bool_)


def border(shape: tuple[int, ...]) -> Bools:
    """Return the outermost pixels of an image (height, width)."""
    mask = np.zeros(shape, np.bool_)
    mask[0], mask[-1], mask[:, 0], mask[:, -1] = True, True, True, True
    return mask


def touching(mask: Bools, other: Bools) -> Bools:
    """Return the connected parts of a mask that touch another one."""
    _, numbers = cv2.connectedComponents(mask.astype(np.uint8))
    wanted = np.unique(numbers[mask & other])
    return np.asarray(np.isin(numbers, wanted[wanted > 0]), np.bool_)
