"""A product in far more orders than its rate allows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, TICK, Event
from oddlot.detectors.demand_surge import DemandSurge
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE
from oddlot.statistics.rates import DISPERSION, PRIOR_SHAPE, chance_of_more
from oddlot.statistics.tails import upper_tail

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
FIRST_DAY = 15_000
SKUS = 40


def make_shop(
    days: int, seed: int = 1, orders_a_day: int = 30, start: int = FIRST_DAY, most: int = 12
) -> list[tuple[Any, ...]]:
    """Return lines of a small shop, five days a week, as tuples in the order of EVENT."""
    rng = np.random.default_rng(seed)
    lines = []
    invoice = 0
    for day in range(start, start + days):
        if day % 7 in (0, 6):
            continue
        for minute in np.sort(rng.integers(9 * 60, 17 * 60, orders_a_day)):
            invoice += 1
            customer = int(rng.integers(1, 60)) if rng.random() < 0.8 else 0
            time_us = day * DAY_US + int(minute) * MINUTE_US
            basket = rng.choice(SKUS, int(rng.integers(1, most)), replace=False)
            lines += [
                (time_us, int(rng.integers(1, 9)), 2.5, invoice, customer, int(sku), SALE)
                for sku in basket
            ]
    return lines


def add_surge(
    lines: list[tuple[Any, ...]], sku: int, day: int, orders: int
) -> list[tuple[Any, ...]]:
    """Put a SKU on orders of its own, one each ten minutes, by customers of their own."""
    extra = [
        (day * DAY_US + (600 + 10 * n) * MINUTE_US, 2, 2.5, 10**6 + n, 10**6 + n, sku, SALE)
        for n in range(orders)
    ]
    return sorted(lines + extra, key=lambda line: line[0])


def pack(lines: list[tuple[Any, ...]]) -> Any:
    return np.array(lines, EVENT)


def score(
    detector: DemandSurge, event: Any, cuts: list[int] | None = None, skus: int = SKUS + 9
) -> Any:
    rows, shop = np.zeros(skus, detector.row), np.zeros(1, detector.shop)
    parts = []
    places = [0, *(cuts or []), len(event)]
    for first, last in pairwise(places):
        found, count = detector.score(rows, shop, event, first, last, np.zeros(1, detector.found))
        parts.append(found[:count].copy())
        rows = np.frombuffer(rows.tobytes(), detector.row).copy()
        shop = np.frombuffer(shop.tobytes(), detector.shop).copy()
    return np.concatenate(parts)


def same(left: Any, right: Any) -> bool:
    """Tell whether two findings agree to the bit; what lies between their fields is nobody's."""
    return all(left[name].tobytes() == right[name].tobytes() for name in left.dtype.names)


def test_a_product_that_everybody_wants_is_found_while_it_happens() -> None:
    lines = add_surge(make_shop(60), sku=3, day=FIRST_DAY + 59, orders=25)
    found = score(DemandSurge(), pack(lines))
    surge = found[(found["sku"] == 3) & (found["chance"] < 1e-5)]
    assert len(surge) >= 1
    first = lines[surge["event"][0]][0] - (FIRST_DAY + 59) * DAY_US
    assert first < (600 + 10 * 12) * MINUTE_US
    assert surge["chance"].min() == found["chance"].min()
    assert surge["stake"][-1] > 0


def test_a_quiet_shop_says_little() -> None:
    found = score(DemandSurge(), pack(make_shop(90, seed=2)))
    assert np.count_nonzero(found["chance"] < 1e-4) == 0


def test_a_busy_day_of_the_whole_shop_is_no_surge() -> None:
    quiet, busy = make_shop(60), make_shop(3, seed=5, orders_a_day=300, start=FIRST_DAY + 63)
    found = score(DemandSurge(), pack(quiet + busy))
    assert np.count_nonzero(found["chance"] < 1e-4) == 0


def test_weekends_and_a_long_holiday_raise_nothing() -> None:
    before, after = make_shop(60), make_shop(10, seed=4, start=FIRST_DAY + 80)
    ticks = [
        (FIRST_DAY * DAY_US + 60 * DAY_US + n * 15 * MINUTE_US, 0, math.nan, 0, 0, -1, TICK)
        for n in range(20 * 96)
    ]
    found = score(DemandSurge(), pack(before + ticks + after))
    assert np.count_nonzero(found["chance"] < 1e-4) == 0


def test_wholesale_lists_of_regular_customers_say_less_than_small_orders_of_new_ones() -> None:
    quiet = make_shop(60, most=20)
    small = add_surge(quiet, sku=3, day=FIRST_DAY + 59, orders=8)
    large = list(quiet)
    for n in range(8):
        time_us = (FIRST_DAY + 59) * DAY_US + (600 + 10 * n) * MINUTE_US
        customer = 1 + n
        large += [(time_us, 2, 2.5, 10**6 + n, customer, sku, SALE) for sku in range(25)]
    large.sort(key=lambda line: line[0])
    few = [
        part[part["sku"] == 3]["chance"].min(initial=1.0)
        for part in (score(DemandSurge(), pack(lines)) for lines in (small, large))
    ]
    assert few[0] < few[1] / 100


