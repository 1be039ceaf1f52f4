"""Cases keyed as single units: a SKU's lines of one day too large by one factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, Event
from oddlot.detectors.unit_mixup import UnitMixup
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, SALE

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
SKUS = 12


def shop(days: int, seed: int = 1) -> list[Event]:
    """Return a shop of 12 SKUs in which 9 customers buy a few at a time."""
    chance = np.random.default_rng(seed)
    events = []
    for day in range(15_000, 15_000 + days):
        for order in range(12):
            customer = int(chance.integers(1, 10))
            time_us = day * DAY_US + (540 + 35 * order) * MINUTE_US
            for sku in chance.choice(SKUS - 1, 4, replace=False):
                quantity = int(chance.choice([1, 2, 3, 4, 6], p=[0.3, 0.3, 0.1, 0.2, 0.1]))
                invoice = day * 100 + order + 1
                events.append(Event(time_us, quantity, 2.0, SALE, int(sku), invoice, customer))
    return events


def pack(events: list[Event]) -> Any:
    packed = np.zeros(len(events), EVENT)
    for i, one in enumerate(events):
        packed[i] = tuple(getattr(one, name) for name in EVENT.names or ())
    return packed


def score(events: list[Event], cuts: tuple[int, ...] = ()) -> tuple[Any, bytes]:
    """Return the findings and what is remembered, with rows and shop saved at each cut."""
    detector = UnitMixup()
    packed = pack(events)
    rows, own = np.zeros(SKUS, detector.row), np.zeros(1, detector.shop)
    parts = []
    for first, last in zip((0, *cuts), (*cuts, len(events)), strict=True):
        rows = np.frombuffer(rows.tobytes(), detector.row).copy()
        own = np.frombuffer(own.tobytes(), detector.shop).copy()
        found, count = detector.score(rows, own, packed, first, last, np.zeros(1, detector.found))
        parts.append(found[:count].copy())
    return np.concatenate(parts), rows.tobytes() + own.tobytes()


def multiplied(events: list[Event], sku: int, day: int, factor: int) -> list[Event]:
    """Return the shop with all of a SKU's quantities of one day multiplied."""
    return [
        Event(
            one.time_us,
            one.quantity * (factor if one.sku == sku and one.time_us // DAY_US == day else 1),
            *(one.price, one.kind, one.sku, one.invoice, one.customer),
        )
        for one in events
    ]


@pytest.mark.parametrize("factor", [6, 12, 24])
def test_a_day_keyed_in_cases_is_found_at_the_second_buyer_and_grows(factor: int) -> None:
    day = 15_059
    events = multiplied(shop(60), 3, day, factor)
    found, _ = score(events)
    mine = found[(found["sku"] == 3) & (found["event"] >= len(events) - 48)]
    lines = [i for i, one in enumerate(events) if one.sku == 3 and one.time_us // DAY_US == day]
    assert len(lines) >= 3
    assert mine["event"][0] == lines[1]
    assert mine["chance"][-1] < mine["chance"][0] < 1e-2
    assert mine["factor"][-1] == factor
    assert found["chance"].min() == mine["chance"].min()


def test_one_wrong_line_among_right_ones_is_no_mixup() -> None:
    events = shop(60)
    day = 15_059
    lines = [i for i, one in enumerate(events) if one.sku == 3 and one.time_us // DAY_US == day]
    one = events[lines[0]]
    events[lines[0]] = Event(one.time_us, 24 * one.quantity, 2.0, SALE, 3, one.invoice, 5)
    found, _ = score(events)
    assert not len(found) or found[found["sku"] == 3]["chance"].min(initial=1.0) > 1e-4


def test_one_buyer_who_orders_twice_counts_once() -> None:
    past = shop(60)
    time_us = past[-1].time_us + DAY_US
    same = [Event(time_us + i, 48, 2.0, SALE, 3, 70 + i, 4) for i in range(4)]
    others = [Event(time_us + i, 48, 2.0, SALE, 3, 70 + i, 4 + i) for i in range(4)]
    found, _ = score(past + same)
    assert not (found["event"] >= len(past)).any()
    found, _ = score(past + others)
    assert (found["event"] >= len(past)).any()


def test_adjustments_and_lines_without_a_price_change_nothing() -> None:
    past = shop(30)
    time_us = past[-1].time_us + DAY_US
    others = [Event(time_us + i, 240, 0.0, SALE, 3, 0, 0) for i in range(4)]
    others += [Event(time_us + 9, -240, 0.0, ADJUSTMENT, 3, 0, 0)]
    before, remembered = score(past)
    found, remembered_after = score(past + others)
    assert len(before) == len(found)
    assert remembered == remembered_after


def test_cuts_and_restarts_change_no_byte() -> None:
    events = multiplied(shop(40, 2), 5, 15_030, 12)
    cuts = [i for i in range(1, len(events)) if events[i].time_us != events[i - 1].time_us]
    whole, remembered = score(events)
    assert len(whole)
    for some in (tuple(cuts[::50]), tuple(cuts[360:372])):
        pieces, after_pieces = score(events, some)
        assert all(whole[name].tobytes() == pieces[name].tobytes() for name in whole.dtype.names)
        assert remembered == after_pieces


def test_the_definition_says_the_same() -> None:
    events = multiplied(multiplied(shop(14, 5), 2, 15_006, 12), 4, 15_012, 6)
    events = [
        Event(*(one.time_us, one.quantity, one.price, one.kind, one.sku, one.invoice), customer)
        for i, one in enumerate(events)
        for customer in (one.customer if i % 7 else 0,)
    ]
    found, _ = score(events)
    expected = UnitMixup().define(events)
    assert len(found) > 2
    assert [dict(zip(found.dtype.names, one.item(), strict=True)) for one in found] == [
        pytest.approx(one, rel=1e-5, abs=1e-9) for one in expected
    ]


def test_a_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory must be above 0s"):
        UnitMixup(memory="0s")
