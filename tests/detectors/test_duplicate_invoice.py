"""duplicate_invoice finds baskets that were entered twice, and lets corrections be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from oddlot.detectors.contract import EVENT, Event
from oddlot.detectors.duplicate_invoice import DuplicateInvoice
from oddlot.errors import ConfigError
from oddlot.schema import RETURN, SALE

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
BASKET = ((1, 6), (2, 12), (3, 4), (5, 24), (8, 2), (13, 3), (21, 9), (34, 16))


def order(
    time_us: int,
    invoice: int,
    lines: tuple[tuple[int, int], ...] = BASKET,
    customer: int = 7,
    kind: int = SALE,
) -> list[Event]:
    """Make one invoice's lines."""
    return [Event(time_us, q, 2.5, kind, sku, invoice, customer) for sku, q in lines]


def background(days: int = 15, invoices: int = 6, seed: int = 1) -> list[Event]:
    """Make a quiet shop of 40 SKUs: a few invoices a day, one each hour."""
    random = np.random.default_rng(seed)
    events: list[Event] = []
    for day in range(days):
        for hour in range(invoices):
            skus = random.choice(40, random.integers(1, 7), replace=False)
            sizes = random.choice([1, 2, 4, 6, 12, 24], len(skus))
            lines = tuple(zip(skus.tolist(), sizes.tolist(), strict=True))
            number = 1 + day * invoices + hour
            at = day * DAY_US + (540 + 60 * hour) * MINUTE_US
            events += order(at, number, lines, int(random.integers(0, 9)))
    return events


def pack(events: list[Event]) -> Any:
    """Put events into an array, as the engine does."""
    packed = np.zeros(len(events), EVENT)
    for name in EVENT.names or ():
        packed[name] = [getattr(one, name) for one in events]
    return packed


def score(events: list[Event], pieces: int = 1) -> tuple[list[dict[str, float]], bytes]:
    """Score a shop in pieces, its state stored in between; return findings and state."""
    detector = DuplicateInvoice()
    event = pack(events)
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


def at(minute: float, day: int = 15) -> int:
    """Return a time after the quiet days."""
    return int(day * DAY_US + (600 + minute) * MINUTE_US)


@pytest.mark.parametrize("number", [900, 901])
def test_the_same_basket_minutes_later_is_found_once_under_any_number(number: int) -> None:
    (found,), _ = score(background() + order(at(0), 900) + order(at(7), number))
    assert found["sku"] == -1
    assert (found["shared"], found["lines"], found["minutes"]) == (8, 8, 7.0)
    assert found["same_number"] == (number == 900)
    assert found["stake"] == pytest.approx(2.5 * sum(quantity for _, quantity in BASKET))


def test_two_thirds_of_a_basket_without_its_customer_are_found() -> None:
    part = BASKET[2:]
    (found,), _ = score(background() + order(at(0), 900) + order(at(95), 901, part, customer=0))
    assert (found["shared"], found["lines"], found["lines_then"]) == (6, 6, 8)


def test_an_invoice_that_was_cancelled_and_entered_anew_is_a_correction() -> None:
    back = tuple((sku, -quantity) for sku, quantity in BASKET)
    events = background() + order(at(0), 900)
    assert score([*events, *order(at(4), 901, back, kind=RETURN), *order(at(7), 902)])[0] == []
    assert score([*events, *order(at(7), 901, back, kind=RETURN), *order(at(7), 902)])[0] == []
    assert score([*events, *order(at(4), 901, back, kind=RETURN)])[0] == []


def test_lines_scanned_twice_and_an_invoice_of_two_minutes_are_no_duplicates() -> None:
    assert score(background() + order(at(0), 900, BASKET + BASKET))[0] == []
    assert (
        score(background() + order(at(0), 900, BASKET[:3]) + order(at(1), 900, BASKET[3:]))[0] == []
    )


def test_an_invoice_of_two_minutes_is_found_when_it_comes_again() -> None:
    parts = order(at(0), 900, BASKET[:3]) + order(at(1), 900, BASKET[3:])
    (found,), _ = score(background() + parts + order(at(30), 901))
    assert (found["shared"], found["lines_then"], found["minutes"]) == (8, 8, 29.0)


def test_a_double_whose_lines_trickle_in_is_told_when_it_is_twice_as_odd() -> None:
    lines = [line for n, one in enumerate(BASKET) for line in order(at(30 + n / 4), 901, (one,))]
    found, _ = score(background() + order(at(0), 900) + lines)
    odd = [-np.log10(one["chance"]) for one in found]
    assert 1 <= len(found) <= 3
    assert all(later >= 1.99 * former for former, later in itertools.pairwise(odd))


def test_the_next_day_another_customer_or_a_common_basket_are_no_duplicates() -> None:
    assert score(background() + order(at(0), 900) + order(at(0, 16), 901))[0] == []
    assert score(background() + order(at(0), 900) + order(at(7), 901, customer=8))[0] == []
    usual = ((1, 6), (2, 6), (3, 6))
    days = [[order(at(m, d), 9000 + 10 * d + m, usual, m) for m in range(9)] for d in range(30)]
    assert score([one for day in days for lines in day for one in lines])[0] == []


def test_odd_numbers_and_old_dates_are_taken() -> None:
    lines = ((1, 2**31), (2, 7))
    events = [
        Event(time_us - 9 * 365 * 20 * DAY_US, quantity, price, SALE, sku, 5 + k, 0)
        for k, time_us in enumerate([0, 5 * MINUTE_US, 40_000 * DAY_US])
        for sku, quantity in lines
        for price in (float("nan"), -1.0, 0.0)
    ]
    found, _ = score(events)
    assert all(0.0 < one["chance"] <= 1.0 and one["stake"] == 0.0 for one in found)


def random_shop(seed: int) -> list[Event]:
    """Make a shop in which baskets come again, in parts, and back."""
    random = np.random.default_rng(seed)
    events = background(8, 5, seed)
    for number in range(25):
        start = int(random.integers(0, 8)) * DAY_US + int(random.integers(500, 1200)) * MINUTE_US
        skus = random.choice(40, random.integers(4, 13), replace=False)
        lines = tuple((int(sku), int(random.choice([3, 5, 6, 12]))) for sku in skus)
        part = tuple(line for line in lines if random.random() < 0.9) or lines
        gap = int(random.choice([1, 2, 9, 70])) * MINUTE_US
        customer = int(random.integers(0, 3))
        again = int(random.choice([500 + number, 700 + number]))
        events += order(start, 500 + number, lines, customer)
        events += order(start + gap, again, part, int(random.choice([0, customer])))
        if random.random() < 0.4:
            back = tuple((sku, -quantity) for sku, quantity in lines)
            when = start + int(random.choice([0, gap, gap + MINUTE_US]))
            events += order(when, 900 + number, back, customer, RETURN)
            events += order(start + 2 * gap, 950 + number, lines, customer)
    return sorted(events, key=lambda one: one.time_us)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_define_says_what_score_says(seed: int) -> None:
    events = random_shop(seed)
    defined = DuplicateInvoice().define(events)
    found, _ = score(events)
    assert len(defined) > 5
    assert len(found) == len(defined)
    for one, other in zip(found, defined, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_cuts_change_nothing() -> None:
    events = random_shop(4)
    whole = score(events)
    assert whole[0]
    for pieces in (2, 7, 1000):
        assert score(events, pieces) == whole


def test_a_memory_of_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 0s"):
        DuplicateInvoice(memory="0s")
