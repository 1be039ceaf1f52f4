"""From chances to alerts: how often something at least this odd turns up, and who may alert."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from oddlot.engine.compiled import compiled, inlined, outlined

_DAY_US = 86_400_000_000
_NOTED = 2.0  # oddness (-log10 of the chance) from which findings are counted
_WIDTH = 0.125  # of a bin of oddness
_BINS = 160  # up to an oddness of 22
_PRIOR = 50.0  # how many findings the belief in the model is worth
_KEEP = 0.5 ** (1 / 60)  # a half-life of 60 trading days
_FEWEST = 1_000.0  # tests to count with before there are more: a first day is short
_TAIL = 15.0  # the tail's slope is taken from about so many of the oddest findings
_SLOPE = 1 / math.log(10)  # mean excess of the oddness of true chances
_SLOPE_WEIGHT = 5.0
_ODDER = 0.5  # a repeat is told when it is about three times rarer
# What is found is partly real: the rarer, the more of it. See `false_rate`.
_NOISE = 1.8
_REAL = 22.0
_MOST_AN_HOUR = 20.0  # a shock that moves many SKUs at once teaches no more than so many
_HOUR_US = 3_600_000_000
_REPEAT_US = 3 * _DAY_US  # for so long a finding on the same SKU is a repeat

# What one detector's past is, in fixed memory: counts over trailing trading days.
PAST = np.dtype(
    [
        ("days", "<f8"),  # how many days with trade there were
        ("faded", "<f8"),  # the same, older days counting less
        ("tests", "<f8"),  # how many were made before the newest finding
        ("hour", "<i8"),  # the newest hour with a finding, since 1970
        ("in_hour", "<f8"),  # how many findings it has
        ("count", "<f8", (_BINS,)),  # findings by oddness, older ones counting less
    ]
)
# What was found last on a SKU; the first row is the whole shop's.
TOLD = np.dtype([("time_us", "<i8"), ("oddness", "<f8")])


@inlined
def _oddness(chance):
    return -math.log10(max(chance, 1e-300))


@inlined
def _bin(oddness):
    return min(_BINS - 1, max(0, int((oddness - _NOTED) / _WIDTH)))


@outlined
def _tail(past):
    """Return where the tail begins, its mean excess, and how many findings are in it."""
    beyond, excess = 0.0, 0.0
    b = _BINS - 1
    while b > 0 and beyond < _TAIL:
        # Moving the edge down by one bin brings every excess up by its width.
        excess += beyond * _WIDTH + past["count"][b] * 0.5 * _WIDTH
        beyond += past["count"][b]
        b -= 1
    edge = _NOTED + (b + 1) * _WIDTH
    slope = (excess + _SLOPE_WEIGHT * _SLOPE) / (beyond + _SLOPE_WEIGHT)
    return edge, slope, beyond


@inlined
def _rate_of(past, tests, oddness, edge, slope, beyond):
    """Return how many findings a day are at least this odd."""
    days = max(past.faded, 1.0)
    tests_a_day = (tests + _FEWEST) / max(past.days, 1.0)
    prior_days = _PRIOR / (tests_a_day * 10.0**-_NOTED)
    prior = _PRIOR * 10.0 ** (_NOTED - oddness)
    if oddness > edge:
        counted = beyond * math.exp((edge - oddness) / slope)
    else:
        counted = 0.0
        place = _bin(oddness)
        for b in range(place + 1, _BINS):
            counted += past["count"][b]
        part = (oddness - _NOTED) / _WIDTH - place
        counted += past["count"][place] * (1.0 - part)
    return (counted + prior) / (days + prior_days)


@compiled
def _threshold(pasts, rate):
    """Return the oddness from which findings are at most as frequent as `rate`."""
    past = pasts[0]
    edge, slope, beyond = _tail(past)
    low, high = _NOTED, 300.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _rate_of(past, past.tests, middle, edge, slope, beyond) > rate:
            low = middle
        else:
            high = middle
    return high


@compiled
def _new_days(event, day, starts):
    """Fill `starts` with the events at which a day with trade begins; return how many, the day."""
    count = 0
    instant = 0
    for i in range(len(event)):
        time_us = event[i].time_us
        if time_us != event[instant].time_us:
            instant = i
        # A day on which the clock alone strikes is no trade.
        if event[i].sku >= 0 and time_us // _DAY_US > day:
            day = time_us // _DAY_US
            starts[count] = instant
            count += 1
    return count, day


@inlined
def _begin_day(past):
    past.days += 1.0
    past.faded = past.faded * _KEEP + 1.0
    for b in range(_BINS):
        past["count"][b] *= _KEEP


@compiled
def _rate(event, starts, at, sku, tests, chance, pasts, told, rate):
    """Fill rate[f] for each finding, NaN for a mere repeat; learn each instant after it."""
    past = pasts[0]
    d = 0
    f = 0
    total = len(at)
    while f < total:
        time_us = event[at[f]].time_us
        while d < len(starts) and starts[d] <= at[f]:
            _begin_day(past)
            d += 1
        edge, slope, beyond = 0.0, 0.0, 0.0
        fresh = 0.0
        start = f
        while f < total and event[at[f]].time_us == time_us:
            oddness = _oddness(chance[f])
            last_told = told[sku[f] + 1]
            rate[f] = np.nan
            # What concerns the whole shop (sku -1) has no SKU to repeat itself on.
            is_repeat = (
                sku[f] >= 0
                and last_told.oddness > 0.0
                and time_us - last_told.time_us <= _REPEAT_US
            )
            if oddness >= _NOTED and not (is_repeat and oddness < last_told.oddness + _ODDER):
                if slope == 0.0:
                    edge, slope, beyond = _tail(past)
                rate[f] = _rate_of(past, tests[f], oddness, edge, slope, beyond)
                fresh += 1.0
            f += 1
        if fresh == 0.0:
            continue
        hour = time_us // _HOUR_US
        if hour != past.hour:
            past.hour = hour
            past.in_hour = 0.0
        weight = min(1.0, max(0.0, _MOST_AN_HOUR - past.in_hour) / fresh)
        past.in_hour += fresh
        past.tests = tests[start]
        for k in range(start, f):
            if rate[k] == rate[k]:
                oddness = _oddness(chance[k])
                past["count"][_bin(oddness)] += weight
                last_told = told[sku[k] + 1]
                if last_told.time_us != time_us or oddness > last_told.oddness:
                    last_told.time_us = time_us
                    last_told.oddness = oddness
    while d < len(starts):
        _begin_day(past)
        d += 1


def false_rate(found: Any) -> Any:
    """Return how many false alerts a day there are among `found` findings a day.

    A shop has oddities of its own, and they are more often extreme than accidents are: of what
    is found once in 22 days, one in 24 is false; of what is found 50 times a day, half. The two
    constants were chosen on the clean replay of the public seeds 1 to 6 of InventoryBench, which
    counts real oddities as no false alarms.
    """
    return found * found / (_NOISE * found + _REAL)


def found_rate(false: float) -> float:
    """Return the findings a day among which there are `false` false ones; see `false_rate`."""
    half = 0.5 * _NOISE * false
    return half + math.sqrt(half * half + _REAL * false)


class Budget:
    """What each test may spend of the false alerts a day that the user accepts.

    A chance becomes a rate: how many times a day, over the whole catalogue, all tests together
    say something at least this odd. The number of tests gives a first estimate; the detector's
    own findings of the trailing days correct it, counted in bins and, beyond the fifteen
    oddest, along an exponential tail. A repeat on the same SKU counts only if it is clearly
    odder. A detector's rate is divided by its part of the budget, so that one threshold serves
    all; and of what is found so often, only a part is false: what is at most the budget alerts.

    Source:
        Hill (1975), A simple general approach to inference about the tail of a distribution,
        Annals of Statistics 3(5).
    """

    def __init__(self, weights: Mapping[str, float], own_oddities: bool = True) -> None:
        """Split the budget over tests.

        Args:
            weights: of each test by its type; above 0.
            own_oddities: whether the shop has real oddities of its own; see `false_rate`.
        """
        self._own_oddities = own_oddities
        whole = sum(weights.values())
        self.part = {name: weight / whole for name, weight in weights.items()}
        self._past = {name: np.zeros(1, PAST) for name in weights}
        self._told = {name: np.zeros(1 << 12, TOLD) for name in weights}
        self._day = np.array([-(2**62)])  # the newest day with trade, since 1970
        self._starts = np.zeros(0, np.int64)  # events of the batch at which such a day begins

    def begin(self, event: Any) -> None:
        """Note the days with trade in a batch, before its findings are rated.

        Args:
            event: shape (events,), dtype EVENT, in event-time order; whole instants.
        """
        starts = np.empty(len(event), np.int64)
        count, self._day[0] = _trading_days(event, self._day[0], starts)
        self._starts = starts[:count]

    def rate(self, name: str, event: Any, found: Any, skus: int) -> Any:
        """Bring a detector's chances to rates, and learn them.

        Args:
            name: the detector's type.
            event: what `begin` was given.
            found: shape (findings,), with the fields of FOUND; `event` is an index into `event`.
            skus: how many SKUs are known.

        Returns:
            How many a day are at least this odd, shape (findings,); NaN for a mere repeat.
        """
        told = self._told[name]
        if skus + 1 > len(told):
            self._told[name] = np.zeros(max(2 * len(told), skus + 1), TOLD)
            self._told[name][: len(told)] = told
        rate = np.empty(len(found))
        _rates(
            event, self._starts, found["event"], found["sku"], found["tests"], found["chance"],
            self._past[name], self._told[name], rate,
        )  # fmt: skip
        found = rate / self.part[name]
        return false_rate(found) if self._own_oddities else found

    def threshold(self, name: str, false_alerts_per_day: float) -> float:
        """Return the largest chance of a detector that would alert now."""
        rate = found_rate(false_alerts_per_day) if self._own_oddities else false_alerts_per_day
        rate *= self.part[name]
        return float(10.0 ** -_limit(self._past[name], rate))

    def probability(self, rate: float) -> float:
        """Return the probability that a finding of this rate is real, 0 to 1.

        One minus the slope of `false_rate`; in a shop without oddities of its own, one real
        finding a day is taken to be among as many false ones as the rate says.
        """
        if not self._own_oddities:
            return 1.0 / (1.0 + rate)
        found = found_rate(rate)
        whole = _NOISE * found + _REAL
        return 1.0 - found * (_NOISE * found + 2.0 * _REAL) / (whole * whole)

    def save(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        saved = {f"past.{name}": past for name, past in self._past.items()} | {
            "budget.day": self._day
        }
        return saved | {f"told.{name}": told for name, told in self._told.items()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `save` gave; a detector that was not there then starts anew."""
        self._day = saved["budget.day"].copy()
        for name in self._past:
            if f"past.{name}" in saved:
                self._past[name][:] = saved[f"past.{name}"]
                self._told[name] = saved[f"told.{name}"].copy()


# Kernels have no types of their own; their callers have.
_rates: Any = _rate
_trading_days: Any = _new_days
_limit: Any = _threshold
