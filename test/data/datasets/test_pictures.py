"""Pictures and labels: exact where they are right, refused in words where they are not."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.dataset_files import ids, picture, write

from internimage_perception.data.datasets import LabelMap
from internimage_perception.data.datasets.pictures import (
    read_ids,
    read_image,
    read_labels,
    read_regions,
    regions_picture,
)
from internimage_perception.data.sample import Regions
from internimage_perception.errors import DatasetError

THREE = LabelMap.identity(["a", "b", "c"])


def test_rgb_order_and_grey(tmp_path: Path) -> None:
    content = picture()
    assert (read_image(write(tmp_path / "a.png", content)) == content).all()
    grey = read_image(write(tmp_path / "b.png", content[..., 0]))
    assert (grey == content[..., :1]).all() and grey.shape == content.shape


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_cut_off_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", picture(height=64, width=64))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=rf"a{suffix} is damaged or no picture: .*truncated"):
        read_image(path)


def test_flipped_bits_in_a_png_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", picture(height=64, width=64))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="a checksum in the PNG is wrong"):
        read_image(path)
    path = write(tmp_path / "l.png", ids(range(256), 64, 64))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="a checksum in the PNG is wrong"):
        read_ids(path)


@pytest.mark.parametrize("content", [b"", b"GIF89a and more", b"\x89PNG\r\n\x1a\n"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, read_ids):
        with pytest.raises(DatasetError, match=r"a\.png is damaged or no picture"):
            read(path)
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_ids(tmp_path / "b.png")


def test_labels_of_the_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is a colour picture, not one of label ids"):
        read_ids(write(tmp_path / "rgb.png", picture()))
    with pytest.raises(DatasetError, match="has 16 bits per pixel"):
        read_ids(write(tmp_path / "deep.png", picture()[..., 0].astype(np.uint16) * 7))
    with pytest.raises(DatasetError, match="is a JPEG"):
        read_ids(write(tmp_path / "lossy.jpg", ids([0, 1])))


def test_labels_must_fit_their_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "l.png", ids([0, 1, 2, 255]))
    assert read_labels(path, THREE, (6, 8)).reshape(-1)[:4].tolist() == [0, 1, 2, 255]
    with pytest.raises(DatasetError, match=r"l\.png has 8x6 pixels, but its picture 8x7"):
        read_labels(path, THREE, (7, 8))
    with pytest.raises(DatasetError, match=r"l\.png holds label id 3"):
        read_labels(write(tmp_path / "l.png", ids([0, 3])), THREE, (6, 8))


@pytest.mark.parametrize(("bits", "most"), [(1, 2), (2, 4), (4, 16), (8, 256)])
@pytest.mark.parametrize("palette", [True, False])
def test_numbers_of_few_bits_and_of_palettes(tmp_path: Path, bits: int, most: int, palette: bool) -> None:
    """Indexed and grey PNG of every depth, written by hand: the numbers come back, not the colours."""
    content = np.random.default_rng(bits).integers(0, most, (5, 8), dtype=np.uint8)
    path = tmp_path / "l.png"
    path.write_bytes(png(content, bits, palette=palette))
    assert (read_ids(path) == content).all()


def png(content: np.ndarray, bits: int, *, palette: bool) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    height, width = content.shape
    planes = (content[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1
    rows = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1)
    header = (
        width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, 3 if palette else 0, 0, 0, 0])
    )
    # Colours that repeat: from them the numbers cannot be found again.
    colors = chunk(b"PLTE", bytes(3 * 2**bits)) + chunk(b"tRNS", b"\0") if palette else b""
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colors + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_regions_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    regions = Regions(*(rng.random((6, 8)) < 0.4 for _ in range(3)))
    path = write(tmp_path / "r.png", regions_picture(regions))
    assert all((a == b).all() for a, b in zip(read_regions(path, (6, 8)), regions, strict=True))
    assert (
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED) == 1 * regions[0] + 2 * regions[1] + 4 * regions[2]
    ).all()
    with pytest.raises(DatasetError, match=r"w\.png holds 8; regions are sums of 1, 2 and 4"):
        read_regions(write(tmp_path / "w.png", ids([0, 8])), (6, 8))
