"""What every detector must hold, whatever it looks for."""

from __future__ import annotations

import math
import os
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lines import Line, make_lines
from oddlot import catalog
from oddlot.detectors.contract import RULE_FOUND, Event, LineDetector
from oddlot.engine.event_time import Released
from oddlot.engine.scoring import Scoring
from oddlot.schema import KINDS

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
MANY = settings(max_examples=10 if PLAIN else 60)
SKUS = 2
MOST_BYTES = 200  # of a row
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

every_detector = pytest.mark.parametrize("name", catalog.find_types("detectors"))

steps = st.one_of(
    st.sampled_from([0, 0, 0, 1, 60_000_000, HOUR_US - 1, HOUR_US, HOUR_US + 1]),
    st.sampled_from([DAY_US, 100 * DAY_US, 10_000 * DAY_US]),
    st.integers(0, 2 * HOUR_US),
)
quantities = st.one_of(
    st.integers(-12, 24),
    st.sampled_from([0, 1, 6, 12, 48, 4095, 4096, 74_215, -80_995, 2**31 - 1, -(2**31 - 1)]),
)
prices = st.sampled_from([0.0, 0.42, 1.25, 1.25, 12.75, 8142.75, -11062.06, math.nan])
histories = st.lists(
    st.tuples(steps, quantities, prices, st.integers(0, SKUS - 1), st.integers(0, len(KINDS) - 1)),
    max_size=40,
)
starts = st.sampled_from([0, -40 * 365 * DAY_US, 15_000 * DAY_US + 8 * HOUR_US])


def build(name: str) -> LineDetector:
    detector: LineDetector = catalog.build("detectors", {"type": name}, "a test")
    return detector


def lines_of(start: int, history: list[tuple[int, int, float, int, int]]) -> list[Line]:
    now, rows = start, []
    for number, (step, quantity, price, sku, kind) in enumerate(history):
        now += step
        rows.append(Line(now, number, 0, 0, sku, quantity, price, kind))
    return rows


def instants(rows: list[Line]) -> list[int]:
    """Return the places between two instants."""
    return [i for i in range(1, len(rows)) if rows[i].time_us != rows[i - 1].time_us]


def score(
    detector: LineDetector, rows: list[Line], cuts: list[int] | None = None, saves: bool = False
) -> Any:
    """Score lines batch by batch; with `saves`, by a new Scoring each time."""
    scoring = Scoring([detector])
    found = []
    for first, last in zip([0, *(cuts or [])], [*(cuts or []), len(rows)], strict=True):
        lines = make_lines(rows[first:last])
        found += scoring.score(Released(lines, np.arange(last - first)), SKUS)
        if saves:
            saved = {key: array.copy() for key, array in scoring.save(SKUS).items()}
            scoring = Scoring([detector])
            scoring.restore(saved)
    return np.concatenate(found)


def same(left: Any, right: Any, bare: bool = True) -> bool:
    """Tell whether two findings agree to the bit, where they say anything."""
    if bare and "chance" in left.dtype.names:
        tested = ~np.isnan(left["chance"])
        if not np.array_equal(tested, ~np.isnan(right["chance"])):
            return False
        left, right = left[tested], right[tested]
    return all(left[key].tobytes() == right[key].tobytes() for key in left.dtype.names)


@every_detector
def test_a_detector_states_what_it_remembers_and_what_it_says(name: str) -> None:
    detector = build(name)
    assert 0 < detector.row.itemsize <= MOST_BYTES
    numbers = [field[0] for field in (detector.row.fields or {}).values()]
    assert all(one.base.kind in "iuf" and not one.hasobject for one in numbers)
    if detector.is_rule:
        assert detector.found == RULE_FOUND
        assert detector.columns
        assert not detector.finds
    else:
        assert (detector.found.names or ())[0] == "chance"
        assert detector.finds


@every_detector
def test_a_detector_says_in_its_docstring_what_it_looks_for(name: str) -> None:
    text = type(build(name)).__doc__ or ""
    assert text.splitlines()[0].endswith(".")
    assert "Source:" in text