def test_returns_charges_corrections_and_repeated_lines_are_no_demand() -> None:
    lines = make_shop(40)
    day = (FIRST_DAY + 39) * DAY_US
    for n in range(40):
        time_us = day + (600 + n) * MINUTE_US
        lines += [
            (time_us, -2, 2.5, 10**6 + n, 7, 3, RETURN),
            (time_us, 2, 2.5, 10**6 + n, 7, 3, CHARGE),
            (time_us, -5, 0.0, 10**6 + n, 0, 3, ADJUSTMENT),
            (time_us, 5, 0.0, 10**6 + n, 0, 3, SALE),
            (time_us, 5, 2.5, 10**7, 9, 5, SALE),
        ]
    lines.sort(key=lambda line: line[0])
    found = score(DemandSurge(), pack(lines))
    assert np.count_nonzero((found["chance"] < 1e-3) & np.isin(found["sku"], (3, 5))) == 0


def random_lines(seed: int, count: int) -> list[tuple[Any, ...]]:
    """Return lines of all kinds, odd ones too; each 150 lines a rare SKU is wanted for a while."""
    rng = np.random.default_rng(seed)
    steps = np.array([0, MINUTE_US, 3_600_000_000, DAY_US, 5 * DAY_US])
    steps = rng.choice(steps, count, p=[0.6, 0.3, 0.06, 0.03, 0.01])
    time_us = -3 * DAY_US + np.cumsum(steps)
    lines = []
    for n in range(count):
        kind = int(rng.choice([SALE] * 12 + [RETURN, ADJUSTMENT, CHARGE, TICK]))
        sku = int(rng.geometric(0.1) % 30)
        price = float(rng.choice([2.5, 1.25, 9.0, 2.5, 1.25, 9.0, 2.5, 0.0, -1.0, math.nan]))
        quantity = int(rng.choice([1, 2, 12, 6, 3, 1, -3, 0, 2**31 - 1]))
        invoice, customer = int(rng.integers(0, 40) + n // 8), int(rng.integers(0, 12))
        if n % 150 > 130:
            sku, kind, invoice = 31, SALE, 1000 + n // int(rng.integers(1, 4))
        if kind == TICK:
            sku = -1
        lines.append((int(time_us[n]), quantity, price, invoice, customer, sku, kind))
    return lines


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_score_agrees_with_define(seed: int) -> None:
    detector = DemandSurge(memory="4d", fewest=2)
    lines = random_lines(seed, 700)
    if seed == 3:
        lines = add_surge(make_shop(25, orders_a_day=4), sku=3, day=FIRST_DAY + 22, orders=12)
    events = [
        Event(time_us, quantity, price, kind, sku, invoice, customer)
        for time_us, quantity, price, invoice, customer, sku, kind in lines
    ]
    expected = detector.define(events)
    found = score(detector, pack(lines))
    assert len(expected) == len(found) > 0
    for one, out in zip(expected, found, strict=True):
        for name, value in one.items():
            assert float(out[name]) == pytest.approx(value, rel=1e-5, abs=1e-9), name


def test_any_cut_gives_the_same_bytes() -> None:
    event = pack(random_lines(4, 900))
    detector = DemandSurge(fewest=2)
    whole = score(detector, event)
    assert len(whole)
    places = [n for n in range(1, len(event)) if event["time_us"][n] != event["time_us"][n - 1]]
    for step in (1, 7, 100):
        assert same(score(detector, event, places[::step]), whole)


def test_a_shop_with_one_product_and_gaps_of_years_stays_sane() -> None:
    rng = np.random.default_rng(3)
    time_us = -40 * 365 * DAY_US
    lines = []
    for n in range(3000):
        time_us += int(rng.integers(0, 20 * MINUTE_US)) + (800 * DAY_US if n % 500 == 499 else 0)
        lines.append((time_us, 1, math.nan, n + 1, 0, 0, SALE))
    found = score(DemandSurge(), pack(lines))
    assert len(found) == 0


def test_the_memory_must_be_above_nought() -> None:
    with pytest.raises(ConfigError, match="above 0s"):
        DemandSurge(memory="0s")


def test_a_quick_tail_is_the_exact_one() -> None:
    for count, mean, orders in ((3.0, 0.4, 2.0), (40.0, 11.0, 300.0), (150.0, 60.0, 9.0)):
        shape = 1 / (DISPERSION + 1 / (orders + PRIOR_SHAPE))
        exact = upper_tail(count, shape, mean, 0.5)
        assert chance_of_more(count, mean, orders) == pytest.approx(exact, rel=1e-6)
