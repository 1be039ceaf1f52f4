"""Invoices of the whole shop in an hour against what that weekday and hour usually bring."""

from __future__ import annotations

from typing import Any

import numpy as np
from judging.orders import Orders, drop_repeats, make_alerts

_WEIGHT = 0.2
_FEWEST_WEEKS = 4
_LEAST = 2.0


def find(orders: Orders) -> Any:
    """Alert, when an hour is over, at improbably few invoices; score -log10 of the Poisson tail."""
    import pandas as pd
    from scipy import stats

    lines = np.flatnonzero(orders.is_sale)
    hour = orders.time[lines].astype("datetime64[h]").astype(np.int64)
    first = pd.DataFrame({"hour": hour, "invoice": orders.invoice[lines]}).drop_duplicates()
    start = int(hour[0]) // 24 * 24
    counts = np.bincount(first["hour"].to_numpy() - start, minlength=int(hour[-1]) - start + 2)
    usual = np.zeros(168)
    weeks = np.zeros(168)
    times, scores = [], []
    for place, count in enumerate(counts):
        slot = (place + start) % 168
        if weeks[slot] >= _FEWEST_WEEKS and usual[slot] >= 3:
            score = -stats.poisson.logcdf(count, usual[slot]) / np.log(10)
            if score >= _LEAST:
                times.append(np.datetime64(start + place + 1, "h"))
                scores.append(score)
        weight = max(_WEIGHT, 1 / (weeks[slot] + 1))
        usual[slot] += weight * (count - usual[slot])
        weeks[slot] += 1
    when = np.array(times, "datetime64[h]").astype("datetime64[ns]")
    return drop_repeats(make_alerts(when, "*", "site_outage", np.array(scores)), hours=16)
