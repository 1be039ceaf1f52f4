"""How many orders a SKU may have: a gamma-Poisson rate per line of the whole catalogue."""

# Time is counted in lines that the catalogue sells, so that weekends, seasons and outages need no
# model. A SKU's rate has a gamma prior whose mean is one line in as many as there are SKUs: that is
# the mean over the catalogue whatever it sells.
# Source: Gelman et al. (2013), Bayesian Data Analysis, 3rd edition, section 2.6 (gamma-Poisson).

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from oddlot.engine.compiled import outlined
from oddlot.statistics.tails import upper_tail

PRIOR_SHAPE = 0.5  # of the rates over a catalogue: few SKUs sell often, most seldom
DISPERSION = 0.1  # squared relative spread of a SKU's days; best predictive likelihood of days
_FEW = 200.0
_MOST = 10_000.0  # terms
_ENOUGH = 1e-7  # terms smaller than this part of the sum no longer count
_DAY_US = 86_400_000_000


@outlined
def rate_of(orders, lines, skus):
    """Return the mean of a SKU's rate, orders per line of the catalogue.

    Args:
        orders: of the SKU, older ones counting less.
        lines: of the catalogue in the same time, counted alike.
        skus: how many SKUs there are; at least 1.
    """
    return (orders + PRIOR_SHAPE) / (lines + PRIOR_SHAPE * skus)


@outlined
def chance_of_more(count, mean, orders):
    """Return the mid-p chance of at least `count` orders when `mean` are expected.

    Args:
        count: orders in the window.
        mean: expected in it; > 0.
        orders: that the rate was learnt from, outside of the window.
    """
    shape = 1.0 / (DISPERSION + 1.0 / (orders + PRIOR_SHAPE))
    if count > _FEW or mean > _FEW:
        return upper_tail(count, shape, mean, 0.5)
    # Few orders: a product of their odds is quicker than the gamma functions of the formula.
    odds = mean / (shape + mean)
    term = math.exp(-shape * math.log1p(mean / shape))
    k = 0.0
    while k < count:
        term *= (shape + k) / (k + 1.0) * odds
        k += 1.0
    total = 0.5 * term
    while k < count + _MOST:
        ratio = (shape + k) / (k + 1.0) * odds
        term *= ratio
        total += term
        k += 1.0
        if ratio < 1.0 and term < _ENOUGH * total * (1.0 - ratio):
            break
    return max(1e-300, min(1.0, total))


@lru_cache(maxsize=8)
def fading_by_trading_day(half_life_us: int) -> Any:
    """Return what is left of a weight after 0, 1, 2 ... trading days; 0 after 40 half-lives."""
    days = max(1, -(-40 * half_life_us // _DAY_US))
    fading = 0.5 ** (np.arange(min(days, 36_500) + 1) * (_DAY_US / half_life_us))
    fading[-1] = 0.0
    return fading
