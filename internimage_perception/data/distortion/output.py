"""The folder that augmented samples go to: pictures, labels, regions, lenses, and a record of each sample."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

from internimage_perception.data.datasets.pictures import regions_picture
from internimage_perception.data.distortion.augmentation import Augmented
from internimage_perception.data.distortion.warps import CameraWarp, DivisionWarp, Warp
from internimage_perception.data.sample import Bools, Bytes, ObjectLabel
from internimage_perception.errors import ImageError, PerceptionError
from internimage_perception.files import write_bytes, write_text

IMAGES, LABELS, REGIONS, CAMERAS = "images", "labels", "regions", "cameras"
SAMPLES, DATASET, MARKER = "samples.jsonl", "dataset.yaml", "augmentation.json"
_RECORDS = ".records"
_JPEG_QUALITY = 95
_PNG_COMPRESSION = 3
# Hundredths of a pixel: outlines are not known better, and the file is half as long.
_DIGITS = 2


class OutputFolder:
    """Where augmented samples are written; each is complete as soon as its record is there.

    Args:
        root: the folder.
        described: what is made there, as plain values; a folder that holds something else is refused.
        suffix: of the pictures, ".png" or ".jpg".

    Raises:
        PerceptionError: the folder holds other files or another augmentation.
    """

    def __init__(self, root: Path, described: Mapping[str, object], suffix: str) -> None:
        self.root, self._suffix = root, suffix
        text = json.dumps(described, indent=1, sort_keys=True) + "\n"
        marker = root / MARKER
        if root.exists() and not root.is_dir():
            raise PerceptionError(f"{root} is a file; give a folder for the results")
        if marker.exists():
            if marker.read_text(encoding="utf-8") != text:
                raise PerceptionError(
                    f"{root} holds an augmentation with other options, seed or pictures (see {marker}); "
                    "choose another folder, or remove this one"
                )
        elif root.exists() and any(root.iterdir()):
            raise PerceptionError(f"{root} holds other files already; choose a new or empty folder")
        else:
            write_text(marker, text)

    def done(self, name: str) -> bool:
        """Return whether the sample of a name is there, complete."""
        return self._record(name).exists()

    def write(self, made: Augmented, origin: Mapping[str, object]) -> None:
        """Write a sample and then its record.

        Args:
            made: the sample, its name that of the files.
            origin: what the record begins with.

        Raises:
            PerceptionError: the folder cannot be written.
        """
        sample, drawn = made.sample, made.drawn
        write_bytes(self._path(IMAGES, sample.name, self._suffix), _encoded(sample.image, self._suffix))
        if sample.labels is not None:
            write_bytes(self._path(LABELS, sample.name, ".png"), _encoded(sample.labels, ".png"))
        if sample.regions is not None:
            codes = regions_picture(sample.regions)
            write_bytes(self._path(REGIONS, sample.name, ".png"), _encoded(codes, ".png"))
        camera = None if sample.camera is None else sample.camera.to_dict()
        if camera is not None:
            text = yaml.safe_dump(camera, sort_keys=False, default_flow_style=None)
            write_text(self._path(CAMERAS, sample.name, ".yaml"), text)
        objects = None if sample.objects is None else [_described(item) for item in sample.objects]
        record = {
            "name": sample.name,
            **origin,
            "image": f"{IMAGES}/{sample.name}{self._suffix}",
            "camera": camera,
            "map": {
                **described_warp(drawn.warp),
                "true_source": drawn.true_source,
                "vignette": drawn.vignette,
                "blur_px": drawn.blur_px,
                "background": made.background,
                "views": [{"source": name, **described_warp(warp)} for name, warp in made.views],
            },
            "objects": objects,
        }
        write_text(self._record(sample.name), json.dumps(record) + "\n")

    def finish(self, names: Sequence[str], classes: Sequence[str]) -> None:
        """Write the samples' records as one file, and the file that `open_dataset` reads.

        Args:
            names: of the samples that are there, in order.
            classes: names of the classes that labels have.
        """
        records = (self._record(name).read_text(encoding="utf-8") for name in names)
        write_text(self.root / SAMPLES, "".join(records))
        folders = [folder for folder in (LABELS, REGIONS, CAMERAS) if (self.root / folder).is_dir()]
        dataset: dict[str, object] = {"kind": "folders", "images": IMAGES, **{name: name for name in folders}}
        if LABELS in folders and not all(self._path(LABELS, name, ".png").exists() for name in names):
            dataset["allow_unlabelled"] = True
        dataset["classes"] = list(classes)
        write_text(self.root / DATASET, yaml.safe_dump(dataset, sort_keys=False, default_flow_style=None))

    def picture(self, name: str) -> Path:
        """Return the path of a sample's picture."""
        return self._path(IMAGES, name, self._suffix)

    def _record(self, name: str) -> Path:
        return self._path(_RECORDS, name, ".json")

    def _path(self, folder: str, name: str, suffix: str) -> Path:
        # Not with_suffix: names may hold dots.
        return self.root / folder / f"{name}{suffix}"


def described_warp(warp: Warp) -> dict[str, object]:
    """Return the parameters of a warp as plain values."""
    sizes = {"source_size": [warp.source_width, warp.source_height], "size": [warp.width, warp.height]}
    if isinstance(warp, CameraWarp):
        return {
            "kind": "lens",
            **sizes,
            "source_camera": warp.source.to_dict(),
            "source_from_target": [list(row) for row in warp.rotation],
            "translation": list(warp.translation),
        }
    if isinstance(warp, DivisionWarp):
        return {"kind": "division", **sizes, "k": warp.k, "left": warp.left, "top": warp.top}
    message = f"a warp of the kind {type(warp).__name__} has no description"
    raise TypeError(message)


def _described(item: ObjectLabel) -> dict[str, object]:
    values: dict[str, object] = {
        "class_id": item.class_id,
        "box": np.round(item.box, _DIGITS).tolist(),
        "polygons": [np.round(outline, _DIGITS).tolist() for outline in item.polygons],
        "crowd": item.crowd,
        "instance_id": item.instance_id,
    }
    if item.mask is not None:
        values["mask"] = {"size": list(item.mask.shape), "counts": run_lengths(item.mask)}
    return values


def run_lengths(mask: Bools) -> list[int]:
    """Return COCO's run lengths of a mask: column by column, background first."""
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat.astype(np.int8)))
    counts: list[int] = np.diff(np.concatenate([[-1], ends, [flat.size - 1]])).tolist()
    return [0, *counts] if flat.size and flat[0] else counts


def spec_of(config: object) -> dict[str, object]:
    """Return a configuration as plain values, its cameras as dictionaries."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        message = f"{config!r} is no configuration"
        raise TypeError(message)
    values: dict[str, object] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.name == "cameras":
            value = [camera.to_dict() for camera in value]
        values[item.name] = value
    # As JSON would give it back: tuples are lists.
    plain: dict[str, object] = json.loads(json.dumps(values))
    return plain


def _encoded(picture: Bytes, suffix: str) -> bytes:
    array = picture[..., ::-1] if picture.ndim == 3 else picture
    options = (
        [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
        if suffix == ".png"
        else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    good, data = cv2.imencode(suffix, np.ascontiguousarray(array), options)
    if not good:
        raise ImageError(f"a picture of {array.shape[1]}x{array.shape[0]} cannot be encoded as {suffix}")
    return data.tobytes()
