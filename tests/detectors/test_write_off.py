"""write_off finds stock that vanishes at once or bit by bit, and lets corrections be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, Event
from oddlot.detectors.write_off import WriteOff
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
SKU = 3
LAST = 40  # the day after the quiet ones


def sale(time_us: int, sku: int, quantity: int, price: float = 2.0) -> Event:
    return Event(time_us, quantity, price, SALE, sku, 7, 5)


def off(time_us: int, sku: int, quantity: int) -> Event:
    return Event(time_us, quantity, 0.0, ADJUSTMENT, sku, 8)


def at(hours: float, day: int = LAST) -> int:
    return day * DAY_US + int(hours * 60) * MINUTE_US


def quiet(days: int = LAST + 3, skus: int = 30, seed: int = 1) -> list[Event]:
    """Make a shop that sells about four units of each SKU a day and corrects one SKU by 1 to 3."""
    random = np.random.default_rng(seed)
    events = []
    for day in range(days):
        sold = [sku for sku in range(skus) if random.random() < 0.7]
        events += [sale(at(9 + n / 6, day), n, int(random.integers(1, 12))) for n in sold]
        if day < LAST - 4:
            correction = int(random.choice([-3, -2, -1, 1, 2]))
            events.append(off(at(15.5, day), int(random.integers(0, skus)), correction))
    return events


def score(events: list[Event], pieces: int = 1) -> tuple[list[dict[str, float]], bytes]:
    """Score a shop in pieces, its state stored in between; return findings and state."""
    detector = WriteOff()
    events = sorted(events, key=lambda one: one.time_us)
    event: Any = np.zeros(len(events), EVENT)
    for name in EVENT.names or ():
        event[name] = [getattr(one, name) for one in events]
    rows, shop = np.zeros(64, detector.row), np.zeros(1, detector.shop)
    starts = [k for k in range(1, len(event)) if event["time_us"][k] != event["time_us"][k - 1]]
    cuts = [0, *starts[:: max(1, len(starts) // pieces)][: pieces - 1], len(event)]
    result = []
    for first, last in itertools.pairwise(cuts):
        part = event[first:last].copy()
        rows = np.frombuffer(rows.tobytes(), detector.row).copy()
        shop = np.frombuffer(shop.tobytes(), detector.shop).copy()
        found, count = detector.score(rows, shop, part, 0, len(part), np.zeros(1, detector.found))
        for one in found[:count]:
            values = {name: one[name].item() for name in detector.found.names or ()}
            result.append(values | {"event": values["event"] + first})
    return result, rows.tobytes() + shop.tobytes()


def of_last_days(*planted: Event, everyday: bool = False) -> list[dict[str, float]]:
    """Score the quiet shop with lines put into its last days; return what was found there."""
    events = sorted(quiet() + list(planted), key=lambda one: one.time_us)
    found = score(events)[0]
    return [one for one in found if everyday or events[int(one["event"])].time_us >= at(0)]


def oddest(*planted: Event) -> float:
    return min(one["chance"] for one in of_last_days(*planted))


def test_a_dozen_days_units_written_off_at_once_are_odder_than_all_corrections() -> None:
    everyday = min(one["chance"] for one in score(quiet())[0])
    (found,) = of_last_days(off(at(14), SKU, -50))
    assert found["chance"] < 0.1 * everyday
    assert (found["sku"], found["units"], found["lines"]) == (SKU, 50, 1)
    assert 2.5 < found["usual"] < 6.0
    assert found["stake"] == pytest.approx(100.0)


def test_five_small_ones_in_three_days_are_odder_with_each_from_the_third_on() -> None:
    hours = [(10, 0), (15, 0), (11, 1), (12, 1), (9, 2)]
    found = of_last_days(*(off(at(hour, LAST + day), SKU, -2) for hour, day in hours))
    assert [one["lines"] for one in found[2:]] == [3, 4, 5]
    chances = [one["chance"] for one in found[1:]]
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] < 1e-4 * chances[0]


def test_the_same_five_on_five_skus_or_in_three_weeks_are_everyday() -> None:
    spread = of_last_days(*(off(at(9.5 + n), SKU + n, -2) for n in range(5)))
    slow = of_last_days(*(off(at(9.5, LAST - 5 * n), SKU, -2) for n in range(5)))
    assert min(one["chance"] for one in spread + slow) > 5e-4


def test_a_write_off_booked_twice_in_a_minute_is_one_finding_of_two_lines() -> None:
    (found,) = of_last_days(off(at(14), SKU, -9600), off(at(14), SKU, -9600))
    assert (found["units"], found["lines"], found["alike"]) == (19_200, 2, 2)
    later = of_last_days(off(at(14), SKU, -9600), off(at(14.02), SKU, -9600))
    assert later[-1]["alike"] == 2


def test_a_correction_by_the_same_amount_takes_a_write_off_away() -> None:
    assert of_last_days(off(at(13), SKU, 50), off(at(14), SKU, -50)) == []
    undone = (off(at(13), SKU, -50), off(at(14), SKU, 50), off(at(16), SKU, -2))
    assert [one["units"] for one in of_last_days(*undone)] == [50, 2]


def test_a_stock_count_makes_each_of_its_write_offs_less_odd() -> None:
    alone = oddest(off(at(14), SKU, -30))
    counted = of_last_days(*(off(at(14), sku, -30) for sku in range(20)))
    (mine,) = [one for one in counted if one["sku"] == SKU]
    assert mine["chance"] > 5 * alone


def test_sales_returns_charges_and_stock_found_are_no_write_offs() -> None:
    strange = [
        Event(at(14), -500, 2.0, RETURN, SKU, 9, 5),
        Event(at(14), -500, -50.0, CHARGE, SKU, 10, 5),
        Event(at(14), 500, 2.0, SALE, SKU, 11, 5),
        off(at(14), SKU, 500),
    ]
    assert of_last_days(*strange) == []


def test_odd_numbers_and_old_dates_are_taken() -> None:
    events = []
    for n, time_us in enumerate([-(10**16), -(10**16) + 5, 0, 10**16]):
        events += [off(time_us, n % 2, -(2**31)), off(time_us, 1, -1), off(time_us, 0, 2**31)]
        events += [sale(time_us, 0, 2**31, price) for price in (float("nan"), -1.0, 0.0, 1e300)]
    found = score(events)[0]
    assert all(0.0 < one["chance"] <= 1.0 for one in found)


def random_shop(seed: int) -> list[Event]:
    random = np.random.default_rng(seed)
    events = [one for one in quiet(9, 6, seed) if one.kind == SALE or random.random() < 0.5]
    for _ in range(60):
        time_us = at(int(random.integers(0, 24)), int(random.integers(0, 9)))
        amount = int(random.choice([-60, -8, -3, -2, -1, 1, 2, 8]))
        events.append(off(time_us, int(random.integers(0, 7) ** 2 // 7), amount))
    return sorted(events, key=lambda one: one.time_us)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_define_says_what_score_says(seed: int) -> None:
    events = random_shop(seed)
    defined = WriteOff().define(events)
    found, _ = score(events)
    assert len(found) == len(defined) > 20
    for one, other in zip(found, defined, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_cuts_change_nothing() -> None:
    events = random_shop(4)
    whole = score(events)
    assert whole[0]
    for pieces in (2, 7, 1000):
        assert score(events, pieces) == whole


def test_a_miscount_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        WriteOff(miscount=0.0)
