"""The budget is kept: so many false alerts a day as were promised, in fixed memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddlot.alerts.budget import Budget, false_rate, found_rate
from oddlot.detectors import contract
from oddlot.detectors.contract import EVENT, NOTED

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
DAY_US = 86_400_000_000
FOUND = np.dtype(list(contract.FOUND))


def rate_all(
    budget: Budget, time_us: Any, chance: Any, cuts: list[int] | None = None, start: int = 0
) -> Any:
    """Rate one test of each line, each on a SKU of its own; NaN where nothing was found."""
    event = np.zeros(len(time_us), EVENT)
    event["time_us"] = time_us
    tests = np.searchsorted(time_us, time_us)  # before this instant
    rates = np.full(len(time_us), np.nan)
    for first, last in zip([start, *(cuts or [])], [*(cuts or []), len(event)], strict=True):
        noted = first + np.flatnonzero(np.asarray(chance)[first:last] <= NOTED)
        found = np.zeros(len(noted), FOUND)
        found["event"] = noted - first
        found["chance"] = np.maximum(chance[noted], 1e-300)
        found["tests"] = tests[noted]
        found["sku"] = noted
        budget.begin(event[first:last])
        rates[noted] = budget.rate("a_test", event[first:last], found, len(time_us))
    return rates[start:]


def one() -> Budget:
    return Budget({"a_test": 1.0})


def shop(
    seed: int, days: int, lines_per_day: int, start_us: int = 15_000 * DAY_US
) -> tuple[Any, Any]:
    """Return times and uniform chances; on six days of seven, between 8 and 18 o'clock."""
    chance = np.random.default_rng(seed)
    times = []
    for day in range(days):
        if day % 7 != 6:
            count = chance.poisson(lines_per_day)
            minutes = np.sort(chance.integers(8 * 60, 18 * 60, count))
            times.append(start_us + day * DAY_US + minutes * 60_000_000)
    time_us = np.concatenate(times)
    return time_us, chance.random(len(time_us))


