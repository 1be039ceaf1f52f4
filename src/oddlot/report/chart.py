"""Charts as plain SVG: no script, no style of their own, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 1000, 216
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 14, 26, 26
_TICKS = 5  # grid lines, about
_STEEP = 25.0  # a highest value so many times the usual one asks for a logarithmic axis
_FEW_DECADES = 6


class Bar(NamedTuple):
    """What one slot of a chart shows; None shows nothing.

    Attributes:
        up, down: heights above and below nought, both >= 0.
        title: what a pointer that rests on it reads.
    """

    up: float
    down: float
    title: str


class Span(NamedTuple):
    """From the lowest to the highest value of one slot; NaN shows nothing."""

    low: float
    high: float
    title: str


class Axis(NamedTuple):
    """Where values lie from top to bottom.

    Attributes:
        place: gives the y of a value.
        ticks: the values that get a grid line.
        is_log: whether the axis is logarithmic.
    """

    place: Callable[[float], float]
    ticks: list[float]
    is_log: bool


class Look(NamedTuple):
    """What surrounds the bars.

    Attributes:
        label: what a screen reader says of the whole chart.
        mark: slot of the alert; None for none.
        mark_text: what stands at it.
        band: the lowest and highest value expected; None for none.
        band_text: what a pointer on it reads.
        dates: slots that are named below the axis, with their names.
        write: how a tick's value is written.
        unit: of the values, written above the axis.
    """

    label: str
    mark: int | None
    mark_text: str
    band: tuple[float, float] | None
    band_text: str
    dates: Sequence[tuple[int, str]]
    write: Callable[[float], str]
    unit: str


def draw_bars(bars: Sequence[Bar | None], look: Look, kind: str = "sale") -> Markup:
    """Draw bars up and down from nought, one for each slot.

    Args:
        bars: in order of time.
        look: what surrounds them.
        kind: class of the bars above nought; those below have the class "return".
    """
    shown = [bar for bar in bars if bar is not None]
    highest = max((bar.up for bar in shown), default=0.0)
    lowest = max((bar.down for bar in shown), default=0.0)
    if look.band:
        highest = max(highest, look.band[1])
    usual = sorted(value for bar in shown for value in (bar.up, bar.down) if value > 0)
    axis = _signed_axis(lowest, highest, usual)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    zero = axis.place(0.0)
    parts = [_frame(look, axis, len(bars))]
    for kind_of, sign in ((kind, 1), ("return", -1)):
        path = []
        for i, bar in enumerate(bars):
            value = 0.0 if bar is None else (bar.up if sign > 0 else bar.down)
            if value > 0:
                y = axis.place(sign * value)
                # A bar that is there can be seen, however small.
                y = min(y, zero - 1.5) if sign > 0 else max(y, zero + 1.5)
                width = max(step - 1.0, 1.0)
                path.append(f"M{_LEFT + i * step:.1f} {zero:.1f}V{y:.1f}h{width:.1f}V{zero:.1f}z")
        if path:
            parts.append(Markup('<path class="{}" d="{}"/>').format(kind_of, "".join(path)))
    parts.append(Markup('<path class="zero" d="M{} {:.1f}H{}"/>').format(
        _LEFT, zero, WIDTH - _RIGHT
    ))  # fmt: skip
    parts.append(_hover([(i, bar.title) for i, bar in enumerate(bars) if bar is not None], step))
    return _whole(WIDTH, HEIGHT, look.label, parts)


def draw_spans(
    spans: Sequence[Span | None], look: Look, point: float | None, kind: str = "sale"
) -> Markup:
    """Draw from the lowest to the highest value of each slot.

    Args:
        spans: in order of time.
        look: what surrounds them.
        point: the alert's own value, drawn as a ring at the mark; None for none.
        kind: class of the spans.
    """
    shown = [span for span in spans if span is not None]
    values = [value for span in shown for value in (span.low, span.high)]
    values += [point] if point is not None else []
    values += list(look.band or ())
    axis = _positive_axis([value for value in values if 0 < value < math.inf])
    step = (WIDTH - _LEFT - _RIGHT) / max(len(spans), 1)
    path = []
    for i, span in enumerate(spans):
        if span is not None and span.high > 0:
            x = _LEFT + (i + 0.5) * step
            low, high = axis.place(max(span.low, 0.0)), axis.place(span.high)
            path.append(f"M{x:.1f} {low:.1f}V{min(high, low - 0.01):.2f}")
    parts = [_frame(look, axis, len(spans))]
    if path:
        parts.append(Markup('<path class="span {}" d="{}"/>').format(kind, "".join(path)))
    is_there = look.mark is not None and 0 <= look.mark < len(spans)
    if point is not None and look.mark is not None and is_there and 0 < point < math.inf:
        x = _LEFT + (look.mark + 0.5) * step
        parts.append(
            Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(
                x, axis.place(point)
            )
        )
    parts.append(_hover([(i, one.title) for i, one in enumerate(spans) if one is not None], step))
    return _whole(WIDTH, HEIGHT, look.label, parts)


def draw_promise(
    points: Sequence[tuple[float, float]],
    band: Sequence[tuple[float, float, float]],
    label: str,
    names: tuple[str, str],
    write: Callable[[float], str],
) -> Markup:
    """Draw how many alerts a day came against how many were promised, both logarithmic.

    Args:
        points: promised and found a day, in order of the promised.
        band: promised, and the least and most that chance alone explains.
        label: what a screen reader says.
        names: of the axes, across and up.
        write: how a tick's value is written.
    """
    width, height, left, bottom, top = 300, 230, 60, 40, 12
    xs = [x for x, _ in points] + [x for x, _, _ in band]
    ys = [y for _, y in points] + [most for _, _, most in band] + xs
    low = math.floor(math.log10(min(ys, default=0.1)))
    high = max(math.ceil(math.log10(max(ys, default=1.0))), low + 1)

    def place_x(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return left + share * (width - left - 10)

    def place_y(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return height - bottom - share * (height - bottom - top)

    parts = []
    for power in range(low, high + 1, max(1, math.ceil((high - low) / 4))):
        value = 10.0**power
        x, y = place_x(value), place_y(value)
        parts += [
            Markup('<path class="grid" d="M{} {:.1f}H{}M{:.1f} {}V{}"/>').format(
                left, y, width - 10, x, top, height - bottom
            ),
            _text(left - 6, y + 4, write(value), "end"),
            _text(x, height - bottom + 16, write(value), "middle"),
        ]
    if band:
        up = [f"{place_x(x):.1f} {place_y(most):.1f}" for x, _, most in band]
        down = [f"{place_x(x):.1f} {place_y(least):.1f}" for x, least, _ in reversed(band)]
        parts.append(Markup('<path class="band" d="M{}z"/>').format("L".join(up + down)))
        ends = band[0][0], band[-1][0]
        parts.append(
            Markup('<path class="promise" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(
                place_x(ends[0]), place_y(ends[0]), place_x(ends[1]), place_y(ends[1])
            )
        )
    if points:
        line = "L".join(f"{place_x(x):.1f} {place_y(y):.1f}" for x, y in points)
        parts.append(Markup('<path class="line" d="M{}"/>').format(line))
        for x, y in points:
            parts.append(
                Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(
                    place_x(x), place_y(y)
                )
            )
    parts.append(_text((left + width) / 2, height - 6, names[0], "middle"))
    parts.append(
        Markup(
            '<text x="12" y="{0}" text-anchor="middle" transform="rotate(-90 12 {0})">{1}</text>'
        ).format((height - bottom) // 2, names[1])
    )
    return _whole(width, height, label, parts)


def _signed_axis(lowest: float, highest: float, usual: Sequence[float]) -> Axis:
    top, bottom = _TOP, HEIGHT - _BOTTOM
    biggest = max(lowest, highest, 1.0)
    is_log = bool(usual) and biggest > _STEEP * usual[len(usual) // 2] and biggest > 100
    bend: Callable[[float], float] = (
        (lambda value: math.copysign(math.log10(1 + abs(value)), value))
        if is_log
        else (lambda value: value)
    )
    least, most = bend(-lowest), bend(max(highest, 0.0 if lowest else 1.0))

    def place(value: float) -> float:
        return bottom - (bend(value) - least) / (most - least) * (bottom - top)

    if is_log:
        decades = math.floor(math.log10(biggest))
        powers = range(0, decades + 1, max(1, math.ceil((decades + 1) / _FEW_DECADES)))
        ticks = [0.0, *(sign * 10.0**power for power in powers for sign in (1, -1))]
    else:
        step = _round_step((highest + lowest) / _TICKS)
        ticks = [
            i * step for i in range(-math.floor(lowest / step), math.floor(highest / step) + 1)
        ]
    kept = [tick for tick in ticks if -lowest <= tick <= max(highest, 1.0)]
    return Axis(place, _apart(kept, place), is_log)


def _positive_axis(values: Sequence[float]) -> Axis:
    top, bottom = _TOP, HEIGHT - _BOTTOM
    low, high = min(values, default=0.0), max(values, default=0.0) or 1.0
    is_log = high > 12 * low > 0
    if is_log:
        least, most = math.log10(low) - 0.05, math.log10(high) + 0.05

        def place(value: float) -> float:
            share = (math.log10(max(value, low)) - least) / (most - least)
            return bottom - share * (bottom - top)

        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        if len(powers) > _TICKS:
            ticks = [10.0**power for power in powers]
        ticks = [tick for tick in ticks if low <= tick <= high]
        return Axis(place, _apart(ticks, place), is_log=True)

    def place_straight(value: float) -> float:
        return bottom - value / (1.05 * high) * (bottom - top)

    step = _round_step(high / _TICKS, whole=False)
    ticks = [i * step for i in range(math.floor(high / step) + 1)]
    return Axis(place_straight, ticks, is_log=False)


def _apart(ticks: Sequence[float], place: Callable[[float], float]) -> list[float]:
    """Leave out what would be written over another: nought stays, then the greatest."""
    kept: list[float] = []
    for tick in sorted(ticks, key=lambda tick: (tick != 0, -abs(tick))):
        if all(abs(place(tick) - place(other)) >= 15 for other in kept):
            kept.append(tick)
    return kept


def _round_step(step: float, whole: bool = True) -> float:
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    rounded = next(factor for factor in (1, 2, 5, 10) if factor * power >= step * 0.999) * power
    return max(rounded, 1.0) if whole else rounded


def _frame(look: Look, axis: Axis, slots: int) -> Markup:
    """Draw the grid, the band, the names of the axes and the mark."""
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    step = (right - _LEFT) / max(slots, 1)
    parts = [_text(4, 14, look.unit, "start")]
    if look.band:
        low, high = (axis.place(max(value, 0.0)) for value in look.band)
        parts.append(
            Markup(
                '<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}">'
                "<title>{}</title></rect>"
            ).format(_LEFT, high, right - _LEFT, max(low - high, 1.0), look.band_text)
        )
    for tick in axis.ticks:
        y = axis.place(tick)
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(_LEFT, y, right))
        parts.append(_text(_LEFT - 6, y + 4, look.write(tick), "end"))
    for slot, name in look.dates:
        x = _LEFT + slot * step
        parts.append(Markup('<path class="tick" d="M{:.1f} {}v5"/>').format(x, bottom))
        if x < right - 40:
            parts.append(_text(x + 3, HEIGHT - 8, name, "start"))
    if look.mark is not None and 0 <= look.mark < max(slots, 1):
        x = _LEFT + (look.mark + 0.5) * step
        parts.append(
            Markup('<path class="mark" d="M{0:.1f} {1}V{2}"/>').format(x, _TOP - 6, bottom)
        )
        parts.append(
            Markup('<path class="arrow" d="M{:.1f} {}h10l-5 8z"/>').format(x - 5, _TOP - 14)
        )
        is_left = x > WIDTH / 2
        parts.append(
            _text(x - 9 if is_left else x + 9, 14, look.mark_text, "end" if is_left else "start")
        )
    return Markup("").join(parts)


def _hover(titles: Sequence[tuple[int, str]], step: float) -> Markup:
    one = Markup(
        '<rect class="hover" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>'
    )
    height = HEIGHT - _TOP - _BOTTOM
    return Markup("").join(
        one.format(_LEFT + i * step, _TOP, max(step, 3.0), height, title) for i, title in titles
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _whole(width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">{3}</svg>'
    ).format(width, height, label, Markup("").join(parts))
