"""The charts of one incident: which picture tells it, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from oddlot.report.chart import Bar, Look, Span, draw_bars, draw_spans
from oddlot.report.collect import DAY_US
from oddlot.report.series import SLOT_US, WHOLE_SHOP, Track
from oddlot.report.texts import Speaker
from oddlot.schema import Alert

# What tells an incident best, where it is not the units a day: "lines" a day, "sizes" of single
# lines or "prices"; and the evidence that says from where to where it was expected, of which the
# second may be a number of days to divide the first by.
_PICTURES: dict[str, tuple[str, tuple[str, str]]] = {
    "quantity_spike": ("sizes", ("low", "high")),
    "low_quantity": ("sizes", ("", "")),
    "unit_mixup": ("sizes", ("", "")),
    "new_sku": ("sizes", ("", "")),
    "price_error": ("prices", ("usual", "usual")),
    "demand_surge": ("lines", ("usual", "days")),
    "demand_drop": ("lines", ("due", "days")),
    "silent_sku": ("lines", ("a_day", "a_day")),
}
_MONTHS = 24  # up to so many a chart of days names months, else years


class Panel(NamedTuple):
    """One chart with its words.

    Attributes:
        title, key: above and below the chart.
        svg: the chart.
        header, rows: the same as a table; empty where the chart needs none.
    """

    title: str
    key: str
    svg: Markup
    header: list[str]
    rows: list[list[str]]


def draw_track(track: Track, alert: Alert, speaker: Speaker) -> list[Panel]:
    """Draw what was sold around an alert.

    Args:
        track: the lines of the alert's SKU, or of the whole shop.
        alert: the worst one of that SKU.
        speaker: says it.
    """
    if track.is_basket:
        return []  # its lines tell it
    if track.sku == WHOLE_SHOP:
        return [_slots(track, speaker), _lines(track, speaker, None)]
    picture, names = _PICTURES.get(alert.detector, ("units", ("", "")))
    band = _expected(alert, names)
    if picture == "sizes":
        return [_sizes(track, speaker, band, alert)]
    if picture == "prices":
        return [_prices(track, speaker, band, alert)]
    if picture == "lines":
        return [_lines(track, speaker, band)]
    return [_units(track, speaker)]


def _expected(alert: Alert, names: tuple[str, str]) -> tuple[float, float] | None:
    low, high = (alert.evidence.get(name, math.nan) for name in names)
    if names[1] == "days" and high > 0:
        low = high = low / high
    return (low, high) if 0 <= low <= high < math.inf else None


def draw_calendar(
    days: dict[int, int],
    first: int,
    last: int,
    label: str,
    titles: dict[int, str],
    speaker: Speaker,
) -> Markup:
    """Draw a count for each day of the run.

    Args:
        days: the counts by day.
        first, last: the days that are drawn.
        label: what a screen reader says.
        titles: what a pointer reads, by day.
        speaker: says it.
    """
    bars = [
        Bar(float(days.get(day, 0)), 0.0, titles[day]) if day in titles else None
        for day in range(first, last + 1)
    ]
    look = Look(label, None, "", None, "", _dates(first, len(bars)), speaker.number, "")
    return draw_bars(bars, look)


def _units(track: Track, speaker: Speaker) -> Panel:
    bars: list[Bar | None] = []
    for i, day in enumerate(track.days.tolist()):
        lines, sold, returned, adjusted = day[:4]
        down = max(-returned, 0) + max(-adjusted, 0)
        title = speaker.say(
            "units_day",
            day=speaker.day(track.first + i),
            sold=sold,
            back=down,
            lines=speaker.count("line|", lines),
        )
        bars.append(Bar(sold + max(adjusted, 0), down, title) if sold or down or adjusted else None)
    look = _look(track, speaker, "units", "quantity", None)
    return _panel(track, speaker, "units", draw_bars(bars, look), None)


def _lines(track: Track, speaker: Speaker, band: tuple[float, float] | None) -> Panel:
    bars: list[Bar | None] = []
    for i, day in enumerate(track.days.tolist()):
        title = speaker.say(
            "lines_day",
            day=speaker.day(track.first + i),
            lines=speaker.count("line|", day[0]),
            sold=speaker.count("unit|", day[1]),
        )
        bars.append(Bar(float(day[0]), 0.0, title) if day[0] else None)
    look = _look(track, speaker, "lines", "lines_of", band)
    return _panel(track, speaker, "lines", draw_bars(bars, look), band)


def _sizes(track: Track, speaker: Speaker, band: tuple[float, float] | None, alert: Alert) -> Panel:
    spans: list[Span | None] = []
    for i, day in enumerate(track.days.tolist()):
        title = speaker.say(
            "sizes_day",
            day=speaker.day(track.first + i),
            low=day[4],
            high=day[5],
            lines=speaker.count("line|", day[0]),
        )
        spans.append(Span(float(day[4]), float(day[5]), title) if day[0] else None)
    look = _look(track, speaker, "sizes", "sizes_of", band)
    point = float(alert.quantity) if alert.quantity > 0 else None
    return _panel(track, speaker, "sizes", draw_spans(spans, look, point), band)


def _prices(
    track: Track, speaker: Speaker, band: tuple[float, float] | None, alert: Alert
) -> Panel:
    spans: list[Span | None] = []
    for i, day in enumerate(track.days.tolist()):
        low, high = day[6], day[7]
        title = speaker.say(
            "prices_day",
            day=speaker.day(track.first + i),
            low=speaker.price(low),
            high=speaker.price(high),
            lines=speaker.count("line|", day[0]),
        )
        spans.append(Span(low, high, title) if math.isfinite(low) else None)
    look = _look(track, speaker, "prices", "prices_of", band)
    point = alert.price if math.isfinite(alert.price) and alert.price > 0 else None
    return _panel(track, speaker, "prices", draw_spans(spans, look, point), band)


def _slots(track: Track, speaker: Speaker) -> Panel:
    times = [(track.first_slot + i) * SLOT_US for i in range(len(track.slots))]
    bars = [
        Bar(
            float(count),
            0.0,
            speaker.say("slots_slot", when=speaker.time(time), lines=speaker.count("line|", count)),
        )
        for time, count in zip(times, track.slots.tolist(), strict=True)
    ]
    label = speaker.say(
        "slots_label",
        first=speaker.time(times[0]),
        last=speaker.time(times[-1]),
        mark=speaker.time(track.time_us),
    )
    midnights = [
        (i, speaker.day(time // DAY_US)) for i, time in enumerate(times) if time % DAY_US == 0
    ]
    mark = track.time_us // SLOT_US - track.first_slot
    unit = speaker.say("lines_of")
    look = Look(label, mark, speaker.say("mark"), None, "", midnights, speaker.number, unit)
    key = speaker.say("slots_key")
    return Panel(speaker.say("slots_chart"), key, draw_bars(bars, look), [], [])


def _look(
    track: Track, speaker: Speaker, picture: str, unit: str, band: tuple[float, float] | None
) -> Look:
    last = track.first + len(track.days) - 1
    expected = ""
    if band:
        write = speaker.price if picture == "prices" else speaker.number
        expected = (
            speaker.say("expected", low=write(band[0]), high=write(band[1]))
            if band[0] < band[1]
            else speaker.say("expected_about", value=write(band[0]))
        )
    return Look(
        label=speaker.say(
            f"{picture}_label",
            sku=_name(track, speaker),
            first=speaker.day(track.first),
            last=speaker.day(last),
            mark=speaker.day(track.time_us // DAY_US),
        ),
        mark=track.time_us // DAY_US - track.first,
        mark_text=f"{speaker.say('mark')} {speaker.day(track.time_us // DAY_US)}",
        band=band,
        band_text=expected,
        dates=_dates(track.first, len(track.days)),
        write=speaker.number,
        unit=speaker.say(unit),
    )


def _panel(
    track: Track, speaker: Speaker, picture: str, svg: Markup, band: tuple[float, float] | None
) -> Panel:
    key = speaker.say(f"{picture}_key")
    if band:
        key = f"{key} {speaker.say('shaded')}"
    if track.sku == WHOLE_SHOP:
        title = speaker.say("shop_chart")
    else:
        title = speaker.say(f"{picture}_chart", sku=_name(track, speaker))
    names = {
        "units": ("lines_of", "sold", "back", "adjusted"),
        "lines": ("lines_of", "sold"),
        "sizes": ("lines_of", "sizes_of"),
        "prices": ("lines_of", "prices_of"),
    }[picture]
    header = [speaker.say(name) for name in ("day_of", *names)]
    rows = []
    is_used = (track.days["lines"] > 0) | (track.days["returned"] != 0)
    for i in np.flatnonzero(is_used | (track.days["adjusted"] != 0)).tolist():
        lines, sold, returned, adjusted, low, high, cheap, dear = track.days[i].tolist()
        numbers = {
            "units": (lines, sold, returned, adjusted),
            "lines": (lines, sold),
            "sizes": (lines,),
            "prices": (lines,),
        }[picture]
        cells = [speaker.day(track.first + i), *(speaker.number(value) for value in numbers)]
        if picture == "sizes":
            cells.append(_range(speaker, speaker.number(low), speaker.number(high)))
        if picture == "prices":
            cells.append(_range(speaker, speaker.price(cheap), speaker.price(dear)))
        rows.append(cells)
    return Panel(title, key, svg, header, rows)


def _range(speaker: Speaker, low: str, high: str) -> str:
    return low if low == high else speaker.say("range", low=low, high=high)


def _name(track: Track, speaker: Speaker) -> str:
    return speaker.say("whole_shop") if track.sku == WHOLE_SHOP else track.sku


def _dates(first: int, count: int) -> Sequence[tuple[int, str]]:
    """Return the slots of the first days of months, or of years, with their names."""
    days = np.arange(first, first + count).astype("datetime64[D]")
    is_long = count > 31 * _MONTHS
    unit = "datetime64[Y]" if is_long else "datetime64[M]"
    firsts = np.flatnonzero(days == days.astype(unit).astype("datetime64[D]")).tolist()
    every = max(1, math.ceil(len(firsts) / 12))
    return [(i, str(days[i].astype(unit))) for i in firsts[::every]]
