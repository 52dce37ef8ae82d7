"""`report.html`: one file with the numbers, the plots and some pictures of a replay."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from internimage_perception.bags.plots import bar_plot, line_plot
from internimage_perception.bags.reader import open_bags
from internimage_perception.errors import BagError
from internimage_perception.inference.bundle import Bundle

_PICTURES_PER_CAMERA = 3
_OVERLAY = "/overlay/compressed"

_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Replay: $model</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
body { color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse }
td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } svg { width: 100%; font: 12px system-ui, sans-serif }
figure { display: inline-block; margin: .4rem; width: 18rem; vertical-align: top } figure img { width: 100% }
figcaption { font-size: .8rem; color: #555 }
.swatch { display: inline-block; width: 1em; height: 1em; vertical-align: -.1em }
.class { margin-right: 1rem; white-space: nowrap }
.warn { background: #fff4d6; padding: .5rem 1rem; border-radius: .3rem }
</style>
<h1>Replay of $bags</h1>
<p>$state Model <b>$model</b> on <b>$backend</b>: $frames_out masks from $frames_in images in $sets sets;
$rate images/s in $wall_s s on $machine.</p>
$warnings
<h2>Cameras</h2>$cameras
$bars
<h2>Time per set, milliseconds</h2>$stages
$lines
<h2>Classes</h2><p>$classes</p>
<h2>Pictures</h2>
<p>The camera's image with the classes painted over it; darkened where the lens sees nothing.</p>
$pictures
</html>
""")


def render(
    report: Mapping[str, object], series: Mapping[str, Sequence[float]], folder: Path, bundle: Bundle
) -> str:
    """Return the page.

    Args:
        report: as `build_report` makes it.
        series: milliseconds per set, by stage.
        folder: the bag the replay wrote, for pictures.
        bundle: class names and colours.
    """
    cameras = _table(report["cameras"])
    stages = _table(report["stages_ms"])
    machine = _table(report["machine"])
    throughput = _table(report["throughput"])
    complete = bool(report.get("complete"))
    return _PAGE.substitute(
        state="" if complete else "<b>Interrupted: what follows covers the finished part.</b> ",
        model=escape(str(report.get("model"))),
        backend=escape(str(report.get("backend"))),
        bags=escape(", ".join(Path(str(path)).name for path in _list(report.get("bags")))),
        frames_in=report["frames_in"],
        frames_out=report["frames_out"],
        sets=report["sets"],
        rate=throughput.get("images_per_s"),
        wall_s=report.get("wall_s"),
        machine=escape(f"{machine.get('processor')}, {machine.get('cores')} cores"),
        warnings=_warnings(report),
        cameras=_cameras(cameras),
        bars=bar_plot("images", {name: _bars(item) for name, item in cameras.items()}),
        stages=_stages(stages),
        lines=line_plot("time per set", series, "set", "ms"),
        classes=_classes(bundle),
        pictures=_pictures(folder) or "<p>No overlays were written.</p>",
    )


def _table(value: object) -> dict[str, object]:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _warnings(report: Mapping[str, object]) -> str:
    lines = [str(line) for line in _list(report.get("warnings"))]
    lines += [f"{line} ({count} times)" for line, count in _table(report.get("errors")).items()]
    return "".join(f'<p class="warn">{escape(line)}</p>' for line in lines)


def _bars(item: object) -> dict[str, float]:
    fields = _table(item)
    dropped = sum(int(str(count)) for count in _table(fields.get("dropped")).values())
    return {"masks out": float(str(fields["frames_out"])), "dropped": float(dropped)}


def _cameras(cameras: Mapping[str, object]) -> str:
    rows = ["<tr><th>camera<th>topic<th>in<th>out<th>dropped<th>missing in sets"]
    for name, item in cameras.items():
        fields = _table(item)
        reasons = ", ".join(f"{count} {why}" for why, count in _table(fields["dropped"]).items() if count)
        cells = (name, fields["topic"], fields["frames_in"], fields["frames_out"], reasons or 0)
        rows.append(
            "<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in (*cells, fields["missing_in_sets"]))
        )
    return f"<table>{''.join(rows)}</table>"


def _stages(stages: Mapping[str, object]) -> str:
    columns = ("p50", "p95", "p99", "mean", "max")
    rows = ["<tr><th>stage" + "".join(f"<th>{column}" for column in columns)]
    for name, values in stages.items():
        numbers = _table(values)
        cells = "".join(f"<td>{float(str(numbers[column])):.2f}" for column in columns)
        rows.append(f"<tr><td>{escape(name)}{cells}")
    return f"<table>{''.join(rows)}</table>"


def _classes(bundle: Bundle) -> str:
    return " ".join(
        f'<span class="class"><span class="swatch" style="background: rgb{spec.color}"></span> '
        f"{spec.id} {escape(spec.name)}</span>"
        for spec in bundle.classes
    )


def _pictures(folder: Path) -> str:
    """Return evenly spread overlays of every camera."""
    figures: list[str] = []
    try:
        opened = open_bags(folder)
    except BagError:
        return ""
    with opened as reader:
        topics = {name: info for name, info in reader.topics.items() if name.endswith(_OVERLAY)}
        for topic, info in topics.items():
            wanted = {
                round(k * (info.count - 1) / max(1, _PICTURES_PER_CAMERA - 1))
                for k in range(_PICTURES_PER_CAMERA)
            }
            for number, item in enumerate(reader.messages([topic])):
                if number in wanted:
                    camera = topic.removesuffix(_OVERLAY).rsplit("/", 1)[-1]
                    figures.append(_figure(camera, item.message))
                if number >= max(wanted):
                    break
    return "".join(figures)


def _figure(camera: str, message: object) -> str:
    stamp = message.header.stamp  # type: ignore[attr-defined]
    data = base64.b64encode(message.data.tobytes()).decode()  # type: ignore[attr-defined]
    return (
        f'<figure><img alt="{escape(camera)}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{escape(camera)}, {stamp.sec}.{stamp.nanosec:09d}</figcaption></figure>"
    )
