"""A product that stops selling, told from quiet days, slow sellers and the end of a season."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, NOTED, TICK, Event
from oddlot.detectors.silent_sku import SilentSku
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
    detector = SilentSku()
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


def silenced(sales: list[Event], sku: int, first: int, last: int) -> list[Event]:
    return [
        one for one in sales if one.sku != sku or not first * DAY_US <= one.time_us < last * DAY_US
    ]


def test_a_product_that_stops_for_six_days_is_found_and_no_other() -> None:
    found, _ = score(with_ticks(silenced(shop(1, 60), 3, 45, 51)))
    assert set(found["sku"][found["chance"] < 1e-3]) == {3}
    last = found[found["sku"] == 3][-1]
    assert 3 < last["days"] <= 6.5
    assert last["stake"] > 0


def test_a_new_silence_after_sales_is_found_anew() -> None:
    sales = silenced(silenced(shop(2, 80), 0, 40, 46), 0, 60, 66)
    events = with_ticks(sales)
    found, _ = score(events)
    days = {events[one["event"]].time_us // DAY_US for one in found[found["sku"] == 0]}
    assert any(40 <= day <= 46 for day in days)
    assert any(60 <= day <= 66 for day in days)


@pytest.mark.parametrize("start", [0, -2_000])
def test_holidays_and_a_year_without_trade_raise_nothing(start: int) -> None:
    closed = [
        one for one in shop(3, 500, 8, start=start) if not dark(one.time_us // DAY_US - start)
    ]
    found, _ = score(with_ticks(closed))
    assert not (found["chance"] < 1e-4).any()


def dark(day: int) -> bool:
    return day % 7 == 5 or 40 <= day < 54 or 100 <= day < 465


def test_fast_sellers_do_not_flood_when_the_shop_is_dark_or_trade_is_thin() -> None:
    rng = np.random.default_rng(4)
    sales = [
        one
        for one in shop(4, 50, 40, 10.0)
        if one.time_us // DAY_US not in (35, 42, 43)
        or (one.time_us // DAY_US > 40 and rng.random() < 0.15)
    ]
    found, _ = score(with_ticks(sales))
    usual = len(found) / 50
    events = with_ticks(sales)
    days = [events[one["event"]].time_us // DAY_US for one in found]
    flood = sum(35 <= day <= 36 or 42 <= day <= 44 for day in days)
    assert flood <= 5 * usual
    assert not (found["chance"] < 1e-4).any()


def test_a_season_that_fades_is_less_odd_than_a_stop() -> None:
    rng = np.random.default_rng(5)
    sales = [
        one
        for one in shop(5, 80)
        if one.sku != 3 or rng.random() < 0.9 ** max(0, one.time_us // DAY_US - 35)
    ]
    fading, _ = score(with_ticks(sales))
    stopped, _ = score(with_ticks(silenced(shop(5, 80), 3, 45, 80)))
    oddest = [found[found["sku"] == 3]["chance"].min(initial=1.0) for found in (fading, stopped)]
    assert oddest[0] > 10 * oddest[1]


def test_returns_adjustments_and_free_corrections_are_no_sales() -> None:
    quiet = silenced(shop(6, 60), 3, 45, 51)
    noise = [
        Event(45 * DAY_US + hour * HOUR_US, quantity, price, kind, 3, hour + 1, 0)
        for hour in range(8, 140)
        for quantity, price, kind in ((-1, 2.5, RETURN), (-2, 0.0, ADJUSTMENT), (3, 0.0, SALE))
    ]
    with_noise = sorted(quiet + noise, key=lambda one: one.time_us)
    plain, _ = score(with_ticks(quiet))
    noisy, _ = score(with_ticks(with_noise))
    assert plain["chance"].tolist() == noisy["chance"].tolist()


@pytest.mark.parametrize("price", [math.nan, 0.0, -1.0, 1e308])
def test_odd_shops_do_not_break_it(price: float) -> None:
    rng = np.random.default_rng(7)
    sales = [
        Event(int(time_us), 2_147_483_648, price, SALE, 0, 0, 0)
        for time_us in np.sort(rng.integers(-400 * DAY_US, 0, 300))
    ]
    found, _ = score(with_ticks(sales))
    assert not (found["chance"] < 1e-3).any()  # a shop of one SKU is its own clock
    assert not np.isnan(found["stake"]).any()


def test_define_agrees_with_score_and_cuts_change_no_byte() -> None:
    sales = silenced(silenced(shop(8, 45, 5, 3.0), 2, 25, 31), 4, 30, 60)
    events = with_ticks(sales)
    found, state = score(events)
    defined = SilentSku().define(events)
    assert len(found) >= 3
    assert [one["event"] for one in defined] == found["event"].tolist()
    for one, other in zip(defined, found, strict=True):
        assert one == pytest.approx({name: float(other[name]) for name in one}, rel=1e-5)
    starts = [i for i in range(1, len(events)) if events[i].time_us != events[i - 1].time_us]
    cuts = tuple(starts[:: len(starts) // 7])
    again, after = score(events, cuts)
    assert again.tolist() == found.tolist()
    assert after == state


def test_no_finding_is_above_what_is_noted_and_no_memory_is_refused() -> None:
    found, _ = score(with_ticks(shop(9, 60)))
    assert ((found["chance"] > 0) & (found["chance"] <= NOTED)).all()
    with pytest.raises(ConfigError, match="memory must be above 0s"):
        SilentSku(memory="0s")
