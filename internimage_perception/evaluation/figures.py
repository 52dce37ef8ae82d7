"""Tables and plots of an evaluation as HTML and SVG; a vehicle computer has no plotting library."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from internimage_perception.inference.bundle import ClassSpec

_LINES = ("#3366cc", "#dc3912", "#109618", "#990099", "#0099c6", "#ff9900", "#dd4477", "#66aa00")
_WIDTH = 860


def percent(value: float | None) -> str:
    """Return a share as a percentage with one digit; a dash for what is not defined."""
    return "-" if value is None else f"{100 * value:.1f}"


def class_bars(classes: Sequence[ClassSpec], ious: Mapping[str, float | None]) -> str:
    """Return an SVG of one bar per class, as long as its IoU, in the class's colour."""
    left, row = 150, 24
    full = _WIDTH - left - 60
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * full
        parts.append(
            f'<line x1="{x:.0f}" y1="14" x2="{x:.0f}" y2="{20 + row * len(classes)}" stroke="#ddd"/>'
        )
        parts.append(f'<text x="{x:.0f}" y="10" text-anchor="middle">{share * 100:.0f}</text>')
    for index, spec in enumerate(classes):
        y = 18 + row * index
        iou = ious[spec.name]
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(spec.name)}</text>')
        parts.append(
            f'<rect x="{left}" y="{y}" width="{(iou or 0.0) * full:.1f}" height="18" '
            f'fill="rgb{spec.color}" stroke="#555" stroke-width=".5"/>'
        )
        x = left + (iou or 0.0) * full + 6
        label = "not in the set" if iou is None else percent(iou)
        parts.append(f'<text x="{x:.1f}" y="{y + 14}">{label}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {24 + row * len(classes)}" role="img">{"".join(parts)}</svg>'


def ring_plot(
    rings: Sequence[str], lines: Mapping[str, Sequence[float | None]], share: Sequence[float]
) -> str:
    """Return an SVG over the rings of viewing angle.

    Args:
        rings: names of the rings, inside out.
        lines: name to one value from 0 to 1 per ring; None leaves a gap.
        share: each ring's share of the pixels, 0 to 1, drawn as grey columns.
    """
    left, top, height = 44, 24, 200
    step = (_WIDTH - left - 10) / len(rings)
    base = top + height
    parts = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = base - value * height
        parts.append(f'<line x1="{left}" y1="{y:.0f}" x2="{_WIDTH}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{value * 100:.0f}</text>')
    for index, (ring, part) in enumerate(zip(rings, share, strict=True)):
        x = left + (index + 0.5) * step
        parts.append(
            f'<rect x="{x - 0.35 * step:.1f}" y="{base - part * height:.1f}" width="{0.7 * step:.1f}" '
            f'height="{part * height:.1f}" fill="#e4e4e4"/>'
        )
        parts.append(f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{escape(ring)}°</text>')
    parts.append(f'<text x="{left}" y="{top - 10}" fill="#888">■ share of the pixels</text>')
    for number, (name, values) in enumerate(lines.items()):
        color = _LINES[number % len(_LINES)]
        points = [
            (left + (index + 0.5) * step, base - value * height) if value is not None else None
            for index, value in enumerate(values)
        ]
        for one, other in pairwise(points):
            if one is not None and other is not None:
                parts.append(
                    f'<line x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}" '
                    f'stroke="{color}" stroke-width="2"/>'
                )
        parts += [
            f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3.5" fill="{color}"/>'
            for point in points
            if point is not None
        ]
        x = left + 150 + 110 * number
        parts.append(f'<text x="{x}" y="{top - 10}" fill="{color}">● {escape(name)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {base + 24}" role="img">{"".join(parts)}</svg>'


def confusion_table(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return an HTML table: of each class's pixels (row), which percentage was called what (column).

    Args:
        names: the classes.
        counts: a row per class; the column behind the last class is "no answer".
    """
    columns = [*names, "no answer"]
    head = "".join(f'<th class="up"><span>{escape(name)}</span>' for name in columns)
    rows = [f"<tr><th>truth ↓ mask →{head}<th>pixels"]
    for name, row in zip(names, counts, strict=True):
        total = sum(row)
        cells = []
        for column, count in zip(columns, row, strict=True):
            share = count / total if total else 0.0
            color = "56,142,60" if column == name else "211,47,47"
            text = f"{100 * share:.1f}" if count else ""
            cells.append(
                f'<td style="background: rgba({color},{share:.3f})" '
                f'title="{escape(name)} called {escape(column)}: {count}">{text}'
            )
        rows.append(f"<tr><td>{escape(name)}{''.join(cells)}<td>{total:,}")
    return f'<table class="confusion">{"".join(rows)}</table>'


def heat_table(corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[float | None]]) -> str:
    """Return an HTML table of shares as percentages, the darker the higher."""
    parts = [f"<tr><th>{escape(corner)}" + "".join(f"<th>{escape(name)}" for name in columns)]
    for name, values in rows.items():
        cells = "".join(
            f'<td style="background: rgba(56,142,60,{0.75 * (value or 0.0):.3f})">{percent(value)}'
            for value in values
        )
        parts.append(f"<tr><td>{escape(name)}{cells}")
    return f"<table>{''.join(parts)}</table>"
