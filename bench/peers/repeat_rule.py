"""The same basket of the same customer again within a day."""

from __future__ import annotations

from typing import Any

import numpy as np
from judging.orders import Orders, make_alerts

_DAY = 86_400_000_000_000
_FEWEST = 4  # lines in a basket


def find(orders: Orders) -> Any:
    """Alert at a basket seen within 24 hours; the score is log10 of its lines."""
    import pandas as pd

    lines = np.flatnonzero(orders.is_sale)
    time = orders.time[lines].astype(np.int64)
    keys = pd.MultiIndex.from_arrays([orders.invoice[lines], time]).factorize()[0]
    order = np.argsort(keys, kind="stable")
    bounds = np.flatnonzero(np.diff(keys[order], prepend=-1))
    sku, quantity = orders.sku[lines].tolist(), orders.quantity[lines].tolist()
    customer = orders.customer[lines].tolist()
    baskets = []
    for group in np.split(order, bounds[1:]):
        if len(group) >= _FEWEST:
            first = int(group[0])
            basket = tuple(sorted((sku[k], quantity[k]) for k in group))
            baskets.append((int(time[first]), first, customer[first], basket))
    last: dict[Any, list[tuple[int, float]]] = {}
    found = []
    for when, first, who, basket in sorted(baskets, key=lambda one: one[:2]):
        before = [one for one in last.get(basket, []) if when - one[0] <= _DAY]
        if any(who == one[1] or np.isnan(who) or np.isnan(one[1]) for one in before):
            found.append((lines[first], np.log10(len(basket))))
        last[basket] = [*before, (when, who)]
    where = np.array([line for line, _ in found], int)
    codes = orders.codes[orders.sku[where]]
    scores = [score for _, score in found]
    return make_alerts(orders.time[where], codes, "duplicate_invoice", scores)
