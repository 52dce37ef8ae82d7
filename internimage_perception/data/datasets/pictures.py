"""Read pictures and label pictures of datasets: whole, of the right kind, or refused in words."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.label_map import LabelMap
from internimage_perception.data.sample import Regions
from internimage_perception.errors import DatasetError, ImageError
from internimage_perception.geometry import CameraModel
from internimage_perception.inference.encodings import decode_compressed
from internimage_perception.inference.image_files import read_header

Bytes = npt.NDArray[np.uint8]

# Where a PNG file says what its pixels are; the header is always its first chunk.
_SIGNATURE, _HEADER_END, _DEPTH, _KIND = 8, 33, 24, 25
_GREY, _PALETTE = 0, 3
_LEFT_OUT = (b"PLTE", b"tRNS", b"gAMA", b"sBIT", b"bKGD")

OUTSIDE_LENS, EGO_BODY, NO_SOURCE = 1, 2, 4
"""Bits of a regions picture, an 8-bit PNG with one channel; 0 is the scene."""


def read_image(path: Path) -> Bytes:
    """Return a JPEG or PNG file as uint8 RGB (height, width, 3). Raises DatasetError naming the file."""
    data = read_bytes(path)
    try:
        _check_sums(data)
        return decode_compressed(data, "", "rgb")
    except ImageError as error:
        raise _damaged(path, error) from error


def read_ids(path: Path) -> Bytes:
    """Return the ids in a label picture, uint8 (height, width): a PNG, grey or with a palette.

    Of a palette the numbers count, not the colours. Raises DatasetError naming the file: unreadable, damaged,
    a JPEG, colours, or 16 bits.
    """
    data = read_bytes(path)
    try:
        header = read_header(memoryview(data))
        _check_sums(data)
    except ImageError as error:
        raise _damaged(path, error) from error
    if header.kind != "png":
        raise DatasetError(f"{path} is a JPEG: ids do not survive its compression; use the PNG labels")
    depth, kind = data[_DEPTH], data[_KIND]
    if kind not in {_GREY, _PALETTE}:
        raise DatasetError(
            f"{path} is a colour picture, not one of label ids; give the files of ids (Cityscapes: "
            "labelIds, not color), or colours in the label map and `form: colors`"
        )
    if depth > 8:
        raise DatasetError(
            f"{path} has 16 bits per pixel, label ids have 8; is it of instances or of depth? "
            "Give the label files, or save these with 8 bits"
        )
    pixels = cv2.imdecode(np.frombuffer(_as_grey(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2:
        raise _damaged(path, ImageError("the decoder found no picture in it"))
    # Decoders stretch the numbers of fewer than 8 bits to 0 to 255.
    scale = 255 // (2**depth - 1)
    return np.asarray(pixels // scale if scale > 1 else pixels, np.uint8)


def read_labels(path: Path, label_map: LabelMap, size: tuple[int, int], *, colors: bool = False) -> Bytes:
    """Return the class ids of a label picture, uint8 (height, width).

    Args:
        path: of the PNG file.
        label_map: what its ids or colours mean.
        size: (height, width) of the picture it labels.
        colors: it holds colours, not ids.

    Raises:
        DatasetError: see `read_ids`; another size than the picture; an id or colour the map does not list.
    """
    if colors:
        content = read_image(path)
        check_size(path, content, size)
        return label_map.apply_colors(content, path)
    content = read_ids(path)
    check_size(path, content, size)
    return label_map.apply(content, path)


def read_regions(path: Path, size: tuple[int, int]) -> Regions:
    """Return the regions in an 8-bit PNG of the bits 1 outside the lens, 2 ego body, 4 no source.

    Raises DatasetError: see `read_ids`; another size than the picture; other bits.
    """
    bits = read_ids(path)
    check_size(path, bits, size)
    if (bits > (OUTSIDE_LENS | EGO_BODY | NO_SOURCE)).any():
        raise DatasetError(
            f"{path} holds {bits.max()}; regions are sums of 1, 2 and 4 (see docs/datasets.md)"
        )
    return Regions(*((bits & bit) > 0 for bit in (OUTSIDE_LENS, EGO_BODY, NO_SOURCE)))


def regions_picture(regions: Regions) -> Bytes:
    """Return what `read_regions` reads, uint8 (height, width)."""
    bits = np.zeros(regions.ego_body.shape, np.uint8)
    for mask, bit in zip(regions, (OUTSIDE_LENS, EGO_BODY, NO_SOURCE), strict=True):
        bits |= np.where(mask, np.uint8(bit), np.uint8(0))
    return bits


def check_size(path: Path, content: Bytes, size: tuple[int, int]) -> None:
    """Raise DatasetError unless a label picture has the (height, width) of its picture."""
    if content.shape[:2] != size:
        raise DatasetError(
            f"{path} has {content.shape[1]}x{content.shape[0]} pixels, but its picture {size[1]}x{size[0]}; "
            "labels must have the picture's size (resize labels to it with nearest, never blended)"
        )


def check_camera(camera: CameraModel, where: object, size: tuple[int, int]) -> CameraModel:
    """Return the camera; raise DatasetError naming `where` unless it is for pictures of (height, width)."""
    if (camera.height, camera.width) != size:
        raise DatasetError(
            f"{where} is a calibration for {camera.width}x{camera.height} pixels, but the picture has "
            f"{size[1]}x{size[0]}; use pictures and calibration of one size"
        )
    return camera


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes. Raises DatasetError naming it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error


def _damaged(path: Path, error: ImageError) -> DatasetError:
    return DatasetError(f"{path} is damaged or no picture: {error}; get the file again, or leave it out")


def _check_sums(data: bytes) -> None:
    """Raise ImageError where a PNG's checksums are wrong: decoders differ in what they let pass."""
    if not data.startswith(b"\x89PNG"):
        return
    view, position = memoryview(data), _SIGNATURE
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(view[position : position + 4], "big")
        if end + 4 > len(data):
            return
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ImageError("a checksum in the PNG is wrong")
        if data[position + 4 : position + 8] == b"IEND":
            return
        position = end + 4


def _as_grey(data: bytes) -> bytes:
    """Return a PNG with a palette as the same PNG of grey numbers; others unchanged."""
    if data[_KIND] != _PALETTE:
        return data
    header = bytearray(data[: _HEADER_END - 4])
    header[_KIND] = _GREY
    parts = [bytes(header), zlib.crc32(header[12:]).to_bytes(4, "big")]
    position = _HEADER_END
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in _LEFT_OUT:
            parts.append(data[position:end])
        position = end
    return b"".join(parts)
