"""Figures of the experiment: scores by ring, gains by class, predictions side by side."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml
from arms import ARMS, run_folder
from scoring import answer, load_network, open_lenses, scored_labels

from internimage_perception.evaluation.figures import ring_plot
from internimage_perception.evaluation.rings import ring_map
from internimage_perception.resources import share_path

Bytes = npt.NDArray[np.uint8]
Runs = Mapping[str, Mapping[str, Any]]

_WIDTH = 860
_PAIR_COLOURS = ("#3366cc", "#ff9900", "#109618", "#999999", "#990099")
_ROW, _BAR = 63, 10
_HEADING = 22


def standing(svg: str) -> str:
    """Return an SVG for a page as a file of its own."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11" '
    return svg.replace("<svg ", head, 1) + "\n"


def mean_of(runs: Mapping[str, Any], kind: str, name: str) -> float | None:
    """Return the mean of a score over an arm's runs."""
    values = [run[kind][name] for run in runs.values() if run[kind][name] is not None]
    return statistics.fmean(values) if values else None


def ring_lines(arms: Runs) -> str:
    """Return the plot of mIoU12 over the rings of viewing angle, a line per arm."""
    first = next(iter(next(iter(arms.values())).values()))
    lines = {
        f"({key}) {ARMS[key].title}": [mean_of(runs, "rings", ring) for ring in first["rings"]]
        for key, runs in arms.items()
    }
    return standing(ring_plot(list(first["rings"]), lines, list(first["ring_share"].values())))


def class_gains(arms: Runs, pairs: Sequence[tuple[str, str]]) -> str:
    """Return bars per class: by how many points of IoU one arm is better than another."""
    first = next(iter(next(iter(arms.values())).values()))
    gains: dict[str, list[float]] = {}
    for name in first["classes"]:
        means = {key: mean_of(runs, "classes", name) or 0.0 for key, runs in arms.items()}
        gains[name] = [100.0 * (means[one] - means[other]) for one, other in pairs]
    values = [value for found in gains.values() for value in found]
    low, high = min([0.0, *values]), max([1.0, *values])
    left = 120
    scale = (_WIDTH - left - 50) / (high - low)
    zero = left - low * scale
    parts = [
        f'<text x="{left + 145 * index}" y="12" fill="{_PAIR_COLOURS[index]}">'
        f"■ ({one}) - ({other}), points</text>"
        for index, (one, other) in enumerate(pairs)
    ]
    for row, (name, found) in enumerate(gains.items()):
        y = 24 + _ROW * row
        parts.append(f'<text x="4" y="{y + 20}">{escape(name.replace("_", " "))}</text>')
        for index, value in enumerate(found):
            x, end = sorted((zero, zero + value * scale))
            top = y + index * (_BAR + 1)
            parts.append(
                f'<rect x="{x:.1f}" y="{top}" width="{end - x:.1f}" height="{_BAR}" '
                f'fill="{_PAIR_COLOURS[index]}"/>'
                f'<text x="{end + 4:.1f}" y="{top + 9}" font-size="9">{value:+.1f}</text>'
            )
    height = 24 + _ROW * len(gains)
    parts.append(f'<line x1="{zero:.1f}" y1="20" x2="{zero:.1f}" y2="{height}" stroke="#888"/>')
    return standing(f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(parts)}</svg>')


def palette() -> Bytes:
    """Return the colour of each id, uint8 (256, 3) RGB; black for what is no class."""
    colours = np.zeros((256, 3), np.uint8)
    content = yaml.safe_load(share_path("config/classes.yaml").read_text(encoding="utf-8"))
    for item in content["classes"]:
        colours[item["id"]] = item["color"]
    return colours


def predictions(work: Path, arms: Sequence[str], per_lens: int = 2) -> bytes:
    """Return a JPEG of test frames, their truth, and what the first run of each arm makes of them.

    Answers are shown where the truth is scored.
    """
    model = yaml.safe_load((Path(__file__).parent / "base.yaml").read_text(encoding="utf-8"))["model"]
    weights = [run_folder(work, arm, 1) / "weights.safetensors" for arm in arms]
    networks = [load_network(model, path) for path in weights]
    colours = palette()
    rows = [_headings(["frame", "truth", *(f"({arm}) {ARMS[arm].title}" for arm in arms)])]
    for dataset in open_lenses(work / "test").values():
        for index in np.linspace(0, len(dataset) - 1, per_lens + 2).astype(int)[1:-1]:
            sample = dataset[int(index)]
            assert sample.labels is not None and sample.camera is not None  # noqa: S101, PT018 - so it was drawn
            height, width = sample.labels.shape
            truth = scored_labels(sample.labels, ring_map(sample.camera, width, height))
            shown = [np.where(truth == 255, truth, answer(network, sample.image)) for network in networks]
            rows.append(np.concatenate([sample.image, *(colours[ids] for ids in (truth, *shown))], axis=1))
    sheet = np.ascontiguousarray(np.concatenate(rows)[..., ::-1])
    return cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def _headings(titles: Sequence[str], width: int = 256) -> Bytes:
    strip = np.full((_HEADING, width * len(titles), 3), 255, np.uint8)
    for index, title in enumerate(titles):
        place = (width * index + 6, _HEADING - 6)
        cv2.putText(strip, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
