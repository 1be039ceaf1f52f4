"""A mistyped code, told from the new codes that every season brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, NOTED, TICK, Event
from oddlot.detectors.new_sku import NewSku
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE
from oddlot.statistics import codes

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
RANGE = [f"{20_000 + 137 * i}" for i in range(60)]


def pack(events: list[Event]) -> Any:
    packed = np.zeros(len(events), EVENT)
    for i, one in enumerate(events):
        packed[i] = tuple(getattr(one, name) for name in EVENT.names or ())
    return packed


def names_of(spelt: Sequence[str]) -> tuple[Any, Any]:
    sizes = [len(code.encode()) for code in spelt]
    return (
        np.frombuffer("".join(spelt).encode() + bytes(64), np.uint8),
        np.cumsum([0, *sizes], dtype=np.int64),
    )


def score(
    events: list[Event], spelt: Sequence[str] | None, cuts: tuple[int, ...] = ()
) -> tuple[Any, bytes]:
    """Return the findings and what is remembered, with rows and shop saved at each cut."""
    detector = NewSku()
    packed = pack(events)
    names = names_of(spelt) if spelt is not None else ()
    rows, shop = np.zeros(200, detector.row), np.zeros(1, detector.shop)
    parts = []
    for first, last in zip((0, *cuts), (*cuts, len(events)), strict=True):
        rows = np.frombuffer(rows.tobytes(), detector.row).copy()
        shop = np.frombuffer(shop.tobytes(), detector.shop).copy()
        found, count = detector.score(
            rows, shop, packed, first, last, np.zeros(1, detector.found), *names
        )
        parts.append(found[:count].copy())
    return np.concatenate(parts), rows.tobytes() + shop.tobytes()


def sale(time_us: int, sku: int, price: float) -> Event:
    return Event(time_us, 6, price, SALE, sku, 1, 7)


def price_of(sku: int) -> float:
    return 1.05 + 0.37 * sku


def trade(days: int = 15) -> list[Event]:
    """Sixty SKUs, one line each a day, three of them far more."""
    return [
        sale(day * DAY_US + place * MINUTE_US, sku, price_of(sku))
        for day in range(days)
        for place, sku in enumerate([*range(60), *[1, 2, 3] * 10])
    ]


@pytest.mark.parametrize("typed", ["21037", "20237", "201377", "2137", "20138"])
def test_one_keystroke_from_a_code_that_sells_at_its_price_is_found(typed: str) -> None:
    end = 31 * DAY_US
    found, _ = score([*trade(), sale(end, 60, price_of(1))], [*RANGE, typed])
    assert found["sku"].tolist() == [60]
    assert found["chance"][0] < NOTED / 2
    assert found["usual"][0] == pytest.approx(price_of(1))
    assert found["lines"][0] == 15 * 11


def test_another_price_or_a_code_far_from_all_is_less_odd() -> None:
    end = 31 * DAY_US
    at_price, _ = score([*trade(), sale(end, 60, price_of(1))], [*RANGE, "20138"])
    elsewhere, _ = score([*trade(), sale(end, 60, 77.77)], [*RANGE, "20138"])
    far, _ = score([*trade(), sale(end, 60, price_of(1))], [*RANGE, "99999"])
    assert len(far) == 0
    assert len(elsewhere) == 0 or elsewhere["chance"][0] > 5 * at_price["chance"][0]


def test_a_launch_of_many_codes_next_to_known_ones_is_less_odd_than_one() -> None:
    end = 31 * DAY_US
    alone, _ = score([*trade(), sale(end, 60, price_of(1))], [*RANGE, "20138"])
    launch = [sale(end, 60 + i, price_of(1) if i == 0 else 3.0) for i in range(40)]
    among, _ = score([*trade(), *launch], [*RANGE, "20138", *[f"{31_000 + i}" for i in range(39)]])
    chance = among["chance"][among["sku"] == 60]
    assert len(chance) == 0 or chance[0] > 10 * alone["chance"][0]


def test_the_first_day_says_nothing_nor_does_anything_without_codes() -> None:
    assert len(score(trade(), RANGE)[0]) == 0
    assert len(score(trade(), [f"{20_000 + i}" for i in range(60)])[0]) == 0
    assert len(score([*trade(), sale(31 * DAY_US, 60, price_of(1))], None)[0]) == 0


def test_charges_are_no_skus() -> None:
    charge = Event(31 * DAY_US, 1, price_of(1), CHARGE, 60, 1, 7)
    assert len(score([*trade(), charge], [*RANGE, "20138"])[0]) == 0


WILD = ["84029E", "84029G", "84029g", "84209G", "8402G", "84O29G", "85123A", "85123", "85132A"]
WILD += ["POST-1", "x", "", "£££££", "85123AB", "85l23A", "84029EE", "11", "111", "1111", "a" * 40]


def wild_shop(seed: int, size: int = 200) -> list[Event]:
    """Any kind, price and quantity of twenty codes, most of which come late."""
    rng = np.random.default_rng(seed)
    time_us = -400 * DAY_US
    events = []
    for i in range(size):
        steps = [0, MINUTE_US, DAY_US // 3, 400 * DAY_US]
        time_us += int(rng.choice(steps, p=[0.4, 0.4, 0.19, 0.01]))
        kind = int(rng.choice([SALE] * 30 + [RETURN, ADJUSTMENT, CHARGE, TICK]))
        price = float(rng.choice([0.42, 0.85, 1.25, 12.5, 0.0, np.nan]))
        sku = min(int(rng.integers(0, 2 + i // 9)), len(WILD) - 1)
        if kind == TICK:
            events.append(Event(time_us, 0, np.nan, TICK, -1))
        else:
            events.append(Event(time_us, int(rng.integers(-3, 12)), price, kind, sku, 1, 1))
    return events


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_score_agrees_with_its_definition(seed: int) -> None:
    events = [*wild_shop(seed), *trade(3)]
    events.sort(key=lambda one: one.time_us)
    spelt = [*WILD, *RANGE[len(WILD) :]]
    found, _ = score(events, spelt)
    expected = NewSku().define(events, spelt)
    assert found["event"].tolist() == [one["event"] for one in expected]
    for i, one in enumerate(expected):
        for name, value in one.items():
            assert found[name][i] == pytest.approx(value, rel=1e-5), (name, i)
    assert (found["chance"] > 0).all()
    assert (found["chance"] <= NOTED).all()


def test_score_agrees_with_its_definition_where_slips_are_found() -> None:
    typed = ["21037", "20237", "201377", "2137", "20138", "20274", "20411x"]
    events = trade(6)
    for i in range(len(typed)):
        events.append(sale(7 * DAY_US + i * MINUTE_US, 60 + i, price_of(1 + i % 3)))
    found, _ = score(events, [*RANGE, *typed])
    expected = NewSku().define(events, [*RANGE, *typed])
    assert len(expected) == 2
    assert found["event"].tolist() == [one["event"] for one in expected]
    for i, one in enumerate(expected):
        for name, value in one.items():
            assert found[name][i] == pytest.approx(value, rel=1e-5), (name, i)


def test_any_cut_gives_the_same_bytes() -> None:
    events = wild_shop(4)
    possible = [i for i in range(1, len(events)) if events[i].time_us != events[i - 1].time_us]
    whole = score(events, WILD)
    for cuts in (tuple(possible[::5]), tuple(possible[::37])):
        found, memory = score(events, WILD, cuts)
        assert found.tolist() == whole[0].tolist()
        assert memory == whole[1]


def test_the_table_finds_what_a_comparison_of_all_pairs_finds() -> None:
    rng = np.random.default_rng(5)
    spelt = sorted({"".join(rng.choice(list("01aB-"), rng.integers(3, 6))) for _ in range(60)})
    names, offset = names_of(spelt)
    mark, owner = np.zeros(codes.SLOTS, np.uint32), np.zeros(codes.SLOTS, np.int32)
    word = np.zeros(codes.LONGEST + 1, np.uint8)
    near, kinds = np.zeros(codes.NEAR, np.int32), np.zeros(codes.NEAR, np.int32)
    for sku, code in enumerate(spelt):
        size = codes.read_word(names, offset, sku, word)
        with np.errstate(over="ignore"):  # hashes overflow on purpose, without the compiler too
            count = codes.find_near(names, offset, mark, owner, word, size, near, kinds)
            codes.keep_code(mark, owner, word, size, sku)
        got = {int(near[k]): int(kinds[k]) for k in range(count)}
        assert len(got) == count
        this = codes.define_word(code)
        kind_of = {
            other: codes.define_kind(this, codes.define_word(spelt[other])) for other in range(sku)
        }
        assert got == {other: kind for other, kind in kind_of.items() if kind != codes.NOT_NEAR}


def test_a_memory_below_a_day_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory must be at least 1d"):
        NewSku(memory="5m")
