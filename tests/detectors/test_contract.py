"""What every detector must hold, whatever it looks for."""

from __future__ import annotations

import math
import os
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lines import Line, make_lines
from oddlot import catalog
from oddlot.alerts.text import LANGUAGES, explain
from oddlot.detectors.contract import FOUND, RULE_FOUND, TICK, TICK_US, Event
from oddlot.engine.event_time import Released
from oddlot.engine.scoring import Scored, Scoring
from oddlot.schema import ADJUSTMENT, KINDS, RETURN, SALE

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
MANY = settings(
    max_examples=5 if PLAIN else 40, suppress_health_check=[HealthCheck.too_slow], deadline=None
)
SKUS = 4
MOST_BYTES = 200  # of a row
MOST_SHOP_BYTES = 8 << 20
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

EVERY = catalog.find_types("detectors")
RULES = tuple(
    name for name in EVERY if catalog.build("detectors", {"type": name}, "a test").is_rule
)
TESTS = tuple(name for name in EVERY if name not in RULES)
every_detector = pytest.mark.parametrize("name", EVERY)
every_rule = pytest.mark.parametrize("name", RULES)
every_test = pytest.mark.parametrize("name", TESTS)

steps = st.one_of(
    st.sampled_from([0, 0, 0, 1, 60_000_000, HOUR_US - 1, HOUR_US, HOUR_US + 1]),
    st.sampled_from([DAY_US, 3 * DAY_US, 100 * DAY_US, 10_000 * DAY_US]),
    st.integers(0, 2 * HOUR_US),
)
quantities = st.one_of(
    st.integers(-12, 24),
    st.sampled_from([0, 1, 6, 12, 48, 4095, 4096, 74_215, -80_995, 2**31 - 1, -(2**31 - 1)]),
)
prices = st.sampled_from([0.0, 0.42, 1.25, 1.25, 12.75, 8142.75, -11062.06, math.nan])
histories = st.lists(
    st.tuples(
        *(steps, quantities, prices, st.integers(0, SKUS - 1), st.integers(0, len(KINDS) - 1)),
        *(st.integers(0, 3), st.integers(0, 2)),  # invoice and customer
    ),
    max_size=40,
)
starts = st.sampled_from([0, -40 * 365 * DAY_US, 15_000 * DAY_US + 8 * HOUR_US])
History = list[tuple[int, int, float, int, int, int, int]]


def build(name: str) -> Any:
    return catalog.build("detectors", {"type": name}, "a test")


def lines_of(start: int, history: History) -> list[Line]:
    now, rows = start, []
    for number, (step, quantity, price, sku, kind, invoice, customer) in enumerate(history):
        now += step
        texts = (f"I{invoice}", f"S{sku}", "text", f"C{customer}" if customer else "", "UK")
        rows.append(Line(now, number, 0, 0, sku, quantity, price, kind, texts))
    return rows


def busy_shop(seed: int, days: int, lines_a_day: int, skus: int) -> list[Line]:
    """Return a shop with every kind of fault in its second half, and two days in three open."""
    chance = np.random.default_rng(seed)
    history: list[tuple[int, Line]] = []
    for day in range(days):
        if day % 3 == 2:
            continue
        dark = day > days // 2 and day % 11 == 4
        for _ in range(chance.poisson(lines_a_day)):
            minute = int(chance.integers(9 * 60, 17 * 60))
            if dark and minute > 11 * 60:
                continue
            sku = int(min(skus - 1, chance.geometric(2 / skus) - 1))
            if day > 2 * days // 3 and sku == 1:
                continue  # silent
            late = day > days // 2
            quantity = int(chance.choice([1, 2, 6, 6, 12])) * (40 if late and sku == 2 else 1)
            price = [0.42, 1.25, 2.5, 4.95][sku % 4] * (
                10 if late and chance.random() < 0.02 else 1
            )
            kind, customer = SALE, f"C{chance.integers(0, 12)}"
            draw = chance.random()
            if draw < (0.15 if late and sku == 3 else 0.02):
                kind, quantity = RETURN, -quantity
            elif draw > 0.97:
                kind, quantity, price, customer = ADJUSTMENT, -20 * quantity, 0.0, ""
            texts = (f"I{day}-{chance.integers(0, 8)}", f"S{sku}", "text", customer, "UK")
            for copy in range(2 if late and chance.random() < 0.05 else 1):
                time_us = (15_000 + day) * DAY_US + (minute + 20 * copy) * 60_000_000
                history.append((time_us, Line(time_us, 0, 0, 0, sku, quantity, price, kind, texts)))
    history.sort(key=lambda one: one[0])
    return [line._replace(number=i) for i, (_, line) in enumerate(history)]


