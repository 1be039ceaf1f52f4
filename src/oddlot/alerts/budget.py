"""From chances to alerts: how often something at least this odd turns up, and who may alert."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from oddlot.engine.compiled import compiled

_DAY_US = 86_400_000_000
_SMALL = 1e-2  # chances up to this are the tail that is watched
_PRIOR = 50.0  # how many small chances the belief in the model is worth
_KEEP = 0.5 ** (1 / 60)  # a half-life of 60 trading days
_FIXED = float(1 << 32)
_FEWEST = 1_000.0  # tests a day to count with before there are more: a first day is short

# What one detector's past is, in fixed memory: sums over trailing trading days.
PAST = np.dtype(
    [
        ("day", "<i8"),  # the newest day with a line, days since 1970
        ("days", "<f8"),
        ("tests", "<f8"),
        ("small", "<f8"),  # how many chances were at most _SMALL
        ("excess", "<i8"),  # sum over them of ln(_SMALL / chance), in 2^-32: order does not matter
    ]
)


@compiled
def _rate(event, first, last, found, pasts, rate):
    """Fill rate[i] for event[first + i]; NaN where nothing was tested; learn each instant."""
    past = pasts[0]
    i = first
    while i < last:
        time_us = event[i].time_us
        day = time_us // _DAY_US
        if day > past.day or past.days == 0.0:  # days before 1970 are negative
            past.days = past.days * _KEEP + 1.0
            past.tests *= _KEEP
            past.small *= _KEEP
            past.excess = np.int64(past.excess * _KEEP)
            past.day = day
        tests_a_day = max(past.tests / past.days, _FEWEST)
        expected = past.tests * _SMALL
        truth = (past.small + _PRIOR) / (expected + _PRIOR)
        mean_excess = (past.excess / _FIXED + _PRIOR) / (past.small + _PRIOR)
        j = i
        while j < last and event[j].time_us == time_us:
            chance = found[j - first].chance
            rate[j - first] = np.nan
            if chance == chance:
                if chance > _SMALL:
                    rate[j - first] = tests_a_day * chance
                else:
                    beyond = math.log(_SMALL / max(chance, 1e-300))
                    rate[j - first] = tests_a_day * _SMALL * truth * math.exp(-beyond / mean_excess)
            j += 1
        for k in range(i, j):
            chance = found[k - first].chance
            if chance == chance:
                past.tests += 1.0
                if chance <= _SMALL:
                    past.small += 1.0
                    past.excess += np.int64(math.log(_SMALL / max(chance, 1e-300)) * _FIXED)
        i = j


class Budget:
    """What each test may spend of the false alerts a day that the user accepts.

    A chance becomes a rate: how many times a day, over the whole catalogue, this detector has
    something at least this odd. Above the tail the model is believed; in the tail, the count
    and the mean excess of the detector's own past correct it (a Hill estimate with a prior that
    is worth 50 chances). A detector alerts where the rate is at most its share.

    Source:
        Hill (1975), A simple general approach to inference about the tail of a distribution,
        Annals of Statistics 3(5).
    """

    def __init__(self, false_alerts_per_day: float, types: list[str]) -> None:
        """Split the budget evenly over the tests of those types."""
        self.share = false_alerts_per_day / max(1, len(types))
        self._past = {name: np.zeros(1, PAST) for name in types}

    def rate(self, name: str, event: Any, first: int, last: int, found: Any) -> Any:
        """Bring a detector's chances to rates, and learn them.

        Args:
            name: the detector's type.
            event: shape (events,), dtype EVENT, in event-time order.
            first, last: which events were tested; whole instants.
            found: shape (last - first,), with the field `chance`.

        Returns:
            How many a day are at least this odd, shape (last - first,); NaN where not tested.
        """
        rate = np.empty(last - first)
        _rate(event, first, last, found, self._past[name], rate)
        return rate

    def save(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return dict(self._past)

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `save` gave; a detector that was not there then starts anew."""
        for name in self._past:
            if name in saved:
                self._past[name][:] = saved[name]
