"""The folder that `predict` writes to: masks as pictures, and a list; a run can go on later."""

import csv
import io
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.pictures import read_ids
from internimage_perception.errors import DatasetError, ImageError, PerceptionError
from internimage_perception.files import try_lock, write_bytes, write_text
from internimage_perception.inference.bundle import ClassSpec
from internimage_perception.inference.results import INVALID_ID

Bytes = npt.NDArray[np.uint8]

IDS, COLOR, CONFIDENCE = "ids", "color", "confidence"
MARKER, LIST = "predict.json", "predictions.csv"
_PNG_HEADER = 8 + 8 + 13
"""Signature, and length, type and content of the first chunk."""
_PNG_KIND, _PNG_PALETTE = 25, 3


class PredictionFolder:
    """Where predictions are written. A picture is done when its class ids are there: they are written last.

    Args:
        root: the folder; new, empty, or begun by a run with the same description.
        described: what is made there, as plain values that JSON can hold.
        classes: colours.
        color: write colour pictures too.
        confidence: write the confidence too.

    Raises:
        PerceptionError: the folder holds other files or other predictions, another process is writing to it,
            or it cannot be written.
    """

    def __init__(
        self,
        root: Path,
        described: Mapping[str, object],
        classes: Sequence[ClassSpec],
        *,
        color: bool,
        confidence: bool,
    ) -> None:
        self.root, self._confidence = root, confidence
        self._palette = _palette(classes) if color else None
        # As JSON gives it back: tuples are lists.
        self._described = json.loads(json.dumps({**described, "color": color, "confidence": confidence}))
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise PerceptionError(
                f"cannot write to {root}: {error.strerror}; give a folder for the results"
            ) from error
        try:
            self._lock()
            self._claim()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let another process write."""
        os.close(self._handle)

    def path(self, kind: str, name: str) -> Path:
        """Return the path of a picture's output; `kind` is `IDS`, `COLOR` or `CONFIDENCE`."""
        # Not with_suffix: names may hold dots.
        return self.root / kind / f"{name}.png"

    def done(self, name: str) -> bool:
        """Return whether a picture's outputs are there."""
        return self.path(IDS, name).is_file()

    def write(self, name: str, ids: Bytes, confidence: Bytes) -> None:
        """Write a picture's outputs, uint8 (height, width) each. Raises PerceptionError."""
        encoded = _png(ids)
        if self._confidence:
            write_bytes(self.path(CONFIDENCE, name), _png(confidence))
        if self._palette is not None:
            write_bytes(self.path(COLOR, name), with_palette(encoded, self._palette))
        write_bytes(self.path(IDS, name), encoded)

    def read(self, name: str, size: tuple[int, int]) -> Bytes:
        """Return the class ids written earlier, uint8 of that (height, width). Raises DatasetError."""
        path = self.path(IDS, name)
        ids = read_ids(path)
        if ids.shape != size:
            raise DatasetError(
                f"{path} has {ids.shape[1]}x{ids.shape[0]} pixels, its picture {size[1]}x{size[0]}; remove "
                "it, and the picture is labelled again"
            )
        return ids

    def finish(self, rows: Iterable[tuple[str, Path | None]]) -> None:
        """Write the list of predictions, whose paths start from the folder.

        Args:
            rows: name, and the picture's path where it is known, of every picture that is done.
        """
        here = os.path.realpath(self.root)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "img_path", "ids_path"))
        for name, image in rows:
            path = "" if image is None else os.path.relpath(os.path.abspath(image), here)  # noqa: PTH100
            writer.writerow((name, path, f"{IDS}/{name}.png"))
        write_bytes(self.root / LIST, text.getvalue().encode("utf-8", "surrogateescape"))

    def _lock(self) -> None:
        if not try_lock(self._handle):
            raise PerceptionError(
                f"another process is writing to {self.root}: wait for it, or choose another folder"
            )

    def _claim(self) -> None:
        marker = self.root / MARKER
        if marker.exists():
            self._check_same(marker)
            for leftover in self.root.rglob(".*.part"):
                leftover.unlink(missing_ok=True)
            return
        torn = f".{MARKER}."
        if others := sorted(item.name for item in self.root.iterdir() if not item.name.startswith(torn)):
            raise PerceptionError(
                f"{self.root} holds other files already ({', '.join(others[:3])}); choose a new or an empty "
                "folder"
            )
        write_text(marker, json.dumps(self._described, indent=1) + "\n")

    def _check_same(self, marker: Path) -> None:
        found: object = None
        with suppress(ValueError):
            found = json.loads(marker.read_bytes())
        if found == self._described:
            return
        before = found if isinstance(found, dict) else {}
        other = [key for key in self._described if before.get(key) != self._described[key]]
        raise PerceptionError(
            f"{self.root} holds predictions with other options ({', '.join(other)}; see {marker}); "
            "choose another folder, or remove this one"
        )


def with_palette(png: bytes, palette: bytes) -> bytes:
    """Return a grey PNG of 8 bits as one whose numbers are indices into a palette.

    The pixels stay as they are compressed, so that a colour picture costs nothing.

    Args:
        png: the file.
        palette: red, green and blue of each number.
    """
    header = bytearray(png[:_PNG_HEADER])
    header[_PNG_KIND] = _PNG_PALETTE
    return b"".join(
        [
            bytes(header),
            zlib.crc32(header[12:]).to_bytes(4, "big"),
            len(palette).to_bytes(4, "big"),
            b"PLTE",
            palette,
            zlib.crc32(b"PLTE" + palette).to_bytes(4, "big"),
            png[_PNG_HEADER + 4 :],
        ]
    )


def _palette(classes: Sequence[ClassSpec]) -> bytes:
    """Return the colours of all 256 ids; black where there is no class, as for what the lens does not see."""
    table = np.zeros((256, 3), np.uint8)
    for spec in classes:
        table[spec.id] = spec.color
    table[INVALID_ID] = 0
    return table.tobytes()


def _png(picture: Bytes) -> bytes:
    # Masks are areas of one value: run lengths pack them smaller and faster than the default.
    options = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    good, data = cv2.imencode(".png", np.ascontiguousarray(picture), options)
    if not good:
        raise ImageError(f"a mask of {picture.shape[1]}x{picture.shape[0]} pixels cannot be encoded as PNG")
    return data.tobytes()
