"""Plots as plain SVG: a few kilobytes, no fonts inside, light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

# Of each series a colour on white and one on black.
COLOURS = (
    ("#0969da", "#58a6ff"),
    ("#bc4c00", "#f0883e"),
    ("#1a7f37", "#3fb950"),
    ("#8250df", "#bc8cff"),
    ("#bf3989", "#f778ba"),
    ("#1b7c83", "#39c5cf"),
    ("#7d4e00", "#d29922"),
    ("#6e7781", "#8b949e"),
)
_LIGHT = {"ink": "#24292f", "quiet": "#57606a", "line": "#d8dee4", "ground": "#ffffff"}
_DARK = {"ink": "#e6edf3", "quiet": "#9198a1", "line": "#30363d", "ground": "#0d1117"}
_SIZE = 12

Scale = Callable[[float], float]


class Drawing:
    """An SVG image that is drawn on."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """Begin an image.

        Args:
            width: in pixels.
            height: in pixels.
            title: what it shows, for those who cannot see it.
        """
        self.width, self.height = width, height
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        head += f'width="{width}" height="{height}" role="img" '
        dark = f"@media (prefers-color-scheme: dark){{{_style(_DARK, 1)}}}"
        self._parts = [
            f'{head}font-family="system-ui, sans-serif" font-size="{_SIZE}">',
            f"<title>{escape(title)}</title>",
            f"<style>{_style(_LIGHT, 0)}{dark}</style>",
            f'<rect class="ground" width="{width}" height="{height}"/>',
        ]

    def text(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "ink") -> None:
        """Write text; `kind` is "ink", "quiet", "bold" or a series as "f0"."""
        self._parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> None:
        """Draw a straight line."""
        self._parts.append(
            f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str, width: float = 1.5) -> None:
        """Draw a line through points."""
        if points:
            where = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            self._parts.append(
                f'<path class="{kind}" d="M{where}" fill="none" stroke-width="{width}" '
                'stroke-linejoin="round"/>'
            )

    def area(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Fill a polygon, lightly."""
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polygon class="{kind}" points="{where}" opacity="0.2"/>')

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Fill a rectangle."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
            f'height="{max(height, 0):.1f}"/>'
        )

    def dots(self, points: Iterable[tuple[float, float]], kind: str, radius: float = 2.5) -> None:
        """Draw dots; equal ones once."""
        unique = dict.fromkeys((f"{x:.1f}", f"{y:.1f}") for x, y in points)
        drawn = "".join(f'<circle cx="{x}" cy="{y}" r="{radius}"/>' for x, y in unique)
        if drawn:
            self._parts.append(f'<g class="{kind}">{drawn}</g>')

    def finish(self) -> str:
        """Return the image."""
        return "\n".join([*self._parts, "</svg>\n"])


class Axes:
    """A field with an axis on the left and one below."""

    def __init__(
        self, drawing: Drawing, box: tuple[float, float, float, float], x: Scale, y: Scale
    ) -> None:
        """Lay out a field.

        Args:
            drawing: where it is.
            box: left, top, right, bottom in pixels.
            x: brings a value to 0 (left) to 1 (right).
            y: brings a value to 0 (bottom) to 1 (top).
        """
        self.drawing = drawing
        self.left, self.top, self.right, self.bottom = box
        self._x, self._y = x, y

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point is, in pixels."""
        return self.x(x), self.y(y)

    def x(self, value: float) -> float:
        """Return where a value is on the axis below."""
        return self.left + self._x(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return where a value is on the left axis."""
        return self.bottom - self._y(value) * (self.bottom - self.top)

    def mark_x(self, ticks: Iterable[tuple[float, str]], title: str = "") -> None:
        """Label the axis below, with lines."""
        for value, text in ticks:
            self.drawing.line(self.x(value), self.top, self.x(value), self.bottom)
            self.drawing.text(self.x(value), self.bottom + 16, text, "middle", "quiet")
        middle = (self.left + self.right) / 2
        self.drawing.text(middle, self.bottom + 34, title, "middle", "quiet")

    def mark_y(self, ticks: Iterable[tuple[float, str]], title: str = "") -> None:
        """Label the left axis, with lines."""
        for value, text in ticks:
            self.drawing.line(self.left, self.y(value), self.right, self.y(value))
            self.drawing.text(self.left - 6, self.y(value) + 4, text, "end", "quiet")
        self.drawing.text(self.left, self.top - 8, title, "start", "quiet")


def linear(low: float, high: float) -> Scale:
    """Return a scale with equal steps."""
    return lambda value: (value - low) / ((high - low) or 1.0)


def logarithmic(low: float, high: float) -> Scale:
    """Return a scale with equal factors."""
    width = math.log(high / low) or 1.0
    return lambda value: math.log(max(value, low) / low) / width


def round_ticks(high: float, most: int = 5) -> list[tuple[float, str]]:
    """Return round values from 0 up to `high`, at most `most` steps."""
    step = 10.0 ** math.floor(math.log10(max(high, 1e-9) / most))
    while high / step > most:
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    return [(k * step, f"{k * step:,g}") for k in range(int(high / step) + 1)]


def power_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return the powers of ten between, for a logarithmic scale."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [(10.0**k, f"{10.0**k:,g}") for k in range(first, last + 1)]


def _style(ink: dict[str, str], place: int) -> str:
    rules = [
        f".ink,.bold{{fill:{ink['ink']}}}.bold{{font-weight:600}}.quiet{{fill:{ink['quiet']}}}",
        f".ground{{fill:{ink['ground']}}}.grid{{stroke:{ink['line']}}}",
        f".axis{{stroke:{ink['quiet']}}}.plain{{fill:{ink['quiet']};opacity:.55}}",
        f".dashed{{stroke:{ink['quiet']};stroke-dasharray:4 3}}",
    ]
    for k, colours in enumerate(COLOURS):
        rules.append(f".s{k}{{stroke:{colours[place]}}}.f{k}{{fill:{colours[place]}}}")
    return "".join(rules)
