"""The classes of the street: the twelve of DACON's fisheye task, and background (see config/classes.yaml)."""

from enum import IntEnum

IGNORED = 255
"""Label of pixels outside the lens, and of bicycles: Cityscapes has them, DACON's task does not."""


class StreetClass(IntEnum):
    """Class ids as in the label images."""

    ROAD = 0
    SIDEWALK = 1
    CONSTRUCTION = 2
    FENCE = 3
    POLE = 4
    TRAFFIC_LIGHT = 5
    TRAFFIC_SIGN = 6
    NATURE = 7
    SKY = 8
    PERSON = 9
    RIDER = 10
    CAR = 11
    BACKGROUND = 12
    IGNORED = IGNORED
