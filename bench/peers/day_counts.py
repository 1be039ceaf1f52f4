"""Lines of a SKU on one day against its forty trading days before: Poisson, negative binomial."""

from __future__ import annotations

from typing import Any

import numpy as np
from judging.orders import Orders, drop_repeats, make_alerts

_DAYS = 40
_FEWEST_DAYS = 20
_FEWEST_LINES = 3
_LEAST = 2.0  # -log10 of the chance
_SLUMP = 5  # days


def find_poisson(orders: Orders) -> Any:
    """Alert at improbably many sales or returns; the score is -log10 of the Poisson tail."""
    return drop_repeats(_join(_find_high(orders, use_dispersion=False)))


def find_negative_binomial(orders: Orders) -> Any:
    """Alert at improbably many sales or returns, with a dispersion, and at slumps of five days."""
    return drop_repeats(_join([*_find_high(orders, use_dispersion=True), _find_slumps(orders)]))


def mean_before(counts: Any, days: int = _DAYS) -> tuple[Any, Any]:
    """Average counts over the trading days before each day.

    Args:
        counts: shape (SKUs, days).
        days: how many before.

    Returns:
        Means, shape (SKUs, days), and how many days there were, shape (days,).
    """
    total = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
    day = np.arange(counts.shape[1])
    start = np.maximum(day - days, 0)
    spans = day - start
    # Half a line more, so that what never sold is not impossible.
    return (total[:, day] - total[:, start] + 0.5) / (spans + 1.0), spans


def _dispersion(counts: Any, mean: Any) -> Any:
    """Pool over SKUs: variance = mean + dispersion * mean squared; shape (days,)."""
    # Days beyond four deviations are what is looked for, not what is usual.
    usual = (np.abs(counts - mean) <= 4 * np.sqrt(mean + 1)) & (mean > 0.2)
    excess = np.cumsum(np.where(usual, (counts - mean) ** 2 - mean, 0).sum(axis=0))
    squares = np.cumsum(np.where(usual, mean**2, 0).sum(axis=0))
    before = np.clip(excess / np.maximum(squares, 1.0), 0.05, 1.0)
    return np.concatenate([[0.3], before[:-1]])


def _find_high(orders: Orders, use_dispersion: bool) -> list[Any]:
    import pandas as pd
    from scipy import stats

    found = []
    kinds = (("demand_surge", orders.is_sale, 1), ("return_surge", orders.is_return, 2))
    for kind, which, width in kinds:
        counts = orders.count(which)
        mean, spans = mean_before(counts)
        lines = np.flatnonzero(which & (orders.day_of < len(orders.days)))
        sku, day = orders.sku[lines], orders.day_of[lines]
        count = pd.Series(sku).groupby([sku, day]).cumcount().to_numpy() + 1
        if width == 2:  # returns are few: the day before counts with its day
            count += np.where(day > 0, counts[sku, day - 1], 0).astype(int)
            mean[:, 1:] = mean[:, :-1]
        tested = (count >= _FEWEST_LINES) & (spans[day] >= _FEWEST_DAYS)
        lines, sku, day, count = lines[tested], sku[tested], day[tested], count[tested]
        rate = mean[sku, day] * width
        if use_dispersion:
            size = 1 / _dispersion(counts, mean)[day]
            log_chance = stats.nbinom.logsf(count - 1, size, size / (size + rate))
        else:
            log_chance = stats.poisson.logsf(count - 1, rate)
        score = -log_chance / np.log(10)
        odd = score >= _LEAST
        codes = orders.codes[sku[odd]]
        found.append(make_alerts(orders.time[lines[odd]], codes, kind, score[odd]))
    return found


def _find_slumps(orders: Orders) -> Any:
    from scipy import stats

    counts = orders.count(orders.is_sale)
    mean, spans = mean_before(counts)
    size = 1 / _dispersion(counts, mean)
    total = np.cumsum(counts, axis=1)
    last = total.copy()
    last[:, _SLUMP:] -= total[:, :-_SLUMP]
    # The rate is that before the slump, else the slump would be its own baseline.
    usual = np.empty_like(mean)
    usual[:, _SLUMP - 1 :] = mean[:, : mean.shape[1] - _SLUMP + 1]
    usual[:, : _SLUMP - 1] = 0.0
    tested = (usual * _SLUMP >= 5) & (spans >= _FEWEST_DAYS + _SLUMP)
    sku, day = np.nonzero(tested)
    rate, sizes = usual[sku, day] * _SLUMP, size[day]
    chance = stats.nbinom.logcdf(last[sku, day], sizes, sizes / (sizes + rate))
    score = -chance / np.log(10)
    odd = score >= _LEAST
    codes = orders.codes[sku[odd]]
    return make_alerts(orders.closes[day[odd]], codes, "demand_drop", score[odd])


def _join(found: list[Any]) -> Any:
    import pandas as pd

    return pd.concat(found).sort_values("time", kind="stable").reset_index(drop=True)
