"""A product that sells far too little, told from a silence, a quiet shop and a slow seller."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, NOTED, TICK, Event
from oddlot.detectors.demand_drop import DemandDrop
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, RETURN, SALE

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000


def pack(events: list[Event]) -> Any:
    packed = np.zeros(len(events), EVENT)
    for i, one in enumerate(events):
        packed[i] = tuple(getattr(one, name) for name in EVENT.names or ())
    return packed


def score(events: list[Event], cuts: tuple[int, ...] = (), skus: int = 64) -> tuple[Any, bytes]:
    """Return the findings and what is remembered, with rows and shop saved at each cut."""
    detector = DemandDrop()
    packed = pack(events)
    rows, shop = np.zeros(skus, detector.row), np.zeros(1, detector.shop)
    parts = []
    for first, last in zip((0, *cuts), (*cuts, len(events)), strict=True):
        rows = np.frombuffer(rows.tobytes(), detector.row).copy()
        shop = np.frombuffer(shop.tobytes(), detector.shop).copy()
        found, count = detector.score(rows, shop, packed, first, last, np.zeros(1, detector.found))
        parts.append(found[:count].copy())
    return np.concatenate(parts), rows.tobytes() + shop.tobytes()


def with_ticks(sales: list[Event]) -> list[Event]:
    """Put a tick before each hour of the clock, also at night and for a week after the last."""
    ticks = range(sales[0].time_us // HOUR_US, sales[-1].time_us // HOUR_US + 7 * 24)
    events = [Event(hour * HOUR_US, 0, 0.0, TICK, -1) for hour in ticks] + sales
    return sorted(events, key=lambda one: (one.time_us, one.sku >= 0))


def shop(seed: int, days: int, skus: int = 20, a_day: float = 4.0, start: int = 0) -> list[Event]:
    """A shop that trades from 8 to 18, each SKU with a pace of its own."""
    rng = np.random.default_rng(seed)
    paces = a_day * np.exp(rng.normal(0, 0.5, skus))
    sales = []
    for day in range(days):
        for sku in range(skus):
            for minute in rng.integers(8 * 60, 18 * 60, rng.poisson(paces[sku])):
                time_us = (start + day) * DAY_US + int(minute) * MINUTE_US
                invoice = int(rng.integers(1, 1 << 40))
                sales.append(Event(time_us, int(rng.integers(1, 9)), 2.5, SALE, sku, invoice, 1))
    return sorted(sales, key=lambda one: one.time_us)


def thinned(sales: list[Event], sku: int, first: int, last: int, kept: float) -> list[Event]:
    """Keep a part of one SKU's lines from one day to another."""
    rng = np.random.default_rng(99)
    return [
        one
        for one in sales
        if one.sku != sku
        or not first * DAY_US <= one.time_us < last * DAY_US
        or rng.random() < kept
    ]


def test_a_drop_to_a_fifth_is_found_and_no_other() -> None:
    events = with_ticks(thinned(shop(1, 70), 4, 50, 58, 0.2))
    found, _ = score(events)
    assert set(found["sku"][found["chance"] < 1e-4]) == {4}
    last = found[found["sku"] == 4][-1]
    assert 0 < last["part"] < 45
    assert last["lines"] >= 1
    assert last["stake"] > 0
    day = events[last["event"]].time_us // DAY_US
    assert 50 < day <= 59


def test_a_total_silence_is_left_to_the_detector_of_silence() -> None:
    found, _ = score(with_ticks(thinned(shop(1, 70), 4, 50, 58, 0.0)))
    assert not (found["chance"][found["sku"] == 4] < 1e-3).any()


def test_holidays_a_year_without_trade_and_a_quiet_week_raise_nothing() -> None:
    rng = np.random.default_rng(3)
    sales = [
        one
        for one in shop(3, 500, 8, start=-100)
        if not dark(one.time_us // DAY_US + 100)
        and (not 80 <= one.time_us // DAY_US + 100 < 86 or rng.random() < 0.3)
    ]
    found, _ = score(with_ticks(sales))
    assert not (found["chance"] < 1e-4).any()


def dark(day: int) -> bool:
    return day % 7 == 5 or 40 <= day < 54 or 100 <= day < 465


def test_returns_adjustments_and_free_corrections_are_no_sales() -> None:
    low = thinned(shop(6, 60), 4, 45, 52, 0.2)
    noise = [
        Event(45 * DAY_US + hour * HOUR_US, quantity, price, kind, 4, hour + 1, 0)
        for hour in range(8, 160)
        for quantity, price, kind in ((-1, 2.5, RETURN), (-2, 0.0, ADJUSTMENT), (3, 0.0, SALE))
    ]
    noisy, _ = score(with_ticks(sorted(low + noise, key=lambda one: one.time_us)))
    plain, _ = score(with_ticks(low))
    assert plain["chance"].tolist() == noisy["chance"].tolist()


@pytest.mark.parametrize("price", [math.nan, 0.0, -1.0, 1e308])
def test_odd_shops_do_not_break_it(price: float) -> None:
    rng = np.random.default_rng(7)
    sales = [
        Event(int(time_us), 2_147_483_648, price, SALE, 0, 0, 0)
        for time_us in np.sort(rng.integers(-400 * DAY_US, 0, 3_000))
    ]
    found, _ = score(with_ticks(sales))
    assert not (found["chance"] < 1e-3).any()  # a shop of one SKU is its own clock
    assert not np.isnan(found["stake"]).any()


def test_define_agrees_with_score_and_cuts_change_no_byte() -> None:
    sales = thinned(thinned(shop(10, 45, 5, 5.0), 2, 22, 28, 0.2), 4, 31, 60, 0.25)
    events = with_ticks(sales)
    found, state = score(events)
    defined = DemandDrop().define(events)
    assert len(found) >= 3
    assert [one["event"] for one in defined] == found["event"].tolist()
    for one, other in zip(defined, found, strict=True):
        assert one == pytest.approx({name: float(other[name]) for name in one}, rel=1e-5)
    starts = [i for i in range(1, len(events)) if events[i].time_us != events[i - 1].time_us]
    again, after = score(events, tuple(starts[:: len(starts) // 7]))
    assert again.tolist() == found.tolist()
    assert after == state


def test_no_finding_is_above_what_is_noted_and_no_memory_is_refused() -> None:
    found, _ = score(with_ticks(shop(9, 60)))
    assert ((found["chance"] > 0) & (found["chance"] <= NOTED)).all()
    with pytest.raises(ConfigError, match="memory must be above 0s"):
        DemandDrop(memory="0s")
