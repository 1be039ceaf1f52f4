"""Order lines as the peers read them: arrays, kinds of line, counts by SKU and trading day."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ALERT = ["time", "sku", "type", "score"]
_DAY = np.timedelta64(1, "D")
_CLOSE = np.timedelta64(21 * 60, "m")  # the benchmark's clock ends at nine in the evening


@dataclass(frozen=True)
class Orders:
    """Order lines in time order.

    Attributes:
        time: shape (lines,), datetime64[ns].
        sku: shape (lines,), numbers of SKUs.
        codes: shape (SKUs,), their codes.
        quantity: shape (lines,).
        price: shape (lines,).
        customer: shape (lines,), NaN without one.
        invoice: shape (lines,), numbers as text.
        is_sale: shape (lines,), merchandise sold.
        is_return: shape (lines,), merchandise taken back.
        is_adjustment: shape (lines,), merchandise written off.
    """

    time: Any
    sku: Any
    codes: Any
    quantity: Any
    price: Any
    customer: Any
    invoice: Any
    is_sale: Any
    is_return: Any
    is_adjustment: Any

    @functools.cached_property
    def days(self) -> Any:
        """The days on which something was sold, shape (days,), datetime64[D]."""
        return np.unique(self.time[self.is_sale].astype("datetime64[D]"))

    @property
    def trading_days(self) -> int:
        """How many days there are."""
        return len(self.days)

    @functools.cached_property
    def day_of(self) -> Any:
        """The place of each line's day in `days`, or of the next, shape (lines,)."""
        return np.searchsorted(self.days, self.time.astype("datetime64[D]"))

    @functools.cached_property
    def closes(self) -> Any:
        """When each day is over: nine in the evening or its last line, shape (days,)."""
        closes = self.days.astype("datetime64[ns]") + _CLOSE
        last = np.searchsorted(self.time, (self.days + _DAY).astype("datetime64[ns]")) - 1
        return np.maximum(closes, self.time[last])

    def count(self, which: Any) -> Any:
        """Count lines by SKU and trading day.

        Args:
            which: shape (lines,), booleans.

        Returns:
            Shape (SKUs, days).
        """
        counts = np.zeros((len(self.codes), len(self.days)))
        inside = which & (self.day_of < len(self.days))
        np.add.at(counts, (self.sku[inside], self.day_of[inside]), 1)
        return counts


def read_orders(file: Path) -> Orders:
    """Read a stream or a clean file of the benchmark."""
    import pandas as pd
    from inventorybench import load_stream
    from inventorybench.inject import is_cancel, is_merchandise

    lines = load_stream(file)
    sku, codes = pd.factorize(lines["StockCode"])
    quantity, price = lines["Quantity"].to_numpy(), lines["UnitPrice"].to_numpy(float)
    goods, cancelled = is_merchandise(lines["StockCode"]), is_cancel(lines["InvoiceNo"])
    return Orders(
        time=lines["InvoiceDate"].to_numpy(),
        sku=sku,
        codes=np.asarray(codes, object),
        quantity=quantity,
        price=price,
        customer=lines["CustomerID"].to_numpy(float),
        invoice=lines["InvoiceNo"].to_numpy(object),
        is_sale=goods & ~cancelled & (quantity > 0) & (price > 0),
        is_return=goods & cancelled & (quantity < 0),
        is_adjustment=goods & ~cancelled & (quantity < 0),
    )


def make_alerts(time: Any, sku: Any, kind: str, score: Any) -> Any:
    """Make a table of alerts.

    Args:
        time: shape (alerts,).
        sku: shape (alerts,), codes, or "*".
        kind: the type of all of them.
        score: shape (alerts,).
    """
    import pandas as pd

    table = pd.DataFrame({"time": time, "score": score})
    table["sku"], table["type"] = sku, kind
    return table[ALERT].sort_values("time", kind="stable").reset_index(drop=True)


def drop_repeats(alerts: Any, hours: int = 72, rise: float = 0.5) -> Any:
    """Leave out what says nothing new: the rule that Oddlot's budget has, for every peer.

    Args:
        alerts: in time order.
        hours: an alert for a SKU and type so soon after another is a repeat,
        rise: unless its score is so much higher.
    """
    last: dict[tuple[str, str], tuple[int, float]] = {}
    keep = np.zeros(len(alerts), bool)
    times = alerts["time"].to_numpy().astype("datetime64[s]").astype(np.int64).tolist()
    rows = zip(times, alerts["sku"], alerts["type"], alerts["score"], strict=True)
    for place, (time, sku, kind, score) in enumerate(rows):
        before = last.get((sku, kind))
        if before is None or time - before[0] > hours * 3600 or score >= before[1] + rise:
            keep[place] = True
            last[sku, kind] = (time, score)
    return alerts[keep].reset_index(drop=True)
