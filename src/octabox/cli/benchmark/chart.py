"""Draw the measurements of a model as an SVG image."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from octabox.cli.benchmark.measuring import ModeResult

#: Size of the image, and the margins of the chart in it: left, top, right and bottom.
WIDTH, HEIGHT, MARGINS = 720, 400, (64, 56, 200, 48)

#: Colors of the lines, which differ for people who are color-blind, too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

#: Number of horizontal lines.
GRID_LINES = 5


def draw_chart(title: str, subtitle: str, batches: Sequence[int], results: Sequence[ModeResult]) -> str:
    """Return an SVG image with a line for each memory mode: iterations per second by batch size.

    Args:
        title: What was measured.
        subtitle: How it was measured.
        batches: The batch sizes, in their order.
        results: The measurements.
    """
    left, top, right, bottom = MARGINS
    values = [each.iterations_per_second or 0 for result in results for each in result.batches]
    highest = _round_up(max(values, default=0))
    columns = {
        batch: left + (WIDTH - left - right) * index / max(len(batches) - 1, 1) for index, batch in enumerate(batches)
    }
    base = HEIGHT - bottom

    def row(value: float) -> float:
        return base - (base - top) * value / highest

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{left}" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="{left}" y="42" fill="#555555">{escape(subtitle)}</text>',
    ]
    for index in range(GRID_LINES + 1):
        value = highest * index / GRID_LINES
        parts.append(f'<path d="M{left} {row(value):.1f}H{WIDTH - right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 8}" y="{row(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for batch, column in columns.items():
        parts.append(f'<text x="{column:.1f}" y="{base + 20}" text-anchor="middle">{batch}</text>')
    middle = (left + WIDTH - right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">batch size</text>')
    parts.append(f'<text transform="translate(16 {(top + base) / 2}) rotate(-90)" text-anchor="middle">it/s</text>')
    for index, result in enumerate(results):
        color = COLORS[index % len(COLORS)]
        points = [
            (columns[each.batch], row(each.iterations_per_second))
            for each in result.batches
            if each.iterations_per_second is not None
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in points]
        parts += _legend(result, index, color)
    return "\n".join([*parts, "</svg>", ""])


def _legend(result: ModeResult, index: int, color: str) -> list[str]:
    """Return the name and the memory of a mode."""
    x, y = WIDTH - MARGINS[2] + 20, MARGINS[1] + 12 + 44 * index
    memory = ", ".join(f"{place} {size / 2**30:.2f} GiB" for place, size in result.memory.items())
    return [
        f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{color}"/>',
        f'<text x="{x + 16}" y="{y}">{escape(result.mode)}</text>',
        f'<text x="{x + 16}" y="{y + 16}" font-size="10" fill="#555555">{escape(memory)}</text>',
    ]


def _round_up(value: float) -> float:
    """Return a round number that is not smaller."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value)
