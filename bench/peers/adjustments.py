"""Any stock adjustment downwards, the largest first."""

from __future__ import annotations

from typing import Any

import numpy as np
from judging.orders import Orders, make_alerts


def find(orders: Orders) -> Any:
    """Alert at every adjustment; the score is log10 of its units."""
    where = np.flatnonzero(orders.is_adjustment)
    codes = orders.codes[orders.sku[where]]
    return make_alerts(orders.time[where], codes, "write_off", np.log10(-orders.quantity[where]))
