"""A line's price against the median and the absolute deviations of the SKU's last fifty."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Any

import numpy as np
from judging.orders import Orders, drop_repeats, make_alerts

_KEPT = 50
_FEWEST = 10
_LEAST = 3.0
_CENT = 0.005  # so that a price of nought has a logarithm


def find(orders: Orders) -> Any:
    """Alert at log prices three deviations off; the score is log10 of how many."""
    lines = np.flatnonzero((orders.quantity > 0) & (orders.is_sale | (orders.price <= 0)))
    # Corrections of the stock have no price and no customer: they are no sales for nothing.
    lines = lines[(orders.price[lines] > 0) | ~np.isnan(orders.customer[lines])]
    window: dict[int, tuple[deque[float], list[float]]] = {}
    z = np.zeros(len(lines))
    prices = np.log(np.maximum(orders.price[lines], _CENT)).tolist()
    for place, (sku, price) in enumerate(zip(orders.sku[lines].tolist(), prices, strict=True)):
        order, ranked = window.setdefault(sku, (deque(), []))
        if len(order) >= _FEWEST:
            median = ranked[len(ranked) // 2]
            off = abs(price - median)
            if off > 0.3:  # a third dearer or cheaper: less is no news at any spread
                spread = sorted(abs(one - median) for one in ranked)[len(ranked) // 2]
                z[place] = off / max(1.4826 * spread, 0.1)
        order.append(price)
        insort(ranked, price)
        if len(order) > _KEPT:
            del ranked[bisect_left(ranked, order.popleft())]
    odd = z >= _LEAST
    where = lines[odd]
    codes = orders.codes[orders.sku[where]]
    score = [math.log10(one) for one in z[odd]]
    alerts = make_alerts(orders.time[where], codes, "price_error", score)
    return drop_repeats(alerts, rise=0.15)
