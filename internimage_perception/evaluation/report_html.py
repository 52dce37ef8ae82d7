"""`evaluation.html`: one file with the numbers, the plots and the worst images of an evaluation."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import cast

from internimage_perception.evaluation.figures import (
    class_bars,
    confusion_table,
    heat_table,
    percent,
    ring_plot,
)
from internimage_perception.evaluation.rings import RINGS
from internimage_perception.inference.bundle import ClassSpec

_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Evaluation: $model</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
body { color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; font-weight: normal }
th { color: #555 } td:first-child, th:first-child { text-align: left }
.confusion td, .confusion th { padding: .15rem .35rem; font-size: .85rem }
.up { vertical-align: bottom } .up span { writing-mode: vertical-rl; transform: rotate(180deg) }
svg { width: 100%; max-width: 60rem; font: 12px system-ui, sans-serif }
figure { margin: 1rem 0 } figure img { max-width: 100% } figcaption { font-size: .85rem; color: #555 }
.score { display: inline-block; margin-right: 2.5rem } .score b { display: block; font-size: 1.9rem }
.swatch { display: inline-block; width: 1em; height: 1em; vertical-align: -.1em }
.class { margin-right: 1rem; white-space: nowrap }
.warn { background: #fff4d6; padding: .5rem 1rem; border-radius: .3rem }
.failed { background: #fde0e0 } .passed { background: #e2f3e3 }
</style>
<h1>Evaluation of $model on $bags</h1>
<p>$scores</p>
<p>$frames of $masks masks scored, $pixels pixels; bundle $bundle on $backend. Percent, unless said otherwise.
One confusion matrix over the set; a class in neither truth nor masks is left out of the means.</p>
$warnings
$gate
<h2>Intersection over union per class</h2>$bars
<h2>Rings of viewing angle, degrees off the optical axis</h2>$rings
<div class="wide">$ring_table</div>
<h2>Cameras</h2><div class="wide">$cameras</div>
<h2>Confusion matrix</h2>
<p>What the pixels of each class were called, in percent of the class's pixels.</p>
<div class="wide">$confusion</div>
<h2>Worst images</h2>
<p>Image, truth, mask; lowest mIoU of a single image first. Black: not labelled, or outside the lens.</p>
<p>$classes</p>
$pictures
</html>
""")

Table = Mapping[str, object]


def render(
    report: Mapping[str, object], classes: Sequence[ClassSpec], pictures: Sequence[tuple[str, bytes]]
) -> str:
    """Return the page.

    Args:
        report: as docs/evaluation.md describes it.
        classes: names and colours, in the order of their ids.
        pictures: (caption, JPEG) of the worst images.
    """
    frames, pixels = _table(report["frames"]), _table(report["pixels"])
    per_class = cast("Mapping[str, float | None]", report["per_class"])
    names = [spec.name for spec in classes]
    return _PAGE.substitute(
        model=escape(str(report["model"])),
        bundle=escape(str(report["bundle"])),
        backend=escape(str(report["backend"])),
        bags=escape(", ".join(Path(str(path)).name for path in _list(report["bags"]))),
        scores=_scores(report),
        frames=frames["scored"],
        masks=frames["masks"],
        pixels=f"{pixels['scored']:,}",
        warnings="".join(f'<p class="warn">{escape(str(line))}</p>' for line in _list(report["warnings"])),
        gate=_gate(report["gate"]),
        bars=class_bars(classes, per_class),
        rings=_rings(report),
        ring_table=_ring_table(report, names),
        cameras=_cameras(report, names),
        confusion=confusion_table(names, cast("list[list[int]]", report["confusion"])),
        classes=" ".join(
            f'<span class="class"><span class="swatch" style="background: rgb{spec.color}"></span> '
            f"{escape(spec.name)}</span>"
            for spec in classes
        ),
        pictures="".join(_figure(caption, data) for caption, data in pictures)
        or "<p>None were asked for.</p>",
    )


def _table(value: object) -> Table:
    return cast("Table", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _share(score: Table, key: str) -> float | None:
    value = score.get(key)
    return float(value) if isinstance(value, (int, float)) else None


def _means(report: Table) -> dict[str, str]:
    """Return the means that this set of classes has: key to name."""
    if report["miou13"] is not None or report["miou12"] is not None:
        return {"miou13": "mIoU13", "miou12": "mIoU12"}
    return {"miou": "mIoU"}


def _scores(report: Table) -> str:
    names = {**_means(report), "accuracy": "pixel accuracy"}
    return "".join(
        f'<span class="score"><b>{percent(_share(report, key))}</b>{name}</span>'
        for key, name in names.items()
    )


def _gate(gate: object) -> str:
    if not isinstance(gate, Mapping):
        return ""
    state = "passed" if gate["passed"] else "failed"
    rows = ["<table><tr><th>value<th>found<th>wanted"]
    for item in map(_table, _list(gate["checks"])):
        found = "not measured" if item["value"] is None else f"{item['value']:.4g}"
        wanted = f"≤ {item['at_most']:g}" if "at_most" in item else f"≥ {item['at_least']:g}"
        kind = "passed" if item["passed"] else "failed"
        rows.append(f'<tr class="{kind}"><td>{escape(str(item["name"]))}<td>{found}<td>{wanted}')
    title = f"<h2>Gate {escape(Path(str(gate['file'])).name)}: {state}</h2>"
    return f"{title}{''.join(rows)}</table>"


def _rings(report: Table) -> str:
    rings = [_table(_table(report["per_ring"])[name]) for name in RINGS]
    counts = [int(str(ring["scored_pixels"])) for ring in rings]
    if not any(counts):
        return "<p>No lens is known: give a rig file, or record CameraInfo.</p>"
    lines = {name: [_share(ring, key) for ring in rings] for key, name in _means(report).items()}
    return ring_plot(RINGS, lines, [count / sum(counts) for count in counts])


def _ring_table(report: Table, names: Sequence[str]) -> str:
    rings = [_table(_table(report["per_ring"])[name]) for name in RINGS]
    rows = {title: [_share(ring, key) for ring in rings] for key, title in _means(report).items()}
    rows |= {name: [_share(_table(ring["per_class"]), name) for ring in rings] for name in names}
    return heat_table("IoU", [f"{name}°" for name in RINGS], rows)


def _cameras(report: Table, names: Sequence[str]) -> str:
    cameras = {name: _table(item) for name, item in _table(report["per_camera"]).items()}
    means = _means(report)
    rows = {
        name: [_share(item, key) for key in means] + [_share(_table(item["per_class"]), key) for key in names]
        for name, item in cameras.items()
    }
    sizes = []
    for name, item in cameras.items():
        kinds = {kind: ", ".join(map(str, _list(size))) for kind, size in _table(item["resolutions"]).items()}
        sizes.append(
            f"<tr><td>{escape(name)}<td>{item['frames']}<td>{kinds['image']}<td>{kinds['mask']}<td>{kinds['truth']}"
        )
    head = "<tr><th>camera<th>images scored<th>image size<th>mask size<th>truth size (scored at)"
    return heat_table("IoU", [*means.values(), *names], rows) + f"<br><table>{head}{''.join(sizes)}</table>"


def _figure(caption: str, jpeg: bytes) -> str:
    data = base64.b64encode(jpeg).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
