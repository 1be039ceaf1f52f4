"""The rule of the reference pipeline: a SKU's quantities averaged over an hour, below ten."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from judging.orders import Orders, make_alerts

_HOUR = 3_600_000_000_000
_FEWEST = 10.0


def find(orders: Orders) -> Any:
    """Alert at every line whose hour has an average below ten, the lowest first."""
    hours: dict[int, deque[tuple[int, int]]] = {}
    sums: dict[int, int] = {}
    average = np.empty(len(orders.time))
    rows = zip(
        orders.time.astype(np.int64).tolist(),
        orders.sku.tolist(),
        orders.quantity.tolist(),
        strict=True,
    )
    for place, (time, sku, quantity) in enumerate(rows):
        hour = hours.setdefault(sku, deque())
        hour.append((time, quantity))
        total = sums.get(sku, 0) + quantity
        while hour[0][0] <= time - _HOUR:
            total -= hour.popleft()[1]
        sums[sku] = total
        average[place] = total / len(hour)
    low = average < _FEWEST
    codes = orders.codes[orders.sku[low]]
    return make_alerts(orders.time[low], codes, "generic", -average[low])