def instants(rows: list[Line]) -> list[int]:
    """Return the places between two instants."""
    return [i for i in range(1, len(rows)) if rows[i].time_us != rows[i - 1].time_us]


def score(
    detector: Any, rows: list[Line], cuts: list[int] | None = None, saves: bool = False
) -> tuple[Any, Any]:
    """Score lines batch by batch; with `saves`, by a new Scoring each time.

    Returns:
        What was found, a test's events counted through all batches; and all events.
    """
    scoring = Scoring([detector])
    skus = max([SKUS, *(row.sku + 1 for row in rows)])
    found, events, past = [], [], 0
    for first, last in zip([0, *(cuts or [])], [*(cuts or []), len(rows)], strict=True):
        lines = make_lines(rows[first:last])
        scored: Scored = scoring.score(Released(lines, np.arange(last - first)), skus)
        if not detector.is_rule:
            scored.found[0]["event"] += past
        past += len(scored.event)
        found.append(scored.found[0])
        events.append(scored.event.copy())
        if saves:
            saved = {key: array.copy() for key, array in scoring.save(skus).items()}
            scoring = Scoring([detector])
            scoring.restore(saved)
    return np.concatenate(found), np.concatenate(events)


def same(left: Any, right: Any) -> bool:
    """Tell whether two findings agree to the bit."""
    return all(left[key].tobytes() == right[key].tobytes() for key in left.dtype.names)


def events_of(event: Any) -> list[Event]:
    names = ("time_us", "quantity", "price", "kind", "sku", "invoice", "customer")
    return [Event(**{name: one[name].item() for name in names}) for one in event]


def agrees(detector: Any, rows: list[Line]) -> int:
    """Check `score` against `define`; return how many findings there were."""
    found, event = score(detector, rows)
    expected = detector.define(events_of(event))
    got = [{name: float(one[name]) for name in found.dtype.names} for one in found]
    # Within an instant the findings may come in any order.
    for result in (got, expected):
        result.sort(key=lambda one: (event["time_us"][int(one["event"])], one["event"], one["sku"]))
    assert [(one["event"], one["sku"]) for one in got] == [
        (one["event"], one["sku"]) for one in expected
    ]
    for one, other in zip(got, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-9, nan_ok=True)
    return len(got)


@every_detector
def test_a_detector_states_what_it_remembers_and_what_it_says(name: str) -> None:
    detector = build(name)
    assert 0 < detector.row.itemsize <= MOST_BYTES
    numbers = [field[0] for field in (detector.row.fields or {}).values()]
    if detector.is_rule:
        assert detector.found == RULE_FOUND
        assert detector.columns
        assert not detector.finds
    else:
        numbers += [field[0] for field in detector.shop.fields.values()]
        assert detector.shop.itemsize <= MOST_SHOP_BYTES
        assert detector.shop["tests"] == np.float64
        assert detector.found.names[: len(FOUND)] == tuple(field for field, _ in FOUND)
        assert "stake" in detector.found.names
        assert detector.finds
        assert detector.weight > 0
    assert all(one.base.kind in "iuf" and not one.hasobject for one in numbers)


@every_detector
def test_a_detector_says_in_its_docstring_what_it_looks_for(name: str) -> None:
    text = type(build(name)).__doc__ or ""
    assert text.splitlines()[0].endswith(".")
    assert "Source:" in text


