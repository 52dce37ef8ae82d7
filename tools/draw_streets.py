"""Draws random pictures of synthetic streets, with labels, into a folder that `train` reads.

    tools/draw_streets.py FOLDER --count 5004 --seed 20261121 [--size 640 480] [--split test] [--tall]

Rendering takes longer than training on a picture: what is trained on more than once is better stored. FOLDER
gets `images/`, `labels/` and `dataset.yaml`. Each street has twelve pictures; the same options give the same
bytes for any number of workers, and what is there is not drawn again.
"""

import argparse
import functools
import time
from pathlib import Path

import cv2
import yaml

from internimage_perception.data.datasets.street import RandomStreets
from internimage_perception.data.processes import results_in_order
from internimage_perception.data.street.seeds import Split
from internimage_perception.files import write_bytes, write_text

PER_STREET = 12


class StreetDrawer:
    """Draws one street's pictures into a folder; a task is the street's seed and how many pictures it has."""

    def __init__(self, out: Path, size: tuple[int, int], split: Split, *, tall: bool) -> None:
        self._out, self._size, self._split, self._tall = out, size, split, tall

    def __call__(self, task: tuple[int, int]) -> int:
        """Draw the street unless its last label file is there; returns how many pictures were drawn."""
        seed, count = task
        files = [f"{seed}/{view:02d}.png" for view in range(count)]
        if (self._out / "labels" / files[-1]).exists():
            return 0
        width, height = self._size
        street = RandomStreets(
            count, seed, width, height, self._split, per_street=PER_STREET, tall=self._tall
        )
        for view, file in enumerate(files):
            sample = street[view]
            assert sample.labels is not None  # noqa: S101 - streets always have labels
            for kind, pixels in (("images", sample.image[..., ::-1]), ("labels", sample.labels)):
                write_bytes(self._out / kind / file, cv2.imencode(".png", pixels)[1].tobytes())
        return count


def main() -> int:
    """Draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the pictures")
    parser.add_argument("--count", type=int, required=True, help="pictures")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), help="columns and rows")
    parser.add_argument("--seed", type=int, default=0, help="of the first street; the next has the next seed")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="kind of streets")
    parser.add_argument("--tall", action="store_true", help="from vans too, up to 2.4 m above the ground")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    tasks = [
        (options.seed + street, min(PER_STREET, options.count - street * PER_STREET))
        for street in range(-(-options.count // PER_STREET))
    ]
    prepare = functools.partial(
        StreetDrawer, options.folder, tuple(options.size), options.split, tall=options.tall
    )
    started, drawn = time.monotonic(), 0
    for done, new in enumerate(results_in_order(prepare, tasks, options.workers, ahead=2), 1):
        drawn += new
        if done % 10 == 0 or done == len(tasks):
            pace = drawn / (time.monotonic() - started)
            print(f"{min(done * PER_STREET, options.count)} of {options.count}, {pace:.2f}/s", flush=True)
    content = {"kind": "folders", "images": "images", "labels": "labels"}
    write_text(options.folder / "dataset.yaml", yaml.safe_dump(content, sort_keys=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
