"""Read a `BackgroundBank` from a folder of frames, with masks drawn by hand, as pictures, or found."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from internimage_perception.data.datasets.files import PICTURES, list_files
from internimage_perception.data.datasets.pictures import check_size, read_ids, read_image, read_regions
from internimage_perception.data.distortion.auto_regions import MIN_FRAMES, find_regions
from internimage_perception.data.distortion.backgrounds import Background, BackgroundBank, visible_regions
from internimage_perception.data.distortion.labelme import read_labelme
from internimage_perception.data.sample import Bytes, Regions
from internimage_perception.errors import DatasetError

REGIONS_ENDING, VISIBLE_ENDING = "_regions", "_visible"


def load_backgrounds(folder: Path) -> BackgroundBank:
    """Read every frame of a folder and its subfolders, in order of their paths.

    Beside the frame NAME.jpg or NAME.png, its masks are in NAME.json (labelme, see `read_labelme`), in
    NAME_regions.png (bits as `read_regions` has them) or in NAME_visible.png (0 where the frame does not show
    the scene). Where frames have neither, the rim and the own vehicle are found in all such frames of the
    folder together: keep the frames of one camera in one folder.

    Raises:
        DatasetError: a file cannot be used, or too few frames to find the masks in.
    """
    pictures = list_files(folder, PICTURES, "background frames")
    masks = {name: path for name, path in pictures.items() if _is_mask(name)}
    frames: list[Background] = []
    bare: dict[str, dict[str, Bytes]] = {}
    for name, path in pictures.items():
        if name in masks:
            continue
        image = read_image(path)
        regions = _given_regions(name, path, masks, (image.shape[0], image.shape[1]))
        if regions is None:
            bare.setdefault(str(Path(name).parent), {})[name] = image
        else:
            frames.append(Background(name, image, regions))
    for place, images in bare.items():
        try:
            found = find_regions(list(images.values()))
        except ValueError as error:
            raise DatasetError(
                f"{folder / place}: backgrounds without masks: {error}. Add frames of this camera (at least "
                f"{MIN_FRAMES}), or draw the masks (see docs/augmentation.md)"
            ) from error
        frames += [Background(name, image, found) for name, image in images.items()]
    if not frames:
        raise DatasetError(f"{folder} holds masks, but no background frames")
    return BackgroundBank(sorted(frames, key=lambda frame: frame.name))


def _is_mask(name: str) -> bool:
    return name.endswith((REGIONS_ENDING, VISIBLE_ENDING))


def _given_regions(name: str, path: Path, masks: Mapping[str, Path], size: tuple[int, int]) -> Regions | None:
    if (drawn := path.with_suffix(".json")).exists():
        return read_labelme(drawn, size[1], size[0])
    if (bits := masks.get(name + REGIONS_ENDING)) is not None:
        return read_regions(bits, size)
    if (shown := masks.get(name + VISIBLE_ENDING)) is not None:
        visible = read_ids(shown)
        check_size(shown, visible, size)
        return visible_regions(np.asarray(visible > 0, np.bool_))
    return None
