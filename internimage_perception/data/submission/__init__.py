"""Submissions to the DACON Samsung AI Challenge 2023: masks as a CSV of run lengths, written and checked."""

from internimage_perception.data.submission.checking import CheckReport, check_submission
from internimage_perception.data.submission.layout import CLASSES, HEIGHT, PICTURES, WIDTH, row_id
from internimage_perception.data.submission.runs import (
    EMPTY,
    decode_runs,
    encode_classes,
    mask_of_runs,
)
from internimage_perception.data.submission.shrinking import NEAREST, shrink
from internimage_perception.data.submission.writing import write_submission

__all__ = [
    "CLASSES",
    "EMPTY",
    "HEIGHT",
    "NEAREST",
    "PICTURES",
    "WIDTH",
    "CheckReport",
    "check_submission",
    "decode_runs",
    "encode_classes",
    "mask_of_runs",
    "row_id",
    "shrink",
    "write_submission",
]
