"""A line far larger than its SKU sells in, told from bulk orders by what surrounds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, NOTED, Event
from oddlot.detectors.quantity_spike import QuantitySpike, _slip
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
SKUS = 12


def shop(days: int, seed: int = 1, start_day: int = 15_000) -> list[Event]:
    """Return a shop of 12 SKUs in which customer 9 buys ten times as much, 30 % cheaper."""
    chance = np.random.default_rng(seed)
    events = []
    for day in range(start_day, start_day + days):
        for order in range(12):
            customer = int(chance.integers(1, 10))
            time_us = day * DAY_US + (540 + 35 * order) * MINUTE_US
            for sku in chance.choice(SKUS - 1, 4, replace=False):
                quantity = int(chance.choice([1, 2, 3, 6, 6, 12], p=[0.2, 0.2, 0.1, 0.2, 0.2, 0.1]))
                price = 1.0 + int(sku)
                if customer == 9:
                    quantity, price = 10 * quantity, 0.7 * price
                invoice = day * 100 + order + 1
                events.append(Event(time_us, quantity, price, SALE, int(sku), invoice, customer))
    return events


def pack(events: list[Event]) -> Any:
    packed = np.zeros(len(events), EVENT)
    for i, one in enumerate(events):
        packed[i] = tuple(getattr(one, name) for name in EVENT.names or ())
    return packed


def score(events: list[Event], cuts: tuple[int, ...] = ()) -> tuple[Any, bytes]:
    """Return the findings and what is remembered, with rows and shop saved at each cut."""
    detector = QuantitySpike()
    packed = pack(events)
    rows, own = np.zeros(SKUS, detector.row), np.zeros(1, detector.shop)
    parts = []
    for first, last in zip((0, *cuts), (*cuts, len(events)), strict=True):
        rows = np.frombuffer(rows.tobytes(), detector.row).copy()
        own = np.frombuffer(own.tobytes(), detector.shop).copy()
        found, count = detector.score(rows, own, packed, first, last, np.zeros(1, detector.found))
        parts.append(found[:count].copy())
    return np.concatenate(parts), rows.tobytes() + own.tobytes()


def after(events: list[Event], *lines: tuple[int, int, float, int]) -> list[Event]:
    """Add an order of (SKU, quantity, price, customer) a day after the last line."""
    time_us = events[-1].time_us + DAY_US
    return events + [
        Event(time_us, quantity, price, SALE, sku, 77, customer)
        for sku, quantity, price, customer in lines
    ]


def chance_of(events: list[Event], number: int) -> float:
    found, _ = score(events)
    mine = found["chance"][found["event"] == number]
    return float(mine[0]) if len(mine) else 1.0


@pytest.mark.parametrize(("wrong", "meant"), [(120, 12), (1200, 12), (127, 12), (1212, 12)])
def test_a_slip_of_the_keys_is_found_at_its_line_with_what_was_meant(
    wrong: int, meant: int
) -> None:
    past = shop(60)
    events = after(past, (1, 2, 2.0, 3), (2, wrong, 3.0, 3), (3, 6, 4.0, 3))
    found, _ = score(events)
    mine = found[found["event"] == len(past) + 1]
    assert len(mine) == 1
    assert mine["chance"][0] < 1e-3
    assert mine["meant"][0] == meant
    assert mine["low"][0] <= 6 <= mine["high"][0] <= mine["most"][0]
    assert mine["stake"][0] == pytest.approx((wrong - meant) * 3.0)


def test_the_same_quantity_is_less_odd_from_one_who_buys_much_of_all_at_a_discount() -> None:
    past = shop(60)
    alone = after(past, (1, 2, 2.0, 3), (2, 120, 3.0, 3), (3, 6, 4.0, 3))
    bulk = after(past, (1, 120, 1.4, 9), (2, 120, 2.1, 9), (3, 60, 2.8, 9))
    assert chance_of(alone, len(past) + 1) < 0.1 * chance_of(bulk, len(past) + 1)


def test_a_giant_first_line_of_a_new_sku_borrows_from_the_catalogue() -> None:
    past = shop(60)
    events = after(past, (SKUS - 1, 74_215, 1.04, 12_346))
    found, _ = score(events)
    assert found["event"][found["chance"].argmin()] == len(past)
    assert found["seen"][found["chance"].argmin()] == 0


@pytest.mark.parametrize("kind", [RETURN, ADJUSTMENT, CHARGE])
def test_only_sales_with_a_price_are_judged(kind: int) -> None:
    past = shop(30)
    time_us = past[-1].time_us + DAY_US
    others = [
        Event(time_us, 12_000, 3.0, kind, 2, 5, 3),
        Event(time_us, 12_000, 0.0, SALE, 2, 0, 0),
        Event(time_us, 12_000, float("nan"), SALE, 2, 0, 0),
        Event(time_us, -12_000, 3.0, SALE, 2, 0, 0),
    ]
    before, remembered = score(past)
    found, remembered_after = score(past + others)
    assert np.array_equal(before, found)
    assert remembered == remembered_after


def test_constant_quantities_are_quiet_whatever_the_pack() -> None:
    for quantity in (1, 12, 144):
        events = [
            Event(day * DAY_US + 540 * MINUTE_US, quantity, 1.0, SALE, day % 3, day + 400, day % 5)
            for day in range(-300, 300)  # a year before 1970 too
        ]
        found, _ = score(events)
        assert (found["chance"] > 1e-4).all()


def test_lines_of_one_instant_are_judged_by_what_was_known_before_it() -> None:
    past = shop(30)
    once = after(past, (2, 1200, 3.0, 0))
    twice = [*once, Event(once[-1].time_us, 1200, 3.0, SALE, 2, 78, 0)]
    first, second = score(once)[0], score(twice)[0]
    assert first[first["event"] == len(past)]["chance"] == pytest.approx(
        second[second["event"] == len(past)]["chance"]
    )
    assert second["chance"][-1] == pytest.approx(second["chance"][-2])


def test_cuts_and_restarts_change_no_byte() -> None:
    events = shop(40, 2)
    events[700:700] = [Event(events[700].time_us, 1200, 3.0, SALE, 2, 78, 4)]
    cuts = [i for i in range(1, len(events)) if events[i].time_us != events[i - 1].time_us]
    whole, remembered = score(events)
    for some in (tuple(cuts[::50]), (cuts[0], cuts[-1])):
        pieces, after_pieces = score(events, some)
        assert all(whole[name].tobytes() == pieces[name].tobytes() for name in whole.dtype.names)
        assert remembered == after_pieces


def test_the_definition_says_the_same() -> None:
    chance = np.random.default_rng(5)
    events = []
    for one in shop(14, 5):
        wrong = chance.random() < 0.03
        customer = 0 if chance.random() < 0.1 else one.customer
        quantity = one.quantity * (10 if wrong else 1)
        events.append(Event(one.time_us, quantity, one.price, SALE, one.sku, one.invoice, customer))
    found, _ = score(events)
    expected = QuantitySpike().define(events)
    assert len(found) > 5
    assert [dict(zip(found.dtype.names, one.item(), strict=True)) for one in found] == [
        pytest.approx(one, rel=1e-5, abs=1e-9) for one in expected
    ]


def test_slips_are_read_from_the_digits() -> None:
    assert [_slip(1200, kind)[0] for kind in range(4)] == [120, 12, 0, 0]
    assert [_slip(127, kind)[0] for kind in range(4)] == [0, 0, 12, 0]
    assert [_slip(1212, kind)[0] for kind in range(4)] == [0, 0, 121, 12]
    assert [_slip(77, kind)[0] for kind in range(4)] == [0, 0, 7, 7]
    assert _slip(1012, 3)[0] == 0


def test_a_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory must be above 0s"):
        QuantitySpike(memory="0s")
    assert NOTED > 0
