"""A line's quantity against the SKU's exponentially weighted mean and spread."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from judging.orders import Orders, drop_repeats, make_alerts

_WEIGHT = 0.05
_FEWEST = 10  # lines before a SKU is judged
_LEAST = 3.0  # standard deviations


def find(orders: Orders) -> Any:
    """Alert at lines three deviations above; the score is log10 of how many."""
    mean: dict[int, float] = {}
    square: dict[int, float] = {}
    seen: dict[int, int] = {}
    lines = np.flatnonzero(orders.is_sale)
    z = np.zeros(len(lines))
    rows = zip(orders.sku[lines].tolist(), orders.quantity[lines].tolist(), strict=True)
    for place, (sku, quantity) in enumerate(rows):
        count = seen.get(sku, 0)
        if not count:
            mean[sku], square[sku] = float(quantity), 0.0
        off = quantity - mean[sku]
        if count >= _FEWEST:
            z[place] = off / math.sqrt(square[sku] + 1.0)
        mean[sku] += _WEIGHT * off
        square[sku] = (1 - _WEIGHT) * (square[sku] + _WEIGHT * off * off)
        seen[sku] = count + 1
    odd = z >= _LEAST
    where = lines[odd]
    codes = orders.codes[orders.sku[where]]
    return drop_repeats(make_alerts(orders.time[where], codes, "up", np.log10(z[odd])), rise=0.15)
