"""Scores of one detector on one seed, and their means over seeds."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from judging.injected import Seed
from judging.running import Found

BUDGETS = (1, 5, 20)  # alerts a day
PROMISES = (0.25, 1, 5, 20)  # false alarms a day that a user accepts
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Spread:
    """A figure over seeds."""

    mean: float
    low: float
    high: float


def judge(found: Found, seed: Seed, is_rate: bool) -> dict[str, Any]:
    """Score what one detector found in one seed.

    Args:
        found: its alerts.
        seed: what they are about.
        is_rate: whether its scores are -log10 of alerts a day, so that it has thresholds of its
            own.

    Returns:
        "at": InventoryBench's report by budget; "own": its report at the detector's own
        threshold, with the false alarms a day on clean data, by budget; "curve": precision at
        RECALLS, NaN where it does not reach; "lines_a_second".
    """
    from inventorybench import score

    told = ["time", "sku", "type", "score"]
    stream, clean = found.stream[told], found.clean[told]
    report: dict[str, Any] = {"at": {}, "own": {}, "lines_a_second": found.lines_a_second}
    for budget, promise in zip((20, *BUDGETS), PROMISES, strict=True):
        own = -math.log10(promise) if is_rate else None
        one = score(stream, seed.labels, seed.days, budget, own=own, clean_alerts=clean)
        if is_rate:
            report["own"][promise] = one.pop("own")
            report["own"][promise]["clean_fp_per_day"] = one.pop("own_clean_fp_per_day")
            inside = _inside(clean)
            many = int((inside["score"] >= own).sum())
            report["own"][promise]["clean_alerts_per_day"] = many / seed.days
        report["at"][budget] = one
    report["curve"] = _curve(stream, seed.labels)
    return report


def _inside(alerts: Any) -> Any:
    """Take the alerts of the scored period."""
    import pandas as pd
    from inventorybench.inject import Config
    from inventorybench.score import GRACE

    times, end = alerts["time"], pd.Timestamp(Config.end) + GRACE
    return alerts[(times >= Config.start) & (times < end)].reset_index(drop=True)


def _curve(alerts: Any, labels: Any) -> list[float]:
    """Return the best precision at each recall or above, as the threshold falls."""
    import pandas as pd
    from inventorybench.score import match

    alerts = _inside(alerts)
    status, hits = match(alerts, labels)
    score = alerts["score"].to_numpy(float)
    best = pd.Series(score[hits["alert"]]).groupby(hits["label"].to_numpy()).max().to_numpy()
    wrong = np.sort(score[status == "fp"])
    cut = np.sort(best)[::-1]
    found = np.arange(1, len(cut) + 1)
    false = len(wrong) - np.searchsorted(wrong, cut)
    recall = found / max((labels["kind"] == "planted").sum(), 1)
    precision = np.maximum.accumulate((found / (found + false))[::-1])[::-1]
    place = np.searchsorted(recall, RECALLS - 1e-9)
    reached = place < len(cut)
    out = np.full(len(RECALLS), np.nan)
    out[reached] = precision[place[reached]]
    return [float(value) for value in out]


def spread(reports: list[dict[str, Any]], *path: Any) -> Spread | None:
    """Return a figure over seeds, by its keys in a report; None where no seed has it."""
    values = []
    for report in reports:
        value: Any = report
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            values.append(float(value))
    return Spread(statistics.fmean(values), min(values), max(values)) if values else None