@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("promised", [0.5, 4.0])
def test_true_chances_give_about_as_many_alerts_a_day_as_promised(
    seed: int, promised: float
) -> None:
    time_us, chance = shop(seed, 200, 3000)
    rate = rate_all(Budget({"a_test": 1.0}, own_oddities=False), time_us, chance)
    trading = len(np.unique(time_us // DAY_US))
    expected = promised * trading
    alerts = int((rate <= promised).sum())
    assert abs(alerts - expected) < 0.1 * expected + 3.5 * expected**0.5


@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
@pytest.mark.parametrize("power", [1.3, 0.8])
def test_a_model_that_is_not_quite_true_is_put_right_by_its_own_past(power: float) -> None:
    time_us, chance = shop(7, 200, 3000)
    wrong = chance**power  # too small by far, or too large
    rate = rate_all(one(), time_us, wrong)
    second_half = time_us >= time_us[0] + 100 * DAY_US
    days = len(np.unique(time_us[second_half] // DAY_US))
    promised = false_rate(2.0)  # of two findings a day
    alerts_a_day = (rate[second_half] <= promised).sum() / days
    believed = 3000 * (2.0 / 3000) ** (1 / power)  # without the correction
    assert abs(alerts_a_day - 2.0) < min(1.0, abs(believed - 2.0))


def test_of_what_is_found_more_is_false_the_more_often_it_is_found() -> None:
    rates = [1e-6, 0.01, 0.25, 1.0, 5.0, 20.0, 1e4]
    assert [found_rate(false_rate(rate)) for rate in rates] == pytest.approx(rates)
    shares = [false_rate(rate) / rate for rate in rates]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    real = [one().probability(rate) for rate in [0.0, *rates]]
    assert real == sorted(real, reverse=True)
    assert real[0] == 1
    step = 1e-6
    slope = (false_rate(3 + step) - false_rate(3)) / step
    assert 1 - one().probability(false_rate(3.0)) == pytest.approx(slope, rel=1e-4)


def test_a_test_that_has_a_quarter_of_the_budget_alerts_as_if_it_were_four_times_smaller() -> None:
    time_us, chance = shop(1, 40, 300)
    whole = rate_all(one(), time_us, chance)
    part = rate_all(Budget({"a_test": 1.0, "other": 3.0}), time_us, chance)
    found = [found_rate(rate) if rate == rate else rate for rate in whole]
    assert part == pytest.approx(false_rate(4 * np.array(found)), nan_ok=True)


def test_a_repeat_on_the_same_sku_counts_only_when_it_is_clearly_odder() -> None:
    event = np.zeros(6, EVENT)
    event["time_us"] = np.arange(6) * DAY_US
    event["time_us"][5] = 9 * DAY_US
    found = np.zeros(6, FOUND)
    found["event"] = np.arange(6)
    found["chance"] = [1e-4, 1e-4, 5e-5, 1e-5, 1e-5, 1e-5]
    budget = one()
    budget.begin(event)
    rate = budget.rate("a_test", event, found, 1)
    assert np.isnan(rate).tolist() == [False, True, True, False, True, False]
    found["sku"] = -1  # the whole shop has no SKU to repeat itself on
    assert not np.isnan(one().rate("a_test", event, found, 1)).any()


def test_a_shock_that_moves_many_skus_at_once_does_not_spend_the_budget() -> None:
    time_us, chance = shop(5, 120, 500)
    half = len(time_us) // 2
    both = np.insert(time_us, half, np.full(3_000, time_us[half]))
    odd = np.insert(chance, half, np.full(3_000, 1e-5))
    calm, shocked = rate_all(one(), time_us, chance), rate_all(one(), both, odd)
    after = slice(half + 1_000, None)
    few = chance[after] <= 1e-3
    found = [list(map(found_rate, rate[few])) for rate in (shocked[3_000:][after], calm[after])]
    assert np.median(np.array(found[0]) / found[1]) < 3


chances = st.one_of(st.floats(0, 1), st.floats(0, 0.01), st.sampled_from([np.nan, 0.0, 1e-300]))


@settings(max_examples=30 if PLAIN else 100)
@given(
    st.sampled_from([-20_000 * DAY_US, 0, 15_000 * DAY_US]),
    st.lists(st.tuples(st.sampled_from([0, 0, 1, DAY_US, 400 * DAY_US]), chances), min_size=1),
    st.randoms(use_true_random=False),
    st.data(),
)
def test_neither_cuts_nor_the_order_within_an_instant_nor_a_restart_matter(
    start: int, history: list[tuple[int, float]], chance: Any, data: st.DataObject
) -> None:
    time_us = start + np.cumsum([step for step, _ in history])
    small = np.array([one for _, one in history])
    whole = rate_all(one(), time_us, small)
    assert np.array_equal(~np.isnan(whole), small <= NOTED)
    assert (whole[~np.isnan(whole)] >= 0).all()

    possible = [i for i in range(1, len(time_us)) if time_us[i] != time_us[i - 1]]
    cuts = sorted(data.draw(st.sets(st.sampled_from(possible)))) if possible else []
    assert rate_all(one(), time_us, small, cuts).tobytes() == whole.tobytes()

    order = sorted(range(len(time_us)), key=lambda i: (time_us[i], chance.random()))
    shuffled = rate_all(one(), time_us[order], small[order])
    assert shuffled.tobytes() == whole[order].tobytes()

    first = cuts[0] if cuts else len(time_us)
    budget = one()
    before = rate_all(budget, time_us[:first], small[:first])
    saved = {name: past.copy() for name, past in budget.save().items()}
    again = one()
    again.restore(saved)
    after = rate_all(again, time_us, small, start=first)
    assert np.concatenate([before, after]).tobytes() == whole.tobytes()


@settings(max_examples=20 if PLAIN else 100)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_a_smaller_chance_never_has_a_higher_rate(history: list[float]) -> None:
    time_us = np.concatenate([np.arange(50) * DAY_US, np.full(len(history), 60 * DAY_US)])
    small = np.concatenate([np.full(50, 0.004), np.array(history)])
    rate = rate_all(one(), time_us, small)[50:]
    order = np.argsort(history, kind="stable")
    told = rate[order][~np.isnan(rate[order])]
    assert (np.diff(told) >= -1e-9 * np.abs(told[1:])).all()


def test_what_is_remembered_of_years_is_as_small_as_of_a_day() -> None:
    budget = one()
    rate_all(budget, np.arange(1000) * DAY_US, np.full(1000, 0.001))
    small = one()
    rate_all(small, np.arange(10) * DAY_US, np.full(10, 0.001))
    assert [one.nbytes for one in budget.save().values()] == [
        one.nbytes for one in small.save().values()
    ]
