"""The simple tests together, each score turned into how often its detector has been this high."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Any

import numpy as np
from judging.orders import ALERT, Orders

from peers import adjustments, day_counts, gap, price_mad, quantity_z, repeat_rule, site_hourly

_DAYS = 60
_TAIL = 15  # of the highest scores, for what is beyond them
_DAY_S = 86_400

TESTS = (
    quantity_z.find,
    price_mad.find,
    day_counts.find_negative_binomial,
    gap.find,
    repeat_rule.find,
    adjustments.find,
    site_hourly.find,
)


def find(orders: Orders) -> Any:
    """Alert at what any test finds; the score is -log10 of alerts a day of its type so high."""
    import pandas as pd

    together = pd.concat([test(orders) for test in TESTS])
    found = [_rate(part, orders.days) for _, part in together.groupby("type", sort=True)]
    alerts = pd.concat(found).sort_values("time", kind="stable").reset_index(drop=True)
    alerts["type"] = alerts["type"].replace("up", "quantity_spike")
    return alerts[ALERT]


def _rate(alerts: Any, days: Any) -> Any:
    """Turn a detector's scores into rates by its own alerts of the sixty days before."""
    alerts = alerts.sort_values("time", kind="stable").reset_index(drop=True)
    times = alerts["time"].to_numpy().astype("datetime64[s]")
    trading = np.searchsorted(days, times.astype("datetime64[D]"), side="right").tolist()
    past: deque[tuple[int, float]] = deque()
    ranked: list[float] = []
    rates = []
    for day, score in zip(trading, alerts["score"].tolist(), strict=True):
        while past and past[0][0] <= day - _DAYS:
            del ranked[bisect_left(ranked, past.popleft()[1])]
        over = max(1, min(day, _DAYS))
        count = len(ranked) - bisect_left(ranked, score)
        if count < _TAIL <= len(ranked):
            # Beyond the fifteen highest an exponential tail, so that a record is not just a record.
            edge = ranked[-_TAIL]
            excess = sum(ranked[-_TAIL:]) / _TAIL - edge
            expected = _TAIL * math.exp(-(score - edge) / max(excess, 0.05))
        else:
            expected = count + 0.5
        rates.append(-math.log10(max(expected / over, 1e-30)))
        past.append((day, score))
        insort(ranked, score)
    return alerts.assign(score=rates)
