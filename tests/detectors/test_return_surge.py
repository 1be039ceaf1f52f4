"""Many customers who send one product back are found; one who sends back much is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, TICK, Event
from oddlot.detectors.return_surge import ReturnSurge
from oddlot.schema import CHARGE, RETURN, SALE

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START = 15_000 * DAY_US
SKUS = 400


def back(time_us: int, sku: int, customer: int, invoice: int, quantity: int = -1) -> Event:
    return Event(time_us, quantity, 2.5, RETURN, sku, invoice, customer)


def shop(days: int, seed: int = 3, sales: int = 60, returns: int = 8) -> list[Event]:
    """Return sales and now and then a return, of random SKUs and customers."""
    rng = np.random.default_rng(seed)
    lines = []
    for day in range(days):
        for _ in range(sales):
            time_us = START + day * DAY_US + int(rng.integers(9 * 60, 17 * 60)) * 60_000_000
            sku, customer = int(rng.integers(SKUS)), int(rng.integers(1, 500))
            lines.append(Event(time_us, 3, 2.5, SALE, sku, int(rng.integers(1, 2**60)), customer))
        for _ in range(returns):
            time_us = START + day * DAY_US + int(rng.integers(9 * 60, 17 * 60)) * 60_000_000
            sku, customer = int(rng.integers(SKUS)), int(rng.integers(1, 500))
            lines.append(back(time_us, sku, customer, int(rng.integers(1, 2**60))))
    return sorted(lines, key=lambda one: one.time_us)


def pack(events: list[Event]) -> Any:
    event = np.zeros(len(events), EVENT)
    for name in EVENT.names or ():
        event[name] = [getattr(one, name) for one in events]
    return event


def found_in(events: list[Event], cuts: tuple[int, ...] = ()) -> tuple[Any, bytes]:
    """Return the findings, and the bytes of all that is remembered."""
    detector = ReturnSurge()
    event = pack(events)
    rows, whole = np.zeros(SKUS, detector.row), np.zeros(1, detector.shop)
    every = []
    for first, last in zip([0, *cuts], [*cuts, len(event)], strict=True):
        rows, whole = rows.copy(), whole.copy()
        found, count = detector.score(rows, whole, event, first, last, np.zeros(1, detector.found))
        every.append(found[:count].copy())
    return np.concatenate(every), rows.tobytes() + whole.tobytes()


def surge(customers: int, day: int = 61, first: int = 0, sku: int = 7) -> list[Event]:
    """Return lines of one SKU, one an hour, each by another customer."""
    return [
        back(START + day * DAY_US + (9 + k) * HOUR_US, sku, 1_000 + k, 2_000 + k)
        for k in range(first, customers)
    ]


def test_a_surge_is_found_and_grows_odder_as_it_goes_on() -> None:
    events = sorted(shop(60) + surge(6), key=lambda one: one.time_us)
    found, _ = found_in(events)
    mine = found[(found["sku"] == 7) & (found["event"] >= len(events) - 6)]
    assert mine["customers"].tolist() == [3, 4, 6]
    assert all(np.diff(mine["chance"]) <= 0)
    assert mine["chance"][-1] < 1e-4
    assert mine["stake"][-1] == pytest.approx(6 * 2.5)


def test_customers_on_two_trading_days_count_together_across_a_weekend() -> None:
    found, _ = found_in(sorted(shop(60) + surge(2) + surge(4, 64, 2), key=lambda one: one.time_us))
    mine = found[(found["sku"] == 7)][-1]
    assert mine["customers"] == 4
    assert mine["days"] == 2


@pytest.mark.parametrize(
    "lines",
    [
        # one customer, ten lines on ten bills
        [back(START + 61 * DAY_US + k * HOUR_US, 7, 5, 100 + k) for k in range(10)],
        # one bill of ten lines, without a customer
        [back(START + 61 * DAY_US, 7, 0, 100) for _ in range(10)],
        # five customers who take back what they ordered on the day
        [
            one
            for k in range(5)
            for one in (
                Event(START + 61 * DAY_US + k * HOUR_US, 9_000, 2.5, SALE, 7, 50 + k, 70 + k),
                back(START + 61 * DAY_US + k * HOUR_US + 60_000_000, 7, 70 + k, 90 + k, -9_000),
            )
        ],
        [Event(START + 61 * DAY_US + k, -1, 2.5, CHARGE, 7, 9 + k, 9 + k) for k in range(9)],
    ],
)
def test_what_is_no_surge_is_silent(lines: list[Event]) -> None:
    quiet = shop(60)
    found, _ = found_in(quiet + lines)
    assert not any(found["event"] >= len(quiet))


def test_bills_that_return_a_whole_order_say_less_about_one_product() -> None:
    quiet = shop(60)
    alone, _ = found_in(quiet + surge(3))
    whole = [
        one
        for line in surge(3)
        for one in (
            line,
            *(back(line.time_us, sku, line.customer, line.invoice) for sku in range(20, 32)),
        )
    ]
    found, _ = found_in(quiet + whole)
    first = found[(found["sku"] == 7) & (found["event"] >= len(quiet))]
    assert not len(first) or first["chance"].min() > 3 * alone["chance"].min()


def test_a_shop_of_returns_alone_and_one_of_one_sku_are_silent() -> None:
    returns = [back(START + k * HOUR_US, k % 3, 1 + k, 1 + k) for k in range(800)]
    found, _ = found_in(returns)
    assert not len(found)
    one_sku = [
        Event(one.time_us, one.quantity, 2.5, one.kind, 0, one.invoice, one.customer)
        for one in shop(60)
    ]
    found, _ = found_in(one_sku)
    assert len(found) <= 2


def test_score_agrees_with_define() -> None:
    rng = np.random.default_rng(5)
    events = []
    surges = [line for sku in range(20, 26) for line in surge(6, 9 + sku % 3, sku=sku)]
    for one in shop(12, 4, 25, 8) + surges:
        customer = 0 if rng.random() < 0.1 else one.customer
        price = float(rng.choice([2.5, 0.0, float("nan")], p=[0.9, 0.05, 0.05]))
        time_us = one.time_us - one.time_us % (int(rng.choice([1, 4])) * HOUR_US)
        invoice = (
            int(rng.integers(0, 4)) if one.kind == RETURN and rng.random() < 0.3 else one.invoice
        )
        events.append(
            Event(time_us, one.quantity, price, one.kind, one.sku % 120, invoice, customer)
        )
    events += [Event(START + k * DAY_US, 0, float("nan"), TICK, -1) for k in range(12)]
    events.sort(key=lambda one: (one.time_us, one.kind != TICK))
    found, _ = found_in(events)
    expected = ReturnSurge().define(events)
    assert len(found) == len(expected) > 5
    for got, want in zip(found, expected, strict=True):
        for name, value in want.items():
            assert float(got[name]) == pytest.approx(value, rel=1e-5), name


def test_any_cut_gives_the_same() -> None:
    events = sorted(shop(20) + surge(6, 18), key=lambda one: one.time_us)
    whole, bytes_whole = found_in(events)
    cuts = tuple(i for i in range(1, len(events), 7) if events[i].time_us != events[i - 1].time_us)
    parts, bytes_parts = found_in(events, cuts)
    assert parts.tolist() == whole.tolist()
    assert bytes_parts == bytes_whole