@every_test
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("value", [0.0, 1.0, 12.5, 80_995.0, math.nan])
def test_its_sentence_can_be_said_with_any_numbers(name: str, language: str, value: float) -> None:
    detector = build(name)
    evidence = dict.fromkeys(detector.found.names[len(FOUND) :], value)
    evidence.pop("like", None)
    text = explain(
        detector.sentence, "85123A", 0, 12, math.nan, "536365", "85123B", 0.0125, evidence, language
    )
    assert text.endswith(".")
    assert "{" not in text
    assert "\n" not in text


@every_rule
@MANY
@given(start=starts, history=histories)
def test_a_rule_agrees_with_its_definition(name: str, start: int, history: History) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    found, _ = score(detector, rows)
    for sku in range(SKUS):
        places = [i for i, row in enumerate(rows) if row.sku == sku]
        events = [
            Event(rows[i].time_us, rows[i].quantity, rows[i].price, rows[i].kind) for i in places
        ]
        for i, expected in zip(places, detector.define(events), strict=True):
            for key, value in expected.items():
                assert float(found[key][i]) == value, (key, i)


@every_test
@settings(MANY, max_examples=3 if PLAIN else 15)
@given(start=starts, history=histories)
def test_a_test_agrees_with_its_definition(name: str, start: int, history: History) -> None:
    rows = lines_of(start, [one for one in history if one[0] < 50 * DAY_US])
    agrees(build(name), rows)


@every_test
@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
def test_a_test_agrees_with_its_definition_in_a_busy_shop(name: str) -> None:
    agrees(build(name), busy_shop(1, 24, 25, 6))


@every_detector
@MANY
@given(start=starts, history=histories, data=st.data())
def test_any_cut_into_batches_and_any_restart_give_the_same(
    name: str, start: int, history: History, data: st.DataObject
) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    whole, _ = score(detector, rows)
    possible = instants(rows)
    cuts = sorted(data.draw(st.sets(st.sampled_from(possible)))) if possible else []
    assert same(whole, score(detector, rows, cuts)[0])
    assert same(whole, score(detector, rows, cuts, saves=True)[0])


@every_detector
@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
@pytest.mark.parametrize("seed", [1, 2])
def test_cuts_and_restarts_change_nothing_in_a_busy_shop(name: str, seed: int) -> None:
    detector = build(name)
    rows = busy_shop(seed, 120, 60, 12)
    whole, _ = score(detector, rows)
    chance = random.Random(seed)
    possible = instants(rows)
    for count in (1, 7, 60):
        cuts = sorted(chance.sample(possible, count))
        assert same(whole, score(detector, rows, cuts, saves=True)[0])
    assert same(whole, score(detector, rows, possible)[0])


@every_test
@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
def test_how_skus_are_numbered_does_not_matter(name: str) -> None:
    detector = build(name)
    rows = busy_shop(3, 120, 60, 12)
    found, _ = score(detector, rows)
    numbers = [7, 3, 11, 0, 5, 1, 10, 2, 9, 4, 8, 6]
    other, _ = score(detector, [row._replace(sku=numbers[row.sku]) for row in rows])
    names = [one for one in found.dtype.names if one not in ("sku", "like")]

    def told(one: Any, back: Any) -> list[Any]:
        return sorted((int(x["event"]), back(int(x["sku"])), x[names].tolist()) for x in one)

    back = {number: sku for sku, number in enumerate(numbers)} | {-1: -1}
    assert told(found, int) == told(other, back.get)


@every_rule
@MANY
@given(start=starts, history=histories, chance=st.randoms(use_true_random=False))
def test_the_order_of_lines_with_equal_times_does_not_matter_to_a_rule(
    name: str, start: int, history: History, chance: random.Random
) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    order = sorted(range(len(rows)), key=lambda i: (rows[i].time_us, chance.random()))
    shuffled, _ = score(detector, [rows[i] for i in order])
    assert same(score(detector, rows)[0][order], shuffled)


