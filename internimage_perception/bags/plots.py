"""Small SVG plots for reports; a vehicle computer has no plotting library."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

_COLORS = ("#3366cc", "#dc3912", "#ff9900", "#109618", "#990099", "#0099c6", "#dd4477", "#66aa00")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 860, 240, 56, 30, 26


def line_plot(title: str, series: Mapping[str, Sequence[float]], x_label: str, y_label: str) -> str:
    """Return an SVG of one line per series over the running number of their values.

    Series longer than the plot has columns are drawn as the maximum per column, so that no peak is lost.
    """
    count = max((len(values) for values in series.values()), default=0)
    top = max((max(values, default=0.0) for values in series.values()), default=0.0) or 1.0
    parts = [_frame(title, x_label, y_label, top, count)]
    for index, (name, values) in enumerate(series.items()):
        color = _COLORS[index % len(_COLORS)]
        thinned = _thin(np.asarray(values, np.float64), _WIDTH - _LEFT)
        if thinned.size == 0:
            continue
        x = _LEFT + np.linspace(0, _WIDTH - _LEFT - 8, thinned.size) if thinned.size > 1 else [_LEFT + 4.0]
        y = _HEIGHT - _BOTTOM - thinned / top * (_HEIGHT - _BOTTOM - _TOP)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        if thinned.size == 1:
            parts.append(f'<circle cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="3" fill="{color}"/>')
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.4" points="{points}"/>')
        parts.append(
            f'<text x="{_LEFT + 8 + 110 * index}" y="{_TOP - 8}" fill="{color}">{escape(name)}</text>'
        )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


def bar_plot(title: str, bars: Mapping[str, Mapping[str, float]]) -> str:
    """Return an SVG of stacked horizontal bars: bar name to the size of each part."""
    parts_names = list(dict.fromkeys(name for parts in bars.values() for name in parts))
    total = max((sum(parts.values()) for parts in bars.values()), default=0.0) or 1.0
    height = 34 + 26 * len(bars)
    drawn = [f'<text x="0" y="14" font-weight="bold">{escape(title)}</text>']
    for index, name in enumerate(parts_names):
        color = _COLORS[index % len(_COLORS)]
        drawn.append(f'<text x="{220 + 130 * index}" y="14" fill="{color}">{escape(name)}</text>')
    for row, (name, parts) in enumerate(bars.items()):
        y = 24 + 26 * row
        drawn.append(f'<text x="0" y="{y + 14}">{escape(name)}</text>')
        x = 140.0
        for index, part in enumerate(parts_names):
            width = parts.get(part, 0.0) / total * (_WIDTH - 220)
            color = _COLORS[index % len(_COLORS)]
            drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18" fill="{color}"/>')
            x += width
        label = " / ".join(f"{parts.get(part, 0):g}" for part in parts_names)
        drawn.append(f'<text x="{x + 6:.1f}" y="{y + 14}">{label}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(drawn)}</svg>'


def _thin(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], columns: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if values.size <= columns:
        return values
    return np.array([chunk.max() for chunk in np.array_split(values, columns)])


def _frame(title: str, x_label: str, y_label: str, top: float, count: int) -> str:
    base = _HEIGHT - _BOTTOM
    lines = [
        f'<text x="{_WIDTH - 8}" y="14" text-anchor="end" font-weight="bold">{escape(title)}</text>',
        f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH}" y2="{base}" stroke="#888"/>',
        f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{base}" stroke="#888"/>',
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">{escape(x_label)} (0 to {count})</text>',
        f'<text x="2" y="{_TOP - 8}">{escape(y_label)}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = base - share * (base - _TOP)
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{top * share:.3g}</text>')
        lines.append(f'<line x1="{_LEFT}" y1="{y:.0f}" x2="{_WIDTH}" y2="{y:.0f}" stroke="#eee"/>')
    return "".join(lines)
