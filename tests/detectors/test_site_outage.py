"""A shop that goes dark is one finding; a shop at rest is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, TICK, TICK_US, Event
from oddlot.detectors.site_outage import SiteOutage
from oddlot.schema import CHARGE, RETURN, SALE

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
MONDAY = 4 + 52 * 7  # days since 1970


def shop_week(
    days: int,
    opens: float = 9,
    closes: float = 17,
    a_day: int = 60,
    rests: tuple[int, ...] = (5, 6),
) -> list[Event]:
    """Return orders of two lines, evenly within the opening hours of the days with trade."""
    rng = np.random.default_rng(7)
    lines = []
    for day in range(days):
        if day % 7 in rests:
            continue
        for hour in np.sort(rng.uniform(opens, closes, a_day)):
            time_us = (MONDAY + day) * DAY_US + int(hour * HOUR_US)
            invoice = int(rng.integers(1, 2**63))
            lines += [Event(time_us, 2, 1.25, SALE, sku, invoice, 9) for sku in (1, 3)]
    return lines


def with_ticks(lines: list[Event], until_us: int = 0) -> list[Event]:
    """Return the lines with the ticks between them, each before the lines of its time."""
    first, last = lines[0].time_us, max(lines[-1].time_us, until_us)
    ticks = range(-(-first // TICK_US) * TICK_US, last + 1, TICK_US)
    events = [Event(time_us, 0, float("nan"), TICK, -1) for time_us in ticks] + lines
    return sorted(events, key=lambda one: (one.time_us, one.kind != TICK))


def dark(lines: list[Event], day: int, begin: float, end: float) -> list[Event]:
    """Return the lines but those between two hours of a day."""
    start = (MONDAY + day) * DAY_US
    return [
        one for one in lines if not start + begin * HOUR_US <= one.time_us < start + end * HOUR_US
    ]


def pack(events: list[Event]) -> Any:
    event = np.zeros(len(events), EVENT)
    for name in EVENT.names or ():
        event[name] = [getattr(one, name) for one in events]
    return event


def found_in(events: list[Event], cuts: tuple[int, ...] = ()) -> tuple[Any, bytes]:
    """Return the findings, and the bytes of all that is remembered."""
    detector = SiteOutage()
    event = pack(events)
    rows, shop = np.zeros(8, detector.row), np.zeros(1, detector.shop)
    every = []
    for first, last in zip([0, *cuts], [*cuts, len(event)], strict=True):
        rows, shop = rows.copy(), shop.copy()
        found, count = detector.score(rows, shop, event, first, last, np.zeros(2, detector.found))
        every.append(found[:count].copy())
    return np.concatenate(every), shop.tobytes()


def hours_of(events: list[Event], found: Any) -> list[float]:
    """Return when things were found, in hours since the first Monday."""
    return [(events[i].time_us - MONDAY * DAY_US) / HOUR_US for i in found["event"]]


def test_three_dark_hours_are_found_within_the_hour_and_told_at_most_thrice() -> None:
    events = with_ticks(dark(shop_week(40), 36, 11, 14))
    found, _ = found_in(events)
    hours = [hour - 36 * 24 for hour in hours_of(events, found) if 0 < hour - 36 * 24 < 24]
    assert 11 < hours[0] <= 12
    assert len(hours) <= 3
    assert set(found["sku"]) == {-1}


def test_a_dark_day_is_found_in_the_morning_and_a_second_one_says_nothing_new() -> None:
    events = with_ticks(dark(shop_week(46), 36, 0, 48))
    found, _ = found_in(events)
    hours = [hour - 36 * 24 for hour in hours_of(events, found) if 0 < hour - 36 * 24 < 57]
    assert 9 < hours[0] < 10.5
    assert all(hour < 24 for hour in hours)


def test_nights_and_weekends_are_silent() -> None:
    lines = shop_week(60)
    events = with_ticks(lines)
    found, _ = found_in(events)
    assert all(9 <= hour % 24 <= 17.5 for hour in hours_of(events, found))
    assert all(hour // 24 % 7 < 5 for hour in hours_of(events, found))
    assert len(found) <= 14  # one in a hundred of some 1,400 tests
    assert not any(found["chance"] < 1e-4)


def test_a_long_break_is_one_finding_at_its_begin() -> None:
    lines = dark(shop_week(70), 42, 0, 14 * 24)
    events = with_ticks(lines)
    found, _ = found_in(events)
    hours = [hour / 24 - 42 for hour in hours_of(events, found)]
    assert any(0 < hour < 0.5 for hour in hours)
    assert not any(0.75 < hour < 14 for hour in hours)


@pytest.mark.parametrize(
    "lines",
    [
        shop_week(9),  # too young
        shop_week(200, 11, 12, 1, (0, 1, 2, 3, 4, 5)),  # a sale a week
        [Event(one.time_us, -2, 1.25, RETURN, one.sku, 1, 1) for one in shop_week(40)],
        [Event(one.time_us, 2, 1.25, CHARGE, one.sku, 1, 1) for one in shop_week(40)],
        [Event(one.time_us, 2, 0.0, SALE, one.sku, 1, 1) for one in shop_week(40)],
    ],
)
def test_what_cannot_be_watched_is_silent(lines: list[Event]) -> None:
    found, _ = found_in(with_ticks(lines, lines[-1].time_us + 14 * DAY_US))
    assert not len(found)


def test_a_shop_that_never_closes_is_watched_at_night() -> None:
    events = with_ticks(dark(shop_week(40, 0, 24, 240, ()), 36, 2, 4))
    found, _ = found_in(events)
    hours = [hour - 36 * 24 for hour in hours_of(events, found)]
    assert any(2 < hour <= 3 for hour in hours)


def test_the_shop_is_dark_until_trade_is_back() -> None:
    detector = SiteOutage()
    event = pack(with_ticks(dark(shop_week(40), 36, 11, 14)))
    rows, shop = np.zeros(8, detector.row), np.zeros(1, detector.shop)
    first, seen = 0, {}
    for hour in (10, 13, 16):
        last = int(np.searchsorted(event["time_us"], (MONDAY + 36) * DAY_US + hour * HOUR_US))
        detector.score(rows, shop, event, first, last, np.zeros(2, detector.found))
        first, seen[hour] = last, int(shop[0]["dark_since_us"])
    assert seen[10] == seen[16] == 0
    assert abs(seen[13] - (MONDAY + 36) * DAY_US - 11 * HOUR_US) <= HOUR_US


def test_score_agrees_with_define() -> None:
    lines = dark(dark(shop_week(30, 9, 13, 30, (5,)), 22, 0, 24), 26, 10, 12)
    lines += [Event(lines[-1].time_us + 400 * DAY_US, 3, float("nan"), SALE, 1, 0, 0)]
    events = [one for one in with_ticks(lines) if one.time_us < lines[-2].time_us + DAY_US * 14]
    events += [lines[-1]]
    found, _ = found_in(events)
    expected = SiteOutage().define(events)
    assert len(found) == len(expected) > 2
    for got, want in zip(found, expected, strict=True):
        for name, value in want.items():
            assert float(got[name]) == pytest.approx(value, rel=1e-5), name


def test_any_cut_gives_the_same() -> None:
    events = with_ticks(dark(shop_week(30), 23, 11, 14))
    whole, bytes_whole = found_in(events)
    cuts = tuple(i for i in range(1, len(events), 37) if events[i].time_us != events[i - 1].time_us)
    parts, bytes_parts = found_in(events, cuts)
    assert parts.tolist() == whole.tolist()
    assert bytes_parts == bytes_whole
