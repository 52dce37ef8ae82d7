"""`internimage-perception augment`: labelled pictures as other lenses would take them, as a folder."""

import argparse
import sys
import time
from pathlib import Path

from internimage_perception.cli.augment_sheet import write_contact_sheet
from internimage_perception.cli.augment_source import SourceOptions, folders_read, open_source
from internimage_perception.cli.progress import ResumableProgress
from internimage_perception.data.datasets.label_map_file import read_yaml
from internimage_perception.data.distortion.background_files import load_backgrounds
from internimage_perception.data.distortion.config import DistortionConfig
from internimage_perception.data.distortion.job import JobSpec, augment_dataset
from internimage_perception.data.distortion.output import DATASET, SAMPLES
from internimage_perception.data.distortion.presets import PRESETS, config_from_dict
from internimage_perception.errors import ConfigError

SHEET = "contact_sheet.jpg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    source = parser.add_argument_group("pictures")
    source.add_argument("--input", type=Path, metavar="DIR", help="pictures, JPEG or PNG, with subfolders")
    source.add_argument("--labels", type=Path, metavar="DIR", help="label PNGs of the same relative names")
    source.add_argument("--image-ending", default="", metavar="TEXT", help="of pictures' names, left out")
    source.add_argument("--label-ending", default="", metavar="TEXT", help="of label files' names, left out")
    source.add_argument("--label-map", metavar="NAME|FILE", help="what label ids mean (docs/datasets.md)")
    source.add_argument("--raw-labels", action="store_true", help="keep label ids as they are, unchecked")
    source.add_argument("--objects", type=Path, metavar="FILE", help="COCO JSON with objects of the pictures")
    source.add_argument("--regions", type=Path, metavar="DIR", help="why pictures' pixels have no label")
    source.add_argument("--calibration", type=Path, metavar="FILE", help="lens of all the pictures")
    source.add_argument(
        "--dataset",
        type=Path,
        metavar="FILE",
        help="a dataset in YAML (docs/datasets.md) instead of all these",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="new folder, or one to go on in"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML of docs/augmentation.md")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="to begin from (default fisheye)")
    parser.add_argument("--copies", type=int, default=1, help="samples made of each picture (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument(
        "--backgrounds", type=Path, metavar="DIR", help="frames of the target's camera, for what stays empty"
    )
    parser.add_argument("--format", choices=("png", "jpg"), default="png", help="of the pictures")


def run(options: argparse.Namespace) -> int:
    """Augment the pictures, or go on with it, and say where they lie."""
    for name, lowest in (("copies", 1), ("seed", 0), ("workers", 1)):
        if (value := int(getattr(options, name))) < lowest:
            raise ConfigError(f"--{name} is {value}; it must be {lowest} or more")
    source = SourceOptions(
        images=options.input, labels=options.labels, image_ending=options.image_ending,
        label_ending=options.label_ending, label_map=options.label_map, raw_labels=options.raw_labels,
        objects=options.objects, regions=options.regions, calibration=options.calibration,
        dataset=options.dataset,
    )  # fmt: skip
    for name, folder in [*folders_read(source).items(), ("--backgrounds", options.backgrounds)]:
        check_apart(options.out, folder, name)
    config = _config(options.config, options.preset)
    dataset = open_source(source)
    backgrounds = load_backgrounds(options.backgrounds) if options.backgrounds is not None else None
    print(dataset.description, file=sys.stderr)
    spec = JobSpec(config, options.seed, options.copies, f".{options.format}", source.reading())
    progress, start = ResumableProgress("samples"), time.monotonic()
    try:
        result = augment_dataset(
            dataset, options.out, spec, backgrounds=backgrounds, workers=options.workers, on_sample=progress
        )
    finally:
        progress.close()
    for name, reason in result.failed:
        print(f"left out {name}: {reason}", file=sys.stderr)
    write_contact_sheet(options.out / SHEET, options.out, dataset)
    left_out = f", {len(result.failed)} pictures left out" if result.failed else ""
    print(f"{len(result.made)} samples{left_out} ({time.monotonic() - start:.1f} s)")
    print(f"dataset: {options.out / DATASET}")
    print(f"records: {options.out / SAMPLES}")
    print(f"picture: {options.out / SHEET}")
    return 0


def check_apart(out: Path, folder: Path | None, name: str) -> None:
    """Raise ConfigError where one of the output folder and a folder that is read lies in the other."""
    if folder is None:
        return
    target, read = out.resolve(), folder.resolve()
    if target == read or read in target.parents or target in read.parents:
        raise ConfigError(
            f"--out {out} and {name} {folder} lie in each other; nothing is written where pictures are read: "
            "choose another folder"
        )


def _config(file: Path | None, preset: str | None) -> DistortionConfig:
    """Return the configuration of a file and a preset, which must not be two different ones."""
    if file is None:
        return PRESETS[preset or "fisheye"]
    values = read_yaml(file, "a configuration of augmentation")
    named = values.get("preset")
    if preset is not None and named is not None and named != preset:
        raise ConfigError(f"{file} names the preset {named!r}, the command line {preset!r}; give one")
    try:
        return config_from_dict(values, preset or "fisheye")
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
