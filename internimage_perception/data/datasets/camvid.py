"""CamVid: in its own colours, or as ids of SegNet's eleven classes."""

from pathlib import Path
from typing import Literal

from internimage_perception.data.datasets.folders import FolderPairs
from internimage_perception.data.datasets.label_map_file import LabelMapLike

_MAPS = {"colors": "camvid32_to_dacon12", "ids": "camvid11_to_dacon12"}


class CamVid(FolderPairs):
    """Labelled frames of the Cambridge-driving videos.

    As published, label pictures are colours: `701_StillsRaw_full/0001TP_006690.png` and
    `LabeledApproved_full/0001TP_006690_L.png`. As SegNet's authors made them, they are ids:
    `train/0001TP_006690.png` and `trainannot/0001TP_006690.png`.

    Args:
        images: folder of the frames.
        labels: folder of the label pictures; none: beside the frames.
        form: what they hold.
        label_ending: of their names; by default `_L` for colours; for ids `_label` beside the frames, else
            none.
        label_map: what they mean; by default to DACON's twelve classes.

    Raises:
        DatasetError: a folder is missing or empty; a frame without label or the reverse.
    """

    def __init__(
        self,
        images: Path,
        labels: Path | None = None,
        form: Literal["colors", "ids"] = "colors",
        label_ending: str | None = None,
        label_map: LabelMapLike | None = None,
    ) -> None:
        if label_ending is None:
            beside = labels is None or labels == images
            label_ending = "_L" if form == "colors" else "_label" if beside else ""
        super().__init__(
            images, labels or images, label_ending=label_ending, form=form, label_map=label_map or _MAPS[form]
        )
        self.title = f"CamVid in {images}"
