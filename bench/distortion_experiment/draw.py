"""Draw the experiment's pictures from the procedural street.

    bench/distortion_experiment/draw.py [--work FOLDER] [--sets source=600 dev=120] [--workers 2]

FOLDER then holds sets that `open_dataset("FOLDER/SET/dataset.yaml")` reads: `source` (pinholes, labelled),
`target` (fisheyes, without labels), `test/LENS` and `dev/LENS` (fisheyes of other models, labelled); and
`backgrounds`, some frames of the target with masks. The same options give the same bytes for any number of
workers; what is there is not drawn again.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from internimage_perception.data.datasets.pictures import regions_picture
from internimage_perception.data.distortion import DistortionConfig
from internimage_perception.data.distortion.draw import draw_lens
from internimage_perception.data.processes import results_in_order
from internimage_perception.data.sample import Regions
from internimage_perception.data.street.appearance import draw_appearance
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import Material
from internimage_perception.data.street.render import RenderedFrame, render
from internimage_perception.data.street.samples import draw_ego, draw_mounting
from internimage_perception.data.street.seeds import Split, stream
from internimage_perception.data.street.street import Moment, Street, moment_of
from internimage_perception.data.street.vehicles import EgoShape, ego_body
from internimage_perception.files import write_bytes, write_text
from internimage_perception.geometry import CameraModel, PinholeCamera, camera_from_dict
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL, pose, rpy_to_matrix

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

HERE = Path(__file__).resolve().parent
WORK = Path("/var/tmp/distortion_experiment")  # noqa: S108  # for gigabytes that outlive a restart
TARGET_LENSES = DistortionConfig(
    models=("woodscape", "eucm"), edge_deg=(75.0, 100.0), field_of_view_deg=(170.0, 200.0)
)
"""What the unlabelled frames of the target's domain are taken through."""

_PURPOSE = 31
_VIEWS_PER_STREET = 12
_LAPSE_S = (0.8, 6.0)
_HIDDEN = 0.33
_BACKGROUND_STREETS = 5


@dataclass(frozen=True)
class SetSpec:
    """A set of pictures.

    Attributes:
        count: pictures, over all lenses.
        first_seed: of its streets.
        split: of the streets.
        size: columns and rows.
        views: of a moment, before time, light and the own car's body change.
        lenses: "pinhole", "target", or the block of `lenses.yaml`, each of its lenses in turn.
        labelled: whether labels are stored.
        ahead: whether all cameras look ahead from the windscreen, instead of sitting all around the car.
    """

    count: int
    first_seed: int
    split: Split
    size: tuple[int, int]
    views: int
    lenses: str
    labelled: bool = True
    ahead: bool = False


SETS: Mapping[str, SetSpec] = {
    "source": SetSpec(3000, 310_000_000, "train", (512, 384), 4, "pinhole"),
    "source_ahead": SetSpec(2400, 310_000_000, "train", (512, 384), 1, "pinhole", ahead=True),
    "target": SetSpec(1500, 320_000_000, "train", (256, 192), 4, "target", labelled=False),
    "oracle": SetSpec(1500, 350_000_000, "train", (256, 192), 4, "target"),
    "test": SetSpec(360, 330_000_000, "test", (256, 192), 3, "test"),
    "dev": SetSpec(120, 340_000_000, "test", (256, 192), 3, "dev"),
}


@dataclass(frozen=True)
class View:
    """A picture: where it is stored, and all it is made of."""

    folder: str
    number: int
    camera: CameraModel
    mounting: Floats
    ego: EgoShape
    frame: RenderedFrame

    def regions(self) -> Regions:
        """Return what of the picture lies outside the lens or shows the own car, exactly."""
        outside: npt.NDArray[np.bool_] = ~self.camera.valid_mask()
        ego = ego_mask(self.camera, self.mounting, self.ego) & ~outside
        return Regions(outside, ego, np.zeros_like(ego))


def scored_lenses(block: str) -> dict[str, CameraModel]:
    """Return the lenses of "test" or "dev" by name."""
    content = yaml.safe_load((HERE / "lenses.yaml").read_text(encoding="utf-8"))
    return {name: camera_from_dict(values) for name, values in content[block].items()}


