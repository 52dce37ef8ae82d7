"""What a model sees of the real world: CamVid's labelled frames, and the road of the opencalib sets.

    bench/real_sight.py --model BUNDLE [--data ../shared/data] [--pictures FOLDER]

Both are few pictures of other cameras than the model was trained for: a sign of life, not a benchmark.
CamVid: mIoU over its 11 classes, at its resolution. Opencalib: IoU of the road in the bird's-eye view, over
the ground that each camera sees.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from results import save

from internimage_perception.data.image_sets import Picture, camvid_seq, opencalib_surround
from internimage_perception.data.real_truth import ROAD, camvid_classes, camvid_truth, opencalib_road
from internimage_perception.evaluation.confusion import ConfusionMatrix
from internimage_perception.evaluation.segmentation import SegmentationScore
from internimage_perception.geometry import Rig
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.overlay import OverlayPainter
from internimage_perception.inference.results import SemanticMask
from internimage_perception.inference.tasks import SegmentationTask


class Eyes:
    """A model that looks at picture files."""

    def __init__(self, bundle: Bundle, backend: str, pictures: Path | None) -> None:
        self.bundle = bundle
        self._backend = create_backend(backend, bundle)
        self._painter = OverlayPainter(bundle.classes)
        self._pictures = pictures

    def look(self, rig: Rig, picture: Picture) -> SemanticMask:
        """Return the mask of a picture; writes the overlay where pictures are wanted."""
        data = np.fromfile(picture.path, np.uint8)
        frame = Frame(
            picture.camera, picture.camera, picture.stamp_ns, picture.stamp_ns, 0, 0,
            picture.path.suffix[1:], 0, data, compressed=True,
        )  # fmt: skip
        task = SegmentationTask(self.bundle, self._backend, LensMasks(rig))
        result = task.run(FrameSet(0, picture.stamp_ns, {picture.camera: frame}))
        if result.errors:
            raise SystemExit(f"{picture.path}: {result.errors}")
        mask = result.masks[picture.camera]
        if self._pictures is not None:
            painted = self._painter.paint(frame.decode("bgr"), mask.class_ids, "bgr")
            self._pictures.mkdir(parents=True, exist_ok=True)
            name = f"{picture.path.parent.name}_{picture.path.stem}.png"
            cv2.imwrite(str(self._pictures / name), painted)
        return mask


def camvid(eyes: Eyes, folder: Path) -> dict[str, object]:
    """Return mIoU and IoU per class on the labelled frames."""
    images = camvid_seq(folder)
    names = [spec.name for spec in eyes.bundle.classes]
    score = SegmentationScore(names)
    for picture in images.pictures:
        mask = eyes.look(images.rig, picture)
        truth = camvid_truth(picture.path)
        score.add("front", picture.stamp_ns, mask.class_ids, truth, (mask.image_height, mask.image_width))
    matrix = score.matrix()
    return {
        "frames": len(images.pictures),
        "miou11": round(matrix.miou(camvid_classes()), 4),
        "per_class": {names[index]: round(float(matrix.iou()[index]), 4) for index in camvid_classes()},
    }


def opencalib(eyes: Eyes, folder: Path) -> dict[str, object]:
    """Return the road's IoU of every camera with a road mask."""
    found: dict[str, object] = {}
    total = ConfusionMatrix(2)
    for part in ("set1", "set2"):
        images = opencalib_surround(folder / part)
        for picture in images.pictures:
            file = folder / part / f"bev_road_mask_{picture.camera}.png"
            if not file.exists():
                continue
            mask = eyes.look(images.rig, picture)
            truth, answers = opencalib_road(images.rig.cameras[picture.camera], file, mask.class_ids)
            matrix = ConfusionMatrix(2)
            matrix.add(truth, np.where(answers == ROAD, np.uint8(0), np.uint8(1)))
            total += matrix
            found[f"{part}/{picture.camera}"] = round(float(matrix.iou()[0]), 4)
    return {"road_iou": round(float(total.iou()[0]), 4), "per_camera": found}


def main() -> int:
    """Look, score, and write `results/real_sight.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the model bundle")
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder of camvid_seq and fisheye")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--pictures", type=Path, help="write overlays here")
    options = parser.parse_args()
    bundle = Bundle.load(options.model)
    eyes = Eyes(bundle, options.backend, options.pictures)
    save(
        "real_sight",
        {
            "model": bundle.name,
            "bundle": bundle.identity(),
            "camvid": camvid(eyes, options.data / "camvid_seq"),
            "opencalib": opencalib(eyes, options.data / "fisheye" / "opencalib_surround"),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
