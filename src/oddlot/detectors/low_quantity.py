"""Lines of few units, with the average of the SKU's small lines in the last hour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import RULE_FOUND, TICK, Event, LineDetector
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled


# A field named sum is written ["sum"]: in plain Python a record has a method of that name.
@compiled
def _scan(rows, event, head, first, last, below, window_us, found):
    i = first
    while i < last:
        time_us = event[i].time_us
        while event[head].time_us < time_us - window_us:
            old = event[head]
            if old.quantity < below and old.kind != TICK:
                rows[old.sku]["sum"] -= old.quantity
                rows[old.sku].count -= 1
            head += 1
        j = i
        while j < last and event[j].time_us == time_us:
            if event[j].quantity < below and event[j].kind != TICK:
                row = rows[event[j].sku]
                row["sum"] += event[j].quantity
                row.count += 1
            j += 1
        for k in range(i, j):
            out = found[k - first]
            out.fires = 0
            out["sum"] = 0
            out.count = 0
            if event[k].quantity < below and event[k].kind != TICK:
                row = rows[event[k].sku]
                out.fires = 1
                out["sum"] = row["sum"]
                out.count = row.count
        i = j
    return head


class LowQuantity(LineDetector, frozen=True):
    """Lines of few units, with the average of the SKU's small lines in the last hour.

    The rule of the reference pipeline. For each line with a quantity below `below`, of any kind,
    it gives the sum, count and average of the SKU's lines below `below` in the window that ends
    with the line, both ends included, lines with the same time included. It fires on most lines
    of most shops: use it to compare, not to be woken.

    Source:
        The reference pipeline's windowed SQL: AVG(Quantity) OVER (PARTITION BY StockCode ORDER
        BY InvoiceDate RANGE INTERVAL '1' HOUR PRECEDING).
    """

    below: Annotated[int, Meta(description="Lines with fewer units than this count.")] = 10
    window: Annotated[Duration, Meta(description="How far back the average reaches.")] = "1h"

    row: ClassVar[np.dtype[Any]] = np.dtype([("sum", "<i8"), ("count", "<i8")])
    found: ClassVar[np.dtype[Any]] = RULE_FOUND
    is_rule: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ("WindowSum", "WindowCount", "AverageQuantity")

    def window_us(self) -> int:
        """Return the window in microseconds."""
        return parse_duration(self.window)

    def score(self, rows: Any, event: Any, head: int, first: int, last: int, found: Any) -> int:
        """Sum the window of each small line; see `LineDetector.score`."""
        window_us = self.window_us()
        return int(_scan(rows, event, head, first, last, self.below, window_us, found))

    def define(self, events: Iterable[Event]) -> list[dict[str, float]]:
        """Sum the window of each small line of one SKU; see `LineDetector.define`."""
        lines = list(events)
        result = []
        for line in lines:
            window = [
                other.quantity
                for other in lines
                if other.quantity < self.below
                and line.time_us - self.window_us() <= other.time_us <= line.time_us
            ]
            fires = line.quantity < self.below
            result.append(
                {
                    "fires": float(fires),
                    "sum": float(sum(window)) if fires else 0.0,
                    "count": float(len(window)) if fires else 0.0,
                }
            )
        return result