def draw_pinhole(rng: Rng, width: int, height: int) -> PinholeCamera:
    """Draw a plain camera: 50 to 80 degrees wide, without distortion, its centre off by a hundredth."""
    focal = width / 2 / np.tan(np.radians(rng.uniform(50.0, 80.0)) / 2)
    cx, cy = rng.normal(((width - 1) / 2, (height - 1) / 2), (0.01 * width, 0.01 * height))
    return PinholeCamera(width=width, height=height, fx=focal, fy=focal, cx=float(cx), cy=float(cy))


def draw_view(spec: SetSpec, place: int, rng: Rng) -> tuple[str, int, CameraModel]:
    """Return folder, number and lens of the picture at a place of its set."""
    if spec.lenses == "pinhole":
        return "", place, draw_pinhole(rng, *spec.size)
    if spec.lenses == "target":
        return "", place, draw_lens(TARGET_LENSES, *spec.size, rng)
    lenses = scored_lenses(spec.lenses)
    number, which = divmod(place, len(lenses))
    name = list(lenses)[which]
    return name, number, lenses[name]


def ego_mask(camera: CameraModel, mounting: Floats, ego: EgoShape) -> npt.NDArray[np.bool_]:
    """Return which pixels show the own car's body, exactly."""
    paint = Material(color=(0.5, 0.5, 0.5))
    body = moment_of([(piece, 0) for piece in ego_body(ego, paint, paint)])
    return np.asarray(render(body, camera, mounting, samples=1).class_ids == StreetClass.BACKGROUND, np.bool_)


class StreetDrawer:
    """Draws all pictures of one street of a set; tasks are names of sets and numbers of streets."""

    def __init__(self, work: Path, counts: Mapping[str, int]) -> None:
        self._work, self._counts = work, counts

    def __call__(self, task: tuple[str, int]) -> int:
        """Draw what is missing and return how many pictures that were."""
        name, street = task
        spec = dataclasses.replace(SETS[name], count=self._counts[name])
        places = range(street * _VIEWS_PER_STREET, min(spec.count, (street + 1) * _VIEWS_PER_STREET))
        rng = stream(spec.split, spec.first_seed + street, _PURPOSE)
        root = self._work / name
        # The lenses are not known before they are drawn: the last file of a street says that it is there.
        marker = root / ".drawn" / f"{street:05d}_{len(places)}"
        if marker.exists():
            return 0
        for view in self._views(spec, street, places, rng):
            self._store(root / view.folder, view, labelled=spec.labelled)
            if name == "target" and street % _BACKGROUND_STREETS == 0 and view.number == places[0]:
                self._copy_as_background(root, view)
        write_text(marker, "")
        return len(places)

    def _views(self, spec: SetSpec, street: int, places: range, rng: Rng) -> Iterator[View]:
        scene = Street.generate(spec.first_seed + street, split=spec.split)
        time_s = float(rng.uniform(0.0, 20.0))
        moment: Moment | None = None
        for index, place in enumerate(places):
            if moment is None or index % spec.views == 0:
                time_s += float(rng.uniform(*_LAPSE_S))
                ego = draw_ego(rng)
                moment = scene.at(time_s, ego=ego, appearance=draw_appearance(rng))
            folder, number, camera = draw_view(spec, place, rng)
            mounting = _behind_windscreen(rng, ego) if spec.ahead else _open_mounting(rng, ego, camera)
            frame = render(
                _through_another_camera(moment, rng), camera, mounting, samples=4, adaptive=True, rng=rng
            )
            yield View(folder, number, camera, mounting, ego, frame)

    def _store(self, folder: Path, view: View, *, labelled: bool) -> None:
        name = f"{view.number:05d}"
        lens = yaml.safe_dump(view.camera.to_dict(), sort_keys=False, default_flow_style=None)
        write_text(folder / "cameras" / f"{name}.yaml", lens)
        if labelled:
            write_bytes(folder / "labels" / f"{name}.png", _png(view.frame.class_ids))
        else:
            # What a user knows of a camera without labelling its pictures: the lens, and the own car's body.
            write_bytes(folder / "regions" / f"{name}.png", _png(regions_picture(view.regions())))
        write_bytes(folder / "images" / f"{name}.png", _png(view.frame.image[..., ::-1]))

    def _copy_as_background(self, root: Path, view: View) -> None:
        name, folder = f"{view.number:05d}", self._work / "backgrounds"
        for kind, ending in (("regions", "_regions"), ("images", "")):
            write_bytes(folder / f"{name}{ending}.png", (root / kind / f"{name}.png").read_bytes())


