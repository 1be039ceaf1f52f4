"""The budget is kept: so many false alerts a day as were promised, in fixed memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddlot.alerts.budget import Budget
from oddlot.detectors.contract import EVENT

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
DAY_US = 86_400_000_000
FOUND = np.dtype([("chance", "<f8")])


def rate_all(budget: Budget, time_us: Any, chance: Any, cuts: list[int] | None = None) -> Any:
    event = np.zeros(len(time_us), EVENT)
    event["time_us"] = time_us
    found = np.zeros(len(time_us), FOUND)
    found["chance"] = chance
    rates = [
        budget.rate("a_test", event, first, last, found[first:last])
        for first, last in zip([0, *(cuts or [])], [*(cuts or []), len(event)], strict=True)
    ]
    return np.concatenate(rates)


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
    rate = rate_all(Budget(promised, ["a_test"]), time_us, chance)
    trading = len(np.unique(time_us // DAY_US))
    expected = promised * trading
    alerts = int((rate <= promised).sum())
    assert abs(alerts - expected) < 0.1 * expected + 3.5 * expected**0.5


@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
@pytest.mark.parametrize("power", [1.3, 0.8])
def test_a_model_that_is_not_quite_true_is_put_right_by_its_own_past(power: float) -> None:
    time_us, chance = shop(7, 200, 3000)
    wrong = chance**power  # too small by far, or too large
    rate = rate_all(Budget(2.0, ["a_test"]), time_us, wrong)
    second_half = time_us >= time_us[0] + 100 * DAY_US
    days = len(np.unique(time_us[second_half] // DAY_US))
    alerts_a_day = (rate[second_half] <= 2.0).sum() / days
    believed = 3000 * (2.0 / 3000) ** (1 / power)  # without the correction
    assert abs(alerts_a_day - 2.0) < min(1.0, abs(believed - 2.0))


def test_the_share_is_split_evenly_over_the_tests() -> None:
    assert Budget(3.0, ["a", "b"]).share == 1.5
    assert Budget(3.0, []).share == 3.0


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
    whole = rate_all(Budget(1.0, ["a_test"]), time_us, small)
    assert np.array_equal(np.isnan(whole), np.isnan(small))
    assert (whole[~np.isnan(whole)] >= 0).all()

    possible = [i for i in range(1, len(time_us)) if time_us[i] != time_us[i - 1]]
    cuts = sorted(data.draw(st.sets(st.sampled_from(possible)))) if possible else []
    assert rate_all(Budget(1.0, ["a_test"]), time_us, small, cuts).tobytes() == whole.tobytes()

    order = sorted(range(len(time_us)), key=lambda i: (time_us[i], chance.random()))
    shuffled = rate_all(Budget(1.0, ["a_test"]), time_us[order], small[order])
    assert shuffled.tobytes() == whole[order].tobytes()

    first = cuts[0] if cuts else len(time_us)
    budget = Budget(1.0, ["a_test"])
    before = rate_all(budget, time_us[:first], small[:first])
    saved = {name: past.copy() for name, past in budget.save().items()}
    again = Budget(1.0, ["a_test", "newer"])
    again.restore(saved)
    after = rate_all(again, time_us[first:], small[first:])
    assert np.concatenate([before, after]).tobytes() == whole.tobytes()


@settings(max_examples=20 if PLAIN else 100)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_a_smaller_chance_never_has_a_higher_rate(history: list[float]) -> None:
    time_us = np.concatenate([np.arange(50) * DAY_US, np.full(len(history), 60 * DAY_US)])
    small = np.concatenate([np.full(50, 0.004), np.array(history)])
    rate = rate_all(Budget(1.0, ["a_test"]), time_us, small)[50:]
    order = np.argsort(history, kind="stable")
    assert (np.diff(rate[order]) >= -1e-9 * np.abs(rate[order][1:])).all()


def test_what_is_remembered_of_years_is_as_small_as_of_a_day() -> None:
    budget = Budget(1.0, ["a_test"])
    rate_all(budget, np.arange(1000) * DAY_US, np.full(1000, 0.001))
    assert sum(past.nbytes for past in budget.save().values()) <= 64
