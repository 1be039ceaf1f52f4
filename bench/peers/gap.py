"""Days without a sale of a SKU against its rate: the exponential gap test, on trading days."""

from __future__ import annotations

from typing import Any

import numpy as np
from judging.orders import Orders, make_alerts

from peers.day_counts import mean_before

# Lines missed, the logarithm of a gap's chance, at which it is told: 3.5 is one in 33. A SKU that
# is gone for good needs no more alerts after the last.
_LEVELS = 3.5 * 1.4 ** np.arange(7)
_FEWEST_DAYS = 20


def find(orders: Orders) -> Any:
    """Alert, when a day is over, at gaps grown to the next level; the score is log10 of it."""
    counts = orders.count(orders.is_sale)
    mean, _ = mean_before(counts)
    day = np.arange(counts.shape[1])
    last = np.maximum.accumulate(np.where(counts > 0, day, -1), axis=1)
    rows = np.arange(len(counts))[:, None]
    # The rate up to the day after the last sale: the gap is not its own baseline.
    rate = mean[rows, np.minimum(last + 1, len(day) - 1)]
    missed = np.where(last >= _FEWEST_DAYS, rate * (day - last), 0.0)
    level = np.searchsorted(_LEVELS, missed, side="right")
    grew = np.zeros(counts.shape, bool)
    grew[:, 1:] = level[:, 1:] > level[:, :-1]
    at, sku = np.nonzero(grew.T)
    score = np.log10(missed[sku, at])
    return make_alerts(orders.closes[at], orders.codes[sku], "silent_sku", score)
