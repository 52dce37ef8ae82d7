"""What a whole submission to DACON's contest costs: masks read, rows written, the file checked.

1,898 masks of 1920x1080 (twenty different ones, of rectangles) make 22,776 rows. Also what `predict` does
beside the network for each picture: read it (PNG, smooth noise), write its masks. Processor time of one core.
Writes `results/submit.json`.
"""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from results import durations, save

from internimage_perception.cli.main import main as internimage_perception
from internimage_perception.cli.predict_folder import PredictionFolder
from internimage_perception.data.datasets.pictures import read_image
from internimage_perception.inference.bundle import Bundle

PICTURES, DIFFERENT = 1898, 20
HEIGHT, WIDTH = 1080, 1920

Ids = npt.NDArray[np.uint8]


def mask(rng: np.random.Generator) -> Ids:
    """Draw class ids in rectangles, a hundred of them, as many pieces as a street has."""
    ids = np.full((HEIGHT, WIDTH), 12, np.uint8)
    for _ in range(100):
        top, left = int(rng.integers(HEIGHT)), int(rng.integers(WIDTH))
        height, width = (int(side) for side in rng.integers(8, 400, 2))
        ids[top : top + height, left : left + width] = rng.integers(13)
    return ids


def smooth_noise(rng: np.random.Generator) -> Ids:
    """Draw a picture that PNG can shrink about as far as a photograph."""
    coarse = rng.integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3), np.uint8)
    smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0.0, 2.0, smooth.shape)
    return np.asarray(np.clip(smooth + grain, 0, 255), np.uint8)


def main() -> int:
    """Measure and save."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        masks = work / "masks"
        masks.mkdir()
        for number in range(PICTURES):
            file = masks / f"TEST_{number:04d}.png"
            if number < DIFFERENT:
                cv2.imwrite(str(file), mask(rng))
            else:
                file.hardlink_to(masks / f"TEST_{number % DIFFERENT:04d}.png")
        names = [f"TEST_{number:04d}" for number in range(PICTURES)]
        rows = "".join(f"{name},./test_image/{name}.png\n" for name in names)
        (work / "test.csv").write_text("id,img_path\n" + rows)
        seconds: dict[str, float] = {}
        for name, words in (
            ("write", ["--predictions", masks, "--out", work / "out.csv"]),
            ("check", ["--check", work / "out.csv"]),
        ):
            start = time.process_time()
            if internimage_perception(["submit", "--list", str(work / "test.csv"), *map(str, words)]):
                return 1
            seconds[name] = round(time.process_time() - start, 2)
        size = (work / "out.csv").stat().st_size
        picture, ids = smooth_noise(rng), mask(rng)
        cv2.imwrite(str(work / "picture.png"), picture)
        classes = Bundle.load("nano").classes
        folder = PredictionFolder(work / "predictions", {}, classes, color=True, confidence=False)
        (taken,) = durations(
            lambda: (read_image(work / "picture.png"), folder.write("picture", ids, ids)),
            20, time.process_time,
        )  # fmt: skip
        folder.release()
    each = round(1e3 * float(np.median(taken)), 1)
    content = {"pictures": PICTURES, "mb": round(size / 1e6), "process_s": seconds, "predict_files_ms": each}
    save("submit", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
