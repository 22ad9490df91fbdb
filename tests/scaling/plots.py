"""Plots as SVG: lines over two axes, with what each line is beside its end."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 54, 52
COLOURS = ("#2563eb", "#c2410c", "#15803d", "#7c3aed")
INK, QUIET = "#1f2937", "#d1d5db"


@dataclass(frozen=True)
class Axis:
    """What an axis shows: its name, the values that it marks and how they are written; the first and last end it."""

    name: str
    marks: Sequence[float]
    write: Callable[[float], str] = "{:,.0f}".format
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value stands, from 0 to 1."""
        first, last, value = map(self._scaled, (self.marks[0], self.marks[-1], value))
        return min(max((value - first) / (last - first), 0.0), 1.0)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, self.marks[0])) if self.logarithmic else value


def plot(title: str, across: Axis, up: Axis, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """An SVG image.

    Args:
        title: what it shows.
        across: the axis from left to right.
        up: the axis from bottom to top.
        lines: by name, the points of each, by `across`.
    """

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = LEFT + across.share(point[0]) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - up.share(point[1]) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        f'font-size="13" role="img"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff"/>',
        _text(LEFT, 26, title, weight="600"),
    ]
    for mark in up.marks:
        _, y = place((across.marks[0], mark))
        parts.append(f'<path d="M{LEFT} {y}H{right}" stroke="{QUIET}"/>')
        parts.append(_text(LEFT - 8, y + 4, up.write(mark), anchor="end"))
    for mark in across.marks:
        x, _ = place((mark, up.marks[0]))
        parts.append(f'<path d="M{x} {bottom}v5" stroke="{INK}"/>')
        parts.append(_text(x, bottom + 20, across.write(mark), anchor="middle"))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 10, across.name, anchor="middle"))
    parts.append(_text(LEFT, TOP - 8, up.name))
    # From the lowest end to the highest, so that names which would touch go above each other.
    above = math.inf
    heights = {}
    for y, name in sorted(((place(points[-1])[1], name) for name, points in lines.items()), reverse=True):
        above = heights[name] = min(y, above - 17)
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
        drawn = " ".join(f"{x},{y}" for x, y in map(place, points))
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(right + 10, heights[name] + 4, name, colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "400", colour: str = INK) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">{escape(text)}</text>'