@MANY
@every_detector
@given(start=starts, history=histories)
def test_score_agrees_with_define(
    name: str, start: int, history: list[tuple[int, int, float, int, int]]
) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    found = score(detector, rows)
    for sku in range(SKUS):
        places = [i for i, row in enumerate(rows) if row.sku == sku]
        events = [
            Event(rows[i].time_us, rows[i].quantity, rows[i].price, rows[i].kind) for i in places
        ]
        for i, expected in zip(places, detector.define(events), strict=True):
            for key, value in expected.items():
                got = float(found[key][i])
                assert got == pytest.approx(value, rel=1e-5, abs=1e-9, nan_ok=True), (key, i)


@MANY
@every_detector
@given(start=starts, history=histories, data=st.data())
def test_any_cut_into_batches_and_any_restart_give_the_same(
    name: str, start: int, history: list[tuple[int, int, float, int, int]], data: st.DataObject
) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    whole = score(detector, rows)
    possible = instants(rows)
    cuts = sorted(data.draw(st.sets(st.sampled_from(possible)))) if possible else []
    assert same(whole, score(detector, rows, cuts))
    assert same(whole, score(detector, rows, cuts, saves=True))


@MANY
@every_detector
@given(start=starts, history=histories, chance=st.randoms(use_true_random=False))
def test_the_order_of_lines_with_equal_times_does_not_matter(
    name: str,
    start: int,
    history: list[tuple[int, int, float, int, int]],
    chance: random.Random,
) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    order = sorted(range(len(rows)), key=lambda i: (rows[i].time_us, chance.random()))
    shuffled = score(detector, [rows[i] for i in order])
    assert same(score(detector, rows)[order], shuffled)


@MANY
@every_detector
@given(start=starts, history=histories)
def test_skus_do_not_touch_each_other(
    name: str, start: int, history: list[tuple[int, int, float, int, int]]
) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    whole = score(detector, rows)
    for sku in range(SKUS):
        places = [i for i, row in enumerate(rows) if row.sku == sku]
        assert same(whole[places], score(detector, [rows[i] for i in places]))


@MANY
@every_detector
@given(start=starts, history=histories, data=st.data())
def test_a_test_scores_a_line_before_it_learns_it(
    name: str, start: int, history: list[tuple[int, int, float, int, int]], data: st.DataObject
) -> None:
    detector = build(name)
    rows = lines_of(start, history)
    if detector.is_rule or not rows:
        return  # a rule may count the line itself
    copied = data.draw(st.integers(0, len(rows) - 1))
    repeated = [*rows[: copied + 1], rows[copied], *rows[copied + 1 :]]
    end = next((i for i in instants(rows) if i > copied), len(rows))
    before, after = score(detector, rows), score(detector, repeated)
    assert same(before[: copied + 1], after[: copied + 1])
    assert same(before[copied:end], after[copied + 1 : end + 1])


@MANY
@every_detector
@given(start=starts, history=histories)
def test_a_chance_is_a_probability_and_never_zero(
    name: str, start: int, history: list[tuple[int, int, float, int, int]]
) -> None:
    detector = build(name)
    if not detector.is_rule:
        chance = score(detector, lines_of(start, history))["chance"]
        tested = chance[~np.isnan(chance)]
        assert ((tested > 0) & (tested <= 1)).all()


@every_detector
def test_rows_and_the_log_grow_with_the_skus_and_stay_right(name: str) -> None:
    detector = build(name)
    chance = random.Random(3)
    rows = lines_of(
        15_000 * DAY_US,
        [
            (chance.choice([0, 60_000_000, HOUR_US]), chance.choice([1, 2, 6, 300]), 1.0, 0, 0)
            for _ in range(300 if PLAIN else 9_000)
        ],
    )
    rows = [row._replace(sku=i % 7 * 1500) for i, row in enumerate(rows)]
    whole = Scoring([detector])
    lines = make_lines(rows)
    (expected,) = whole.score(Released(lines, np.arange(len(rows))), 9_001)
    pieces = Scoring([detector])
    found = []
    for first, last in zip([0, *instants(rows)], [*instants(rows), len(rows)], strict=True):
        known = max(row.sku for row in rows[:last]) + 1
        found += pieces.score(Released(lines, np.arange(first, last)), known)
    assert same(expected, np.concatenate(found))
