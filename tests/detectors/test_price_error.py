"""A wrong unit price, told from the new prices that a shop gives every day."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, NOTED, TICK, Event
from oddlot.detectors.price_error import PriceError
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000


def pack(events: list[Event]) -> Any:
    packed = np.zeros(len(events), EVENT)
    for i, one in enumerate(events):
        packed[i] = tuple(getattr(one, name) for name in EVENT.names or ())
    return packed


def score(events: list[Event], cuts: tuple[int, ...] = (), skus: int = 64) -> tuple[Any, bytes]:
    """Return the findings and what is remembered, with rows and shop saved at each cut."""
    detector = PriceError()
    packed = pack(events)
    rows, shop = np.zeros(skus, detector.row), np.zeros(1, detector.shop)
    parts = []
    for first, last in zip((0, *cuts), (*cuts, len(events)), strict=True):
        rows = np.frombuffer(rows.tobytes(), detector.row).copy()
        shop = np.frombuffer(shop.tobytes(), detector.shop).copy()
        found, count = detector.score(rows, shop, packed, first, last, np.zeros(1, detector.found))
        parts.append(found[:count].copy())
    return np.concatenate(parts), rows.tobytes() + shop.tobytes()


def sale(time_us: int, sku: int, price: float, invoice: int, customer: int = 7) -> Event:
    return Event(time_us, 6, price, SALE, sku, invoice, customer)


def trade(days: int = 30) -> list[Event]:
    """Twenty SKUs at 0.50 to 2.40, three lines each a day, now and then a mark-down."""
    events = []
    for number in range(days * 20):
        day, place = divmod(number, 20)
        for sku in range(place, place + 3):
            price = 0.5 + 0.1 * (sku % 20)
            price = 0.39 if number % 37 == 0 and sku == place else price
            time_us = day * DAY_US + place * MINUTE_US
            events.append(sale(time_us, sku % 20, round(price, 2), number + 1))
    return events


@pytest.mark.parametrize("price", [15.00, 0.15, 150.0, 0.02, 0.0, 4.50, 0.50])
def test_a_slip_of_the_decimal_point_a_pack_price_and_no_price_are_found(price: float) -> None:
    events = [*trade(), sale(31 * DAY_US, 10, price, 9_999)]
    found, _ = score(events)
    last = found[found["event"] == len(events) - 1]
    assert len(last) == 1
    assert last["chance"][0] < 1e-2
    assert last["usual"][0] == pytest.approx(1.50)
    assert last["stake"][0] == pytest.approx(abs(price - 1.50) * 6)


def test_a_known_price_a_mark_down_and_the_same_new_price_again_are_not() -> None:
    events = [
        *trade(),
        sale(31 * DAY_US, 10, 1.50, 9_998),
        sale(31 * DAY_US, 11, 0.39, 9_998),
        sale(32 * DAY_US, 12, 17.00, 9_999),
        sale(33 * DAY_US, 12, 17.00, 10_000),
    ]
    found, _ = score(events)
    assert found["event"][-1:].tolist() == [len(events) - 2]
    assert (found["event"] >= len(trade())).sum() == 1


def test_a_whole_invoice_by_another_price_list_is_less_odd_than_one_line_of_it() -> None:
    slip = sale(31 * DAY_US, 10, 4.50, 9_999)
    alone, _ = score([*trade(), slip])
    others = [sale(31 * DAY_US, sku, round((0.5 + 0.1 * sku) * 2.43, 2), 9_999) for sku in range(9)]
    among, _ = score([*trade(), *others, slip])
    chance = among["chance"][among["event"] == len(trade()) + 9]
    assert len(chance) == 0 or chance[0] > 5 * alone["chance"][-1]


def test_lines_of_one_instant_do_not_learn_from_each_other() -> None:
    twice = [sale(31 * DAY_US, 10, 15.00, 9_998), sale(31 * DAY_US, 10, 15.00, 9_999)]
    found, _ = score([*trade(), *twice])
    late = found[found["event"] >= len(trade())]
    assert len(late) == 2
    assert late["chance"][0] == late["chance"][1]


def test_stock_corrections_returns_charges_and_first_sales_are_no_price_errors() -> None:
    end = 31 * DAY_US
    events = [
        *trade(),
        Event(end, 5, 0.0, SALE, 10, 1, 0),
        Event(end, -5, 0.0, ADJUSTMENT, 10, 2, 0),
        Event(end, -5, 99.0, RETURN, 10, 3, 7),
        Event(end, 1, -11_062.06, CHARGE, 10, 4, 0),
        Event(end, 5, 99.0, SALE, 30, 5, 7),
        Event(end, 5, math.nan, SALE, 10, 6, 7),
        Event(end + 1, 0, math.nan, TICK, -1),
    ]
    assert not (score(events)[0]["event"] >= len(trade())).any()


def test_a_shop_with_all_prices_zero_or_constant_says_nothing() -> None:
    free = [sale(i * MINUTE_US, i % 3, 0.0, i + 1) for i in range(300)]
    constant = [sale(i * MINUTE_US, i % 3, 2.5, i + 1) for i in range(300)]
    assert len(score(free)[0]) == len(score(constant)[0]) == 0


def wild_shop(seed: int, size: int = 250) -> list[Event]:
    """Any kind, price, quantity and customer, in instants of several lines."""
    rng = np.random.default_rng(seed)
    prices = [0.42, 0.85, 1.25, 4.2, 0.04, 2.55, 125.0, 0.0, -3.0, math.nan, 8142.75, 1e12, 0.001]
    odds = np.array([30, 30, 30, 1, 1, 1, 1, 1, 0.3, 0.3, 0.3, 0.3, 0.3])
    time_us = -400 * 365 * DAY_US // 10
    events = []
    for _ in range(size):
        time_us += int(
            rng.choice([0, 0, MINUTE_US, DAY_US // 3, 400 * DAY_US], p=[0.4, 0.3, 0.2, 0.09, 0.01])
        )
        kind = int(
            rng.choice([SALE, RETURN, ADJUSTMENT, CHARGE, TICK], p=[0.9, 0.02, 0.02, 0.02, 0.04])
        )
        price = float(rng.choice(prices, p=odds / odds.sum()))
        if rng.random() < 0.05:
            price = round(float(rng.uniform(0.01, 60)), 2)
        quantity = int(
            rng.choice([0, 1, 6, 12, 2**31 - 1, -(2**31)], p=[0.02, 0.3, 0.3, 0.34, 0.02, 0.02])
        )
        sku, invoice, customer = (int(rng.integers(0, n)) for n in (4, 6, 3))
        if kind == TICK:
            sku, quantity, price, invoice, customer = -1, 0, math.nan, 0, 0
        events.append(Event(time_us, quantity, price, kind, sku, invoice, customer))
    return events


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_score_agrees_with_its_definition(seed: int) -> None:
    events = wild_shop(seed)
    found, _ = score(events)
    expected = PriceError().define(events)
    assert found["event"].tolist() == [one["event"] for one in expected]
    for i, one in enumerate(expected):
        for name, value in one.items():
            assert found[name][i] == pytest.approx(value, rel=1e-5), (name, i)
    assert len(expected) > 0
    assert (found["chance"] > 0).all()
    assert (found["chance"] <= NOTED).all()


@pytest.mark.parametrize("seed", [4, 5])
def test_any_cut_gives_the_same_bytes(seed: int) -> None:
    events = wild_shop(seed)
    possible = [i for i in range(1, len(events)) if events[i].time_us != events[i - 1].time_us]
    whole = score(events)
    for cuts in (possible, possible[::7]):
        found, memory = score(events, tuple(cuts))
        assert found.tolist() == whole[0].tolist()
        assert memory == whole[1]


def test_a_memory_below_a_day_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory must be at least 1d"):
        PriceError(memory="5m")