@every_rule
@MANY
@given(start=starts, history=histories)
def test_skus_do_not_touch_each_other_in_a_rule(name: str, start: int, history: History) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    whole, _ = score(detector, rows)
    for sku in range(SKUS):
        places = [i for i, row in enumerate(rows) if row.sku == sku]
        assert same(whole[places], score(detector, [rows[i] for i in places])[0])


@every_test
@MANY
@given(start=starts, history=histories)
def test_a_chance_is_a_probability_and_never_zero(name: str, start: int, history: History) -> None:
    found, event = score(build(name), lines_of(start, history))
    assert ((found["chance"] > 0) & (found["chance"] <= 1)).all()
    assert (np.diff(event["time_us"][found["event"]]) >= 0).all()
    assert (found["sku"] >= -1).all()
    assert (found["tests"] >= 0).all()


QUIET: dict[str, list[tuple[int, int, float, int]]] = {
    "one SKU": [(9 * HOUR_US, 1, 1.0, SALE)],
    "constant quantity": [(9 * HOUR_US + i * HOUR_US // 4, 6, 2.5, SALE) for i in range(20)],
    "all prices zero": [(9 * HOUR_US + i * HOUR_US // 4, 6, 0.0, SALE) for i in range(20)],
    "all returns": [(9 * HOUR_US + i * HOUR_US // 4, -6, 2.5, RETURN) for i in range(20)],
    "24 hours": [(i * HOUR_US // 2, 1, 1.0, SALE) for i in range(48)],
}


@every_test
@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
@pytest.mark.parametrize("shop", QUIET)
@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("skus", [1, 40])
def test_a_shop_in_which_nothing_ever_changes_is_quiet(
    name: str, shop: str, every: int, skus: int
) -> None:
    rows: list[Line] = []
    for day in range(0, 200, every):
        for i, (at, quantity, price, kind) in enumerate(QUIET[shop]):
            texts = (f"I{day}-{i}", "S", "text", f"C{i % 9}", "UK")
            time_us = (15_000 + day) * DAY_US + at
            sku = (day * 7 + i) % skus
            rows.append(Line(time_us, len(rows), 0, 0, sku, quantity, price, kind, texts))
    found, _ = score(build(name), rows)
    assert (found["chance"] < 1e-7).sum() <= 1


@every_detector
def test_rows_and_the_log_grow_with_the_skus_and_stay_right(name: str) -> None:
    detector = build(name)
    chance = random.Random(3)
    rows = lines_of(
        15_000 * DAY_US,
        [
            (
                chance.choice([0, 60_000_000, HOUR_US]),
                *(chance.choice([1, 2, 6, 300]), 1.0, i % 7 * 1500, 0, i % 4, i % 3),
            )
            for i in range(300 if PLAIN else 9_000)
        ],
    )
    whole = Scoring([detector])
    lines = make_lines(rows)
    expected = whole.score(Released(lines, np.arange(len(rows))), 9_001)
    pieces = Scoring([detector])
    found = []
    for first, last in zip([0, *instants(rows)], [*instants(rows), len(rows)], strict=True):
        known = max(row.sku for row in rows[:last]) + 1
        found.append(pieces.score(Released(lines, np.arange(first, last)), known).found[0])
    names = [one for one in detector.found.names if one != "event"]
    assert same(expected.found[0][names], np.concatenate(found)[names])


def test_the_clock_strikes_between_lines_and_not_for_ever() -> None:
    name = TESTS[0]
    rows = [Line(TICK_US - 1), Line(3 * TICK_US, 1), Line(3 * TICK_US + 400 * DAY_US, 2)]
    _, event = score(build(name), rows)
    ticks = event["time_us"][event["kind"] == TICK]
    assert ticks[:3].tolist() == [TICK_US, 2 * TICK_US, 3 * TICK_US]
    assert ticks[-1] == 3 * TICK_US + 14 * DAY_US
    assert event["kind"][3] == TICK  # before the line of its time
    assert event["kind"][4] == SALE
    assert (np.diff(event["time_us"]) >= 0).all()