def _behind_windscreen(rng: Rng, ego: EgoShape) -> Floats:
    """Draw a mounting as public pinhole datasets have it: at the windscreen, looking ahead, nearly level."""
    place = (ego.front - 1.25, rng.uniform(-0.2, 0.2), rng.uniform(ego.roof - 0.25, ego.roof))
    roll, pitch, yaw = np.radians(rng.normal((0.0, 3.0, 0.0), (0.7, 1.5, 1.0)))
    return pose(place, rpy_to_matrix(float(roll), float(pitch), float(yaw))) @ BODY_FROM_OPTICAL


def _open_mounting(rng: Rng, ego: EgoShape, camera: CameraModel) -> Floats:
    """Draw a mounting with a view: the horizon well inside, at most a third hidden by the own car's body."""
    small = camera.resized(camera.width // 8, camera.height // 8)
    # The direction of the upper border's middle; upwards is against the optical frame's y.
    top = camera.unproject(np.array([camera.cx, 0.1 * camera.height]))[0]
    while True:
        mounting = draw_mounting(rng, ego)
        if (mounting[:3, :3] @ top)[2] > 0.0 and ego_mask(small, mounting, ego).mean() < _HIDDEN:
            return mounting


def _through_another_camera(moment: Moment, rng: Rng) -> Moment:
    """Return the moment as another camera of the car sees it: with its own exposure, blur and noise."""
    look, light = draw_appearance(rng), moment.appearance
    return moment.seen_by(
        dataclasses.replace(
            light,
            gain=light.gain * np.float32(rng.uniform(0.85, 1.2)),
            gamma=look.gamma, vignette=look.vignette, blur_px=look.blur_px, noise=look.noise,
            quality=look.quality,
        )
    )  # fmt: skip


def _png(picture: Bytes) -> bytes:
    good, data = cv2.imencode(".png", np.ascontiguousarray(picture))
    if not good:
        raise RuntimeError
    return data.tobytes()


def describe(work: Path, name: str) -> None:
    """Write the files by which `open_dataset` reads a set."""
    spec = SETS[name]
    content: dict[str, object] = {"kind": "folders", "images": "images", "cameras": "cameras"}
    kind = "labels" if spec.labelled else "regions"
    content[kind] = kind
    lenses = list(scored_lenses(spec.lenses)) if spec.lenses in {"test", "dev"} else [""]
    for lens in lenses:
        write_text(work / name / lens / "dataset.yaml", yaml.safe_dump(content, sort_keys=False))


def draw(work: Path, counts: Mapping[str, int], workers: int) -> None:
    """Draw the sets, each up to its count of pictures."""
    for name, count in counts.items():
        streets = range(-(-count // _VIEWS_PER_STREET))
        prepare: Callable[[], StreetDrawer] = functools.partial(StreetDrawer, work, dict(counts))
        started, drawn = time.monotonic(), 0
        tasks = [(name, street) for street in streets]
        for done, new in enumerate(results_in_order(prepare, tasks, workers, ahead=2), 1):
            drawn += new
            if new and (done % 10 == 0 or done == len(tasks)):
                rate = drawn / (time.monotonic() - started)
                print(
                    f"{name}: {min(count, done * _VIEWS_PER_STREET)} of {count}, {rate:.2f} pictures/s",
                    flush=True,
                )
        describe(work, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the pictures; default {WORK}")
    parser.add_argument(
        "--sets",
        nargs="*",
        metavar="SET[=COUNT]",
        default=[name for name in SETS if name != "source_ahead"],
        help="what to draw",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args(arguments)
    counts: dict[str, int] = {}
    for wanted in options.sets:
        name, _, count = wanted.partition("=")
        if name not in SETS:
            parser.error(f"no set is called {name!r}; there are {', '.join(SETS)}")
        counts[name] = int(count) if count else SETS[name].count
    cv2.setNumThreads(1)
    draw(options.work, counts, options.workers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
