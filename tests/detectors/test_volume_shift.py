"""A whole shop that is busier or quieter than its weekdays and hours allow."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, TICK, Event
from oddlot.detectors.volume_shift import VolumeShift
from oddlot.errors import ConfigError
from oddlot.schema import CHARGE, RETURN, SALE

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
FIRST_DAY = 15_001  # so that numbers 0 to 4 of each seven are Monday to Friday
RATES = {9: 4.0, 10: 8.0, 11: 10.0, 12: 12.0, 13: 9.0, 14: 8.0, 15: 8.0, 16: 5.0}


def make_shop(
    days: dict[int, float], seed: int = 1, hours: range = range(9, 17)
) -> list[tuple[Any, ...]]:
    """Return lines and hourly ticks, day by day; how busy each is beside the usual."""
    rng = np.random.default_rng(seed)
    lines: list[tuple[Any, ...]] = []
    invoice = 0
    for day in range(FIRST_DAY, FIRST_DAY + max(days) + 2):
        for hour in range(24):
            start = day * DAY_US + hour * HOUR_US
            lines.append((start, 0, math.nan, 0, 0, -1, TICK))
            busy = days.get(day - FIRST_DAY, 0.0) if hour in hours else 0.0
            for second in np.sort(rng.integers(0, 3600, rng.poisson(busy * RATES.get(hour, 0)))):
                invoice += 1
                for sku in rng.integers(0, 5, int(rng.integers(1, 4))):
                    time_us = start + int(second) * 1_000_000
                    lines.append((time_us, 2, 2.5, invoice, 7, int(sku), SALE))
    return lines


def workdays(count: int, odd: dict[int, float] | None = None) -> dict[int, float]:
    return {day: 1.0 for day in range(count) if day % 7 < 5} | (odd or {})


def pack(lines: list[tuple[Any, ...]]) -> Any:
    return np.array(lines, EVENT)


def score(detector: VolumeShift, event: Any, cuts: list[int] | None = None) -> Any:
    rows, shop = np.zeros(5, detector.row), np.zeros(1, detector.shop)
    parts = []
    for first, last in pairwise([0, *(cuts or []), len(event)]):
        found, count = detector.score(rows, shop, event, first, last, np.zeros(1, detector.found))
        parts.append(found[:count].copy())
        shop = np.frombuffer(shop.tobytes(), detector.shop).copy()
    return np.concatenate(parts)


def same(left: Any, right: Any) -> bool:
    """Tell whether two findings agree to the bit; what lies between their fields is nobody's."""
    return all(left[name].tobytes() == right[name].tobytes() for name in left.dtype.names)


@pytest.mark.parametrize("busy", [0.2, 4.0])
def test_a_day_far_from_usual_is_found_on_that_day(busy: float) -> None:
    lines = make_shop(workdays(60, {59: busy}))
    found = score(VolumeShift(), pack(lines))
    assert len(found)
    assert set(found["sku"]) == {-1}
    days = [lines[k][0] // DAY_US - FIRST_DAY for k in found["event"]]
    assert set(days) == {59}
    assert (found["seen"][-1] > found["due"][-1]) == (busy > 1)
    assert found["stake"][-1] > 0


def test_usual_days_and_a_slow_rise_raise_nothing() -> None:
    days = {day: 1.02 ** (day / 2) for day in range(90) if day % 7 < 5}
    assert len(score(VolumeShift(), pack(make_shop(days, seed=2)))) == 0


def test_holidays_weekends_and_what_follows_raise_nothing() -> None:
    days = workdays(60)
    holiday = dict.fromkeys((28, 30, 46), 0.0)
    after = {75 + day: 2.0 for day in range(5)} | {82 + day: 1.0 for day in range(5)}
    found = score(VolumeShift(), pack(make_shop({**days, **holiday, **after}, seed=3)))
    assert len(found) == 0


def test_a_hole_in_the_day_is_left_to_the_outage_detector() -> None:
    lines = make_shop(workdays(60))
    hole = (FIRST_DAY + 59) * DAY_US + 11 * HOUR_US
    lines = [one for one in lines if one[6] == TICK or not hole <= one[0] < hole + 3 * HOUR_US]
    assert len(score(VolumeShift(), pack(lines))) == 0


def test_returns_charges_and_gifts_do_not_count() -> None:
    lines = make_shop(workdays(60))
    start = (FIRST_DAY + 59) * DAY_US + 12 * HOUR_US
    for n in range(500):
        lines.append((start + n, -1, 2.5, 10**6 + n, 7, 1, RETURN))
        lines.append((start + n, 1, 2.5, 10**6 + n, 7, 1, CHARGE))
        lines.append((start + n, 1, 0.0, 10**6 + n, 7, 1, SALE))
    lines.sort(key=lambda line: line[0])
    assert len(score(VolumeShift(), pack(lines))) == 0


def test_score_agrees_with_define() -> None:
    odd = {32: 0.1, 44: 5.0, 64: 0.2, 65: 6.0}
    days = {day: busy for day, busy in workdays(67, odd).items() if not 45 < day < 52}
    lines = make_shop(days, seed=4)
    lines = [(time_us - 20_000 * DAY_US, *rest) for time_us, *rest in lines]  # before 1970 too
    events = [
        Event(time_us, quantity, price, kind, sku, invoice, customer)
        for time_us, quantity, price, invoice, customer, sku, kind in lines
    ]
    detector = VolumeShift(memory="30d")
    expected = detector.define(events)
    found = score(detector, pack(lines))
    assert len(expected) == len(found) > 1
    for one, out in zip(expected, found, strict=True):
        for name, value in one.items():
            assert float(out[name]) == pytest.approx(value, rel=1e-5, abs=1e-9), name


def test_any_cut_gives_the_same_bytes() -> None:
    event = pack(make_shop(workdays(50, {39: 5.0, 46: 0.1})))
    whole = score(VolumeShift(), event)
    assert len(whole)
    places = [n for n in range(1, len(event)) if event["time_us"][n] != event["time_us"][n - 1]]
    for step in (3, 100):
        assert same(score(VolumeShift(), event, places[::step]), whole)


def test_odd_numbers_and_gaps_of_years_raise_nothing() -> None:
    rng = np.random.default_rng(5)
    time_us, lines = -50 * 365 * DAY_US, []
    for n in range(2000):
        time_us += int(rng.integers(0, HOUR_US)) + (900 * DAY_US if n % 400 == 399 else 0)
        quantity = int(rng.choice([1, -3, 2**31 - 1, -(2**31 - 1)]))
        price = float(rng.choice([math.nan, 0.0, -2.0, 3.5, 1e300]))
        lines.append((time_us, quantity, price, n, 0, 0, int(rng.choice([SALE, RETURN]))))
    assert len(score(VolumeShift(), pack(lines))) == 0


def test_the_memory_must_be_above_nought() -> None:
    with pytest.raises(ConfigError, match="above 0s"):
        VolumeShift(memory="0s")
