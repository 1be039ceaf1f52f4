"""What the page needs of a run, kept in fixed memory while the lines go by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from oddlot.engine.embedded import Outcome
from oddlot.engine.event_time import Released
from oddlot.schema import SALE, Alert, Incident

DAY_US = 86_400_000_000
STORIES = 50  # incidents that the page tells
_KEPT = 200  # incidents that are kept meanwhile: a small one may still grow
_MEMBERS = 12  # alerts kept of each
_MOST_DAYS = 40_000  # a century; only days past it are not counted one by one
RATES_PER_DECADE = 10
RAREST_LOG, OFTENEST_LOG = -6, 6  # log10 of the rates that are told apart
RATES = RATES_PER_DECADE * (OFTENEST_LOG - RAREST_LOG) + 1

# What is counted of each SKU. A day is one with a sale.
SKU = np.dtype([("lines", "<i8"), ("days", "<i4"), ("first", "<i4"), ("last", "<i4")])


class Story(msgspec.Struct):
    """One incident with its alerts, the worst first, at most twelve of them."""

    incident: Incident
    alerts: list[Alert]


class Tally(msgspec.Struct):
    """What one detector found.

    Attributes:
        alerts: how many.
        rates: shape (RATES,), alerts by how often so odd a thing turns up; see `rate_of`.
        worst: the highest score.
        stake: money at risk, all together.
    """

    alerts: int
    rates: Any
    worst: float = -math.inf
    stake: float = 0.0


class Band(NamedTuple):
    """SKUs that sell about equally often.

    Attributes:
        most: lines a trading day, at most; above 0.
        skus: how many there are.
        lines: how many lines they sold.
        days: after how many trading days without a sale half of them would be told as silent;
            NaN where there are none.
        blind: how many could not have been told silent in the time that the file covers.
    """

    most: float
    skus: int
    lines: int
    days: float
    blind: int


class Collector:
    """Takes what becomes of each batch; gives what the page says.

    Attributes:
        days: order lines by day, days since 1970.
        alert_days: alerts by day.
        tallies: what each test found, by its type.
        incidents: how many there were.
    """

    def __init__(self, tests: Sequence[str]) -> None:
        """Start with nothing.

        Args:
            tests: types of the tests that run; each has a tally, be it empty.
        """
        self.days: Counter[int] = Counter()
        self.alert_days: Counter[int] = Counter()
        self.tallies = {name: Tally(0, np.zeros(RATES, np.int64)) for name in tests}
        self.incidents = 0
        self._incident: dict[str, Incident] = {}
        self._alerts: dict[str, list[Alert]] = {}
        self._skus = np.zeros(1 << 12, SKU)

    def take(self, outcome: Outcome) -> None:
        """Count the lines and alerts of one batch."""
        self._count_lines(outcome.released)
        for incident in outcome.incidents:
            self._incident[incident.id] = incident
        for alert in outcome.alerts:
            self.incidents += alert.incident in ("", alert.id)  # the first has the incident's id
            self._count(alert)
        if max(len(self._alerts), len(self._incident)) > 2 * _KEPT:
            self._forget()

    def stories(self, most: int = STORIES) -> list[Story]:
        """Return the worst incidents, the worst first."""
        return [
            Story(self._told(name), sorted(self._alerts[name], key=_badness, reverse=True))
            for name in self._worst(most)
        ]

    def bands(self, least: Sequence[float], chance: float) -> list[Band]:
        """Return how long a silence must be to be told, by how often SKUs sell.

        A SKU that sold on n of T trading days is silent for d more with the chance
        (T / (T + d))^(n + 1/2): its rate is not known, but learnt from n sales.

        Args:
            least: lines a trading day from which a SKU is in a band, falling; the last is 0.
            chance: that a silence must have to be told.

        Source:
            DeHoratius and Raman (2008), Inventory record inaccuracy, Management Science 54(4),
            for what a silence means; the predictive gap of a Poisson process whose rate has
            Jeffreys' prior is a Lomax law (Johnson, Kotz and Balakrishnan, 1994, chapter 20).
        """
        skus = self._skus[self._skus["lines"] > 0]
        calendar = np.sort(np.fromiter(self.days, np.int64, len(self.days)))
        watched = len(calendar) - np.searchsorted(calendar, skus["first"])
        watched = np.maximum(watched, 1)
        lines_a_day = skus["lines"] / watched
        needed = watched * np.expm1(-math.log(chance) / (skus["days"] + 0.5))
        bands, most = [], math.inf
        for edge in least:
            is_in = (lines_a_day < most) & (lines_a_day >= edge)
            days = needed[is_in]
            bands.append(
                Band(
                    most,
                    int(is_in.sum()),
                    int(skus["lines"][is_in].sum()),
                    float(np.median(days)) if len(days) else math.nan,
                    int(np.count_nonzero(days > len(calendar))),
                )
            )
            most = edge
        return bands

    def skus(self) -> int:
        """Return how many SKUs were sold."""
        return int(np.count_nonzero(self._skus["lines"]))

    def _count_lines(self, released: Released) -> None:
        line = released.lines.line[released.order]
        if len(line) == 0:
            return
        day = line["time_us"] // DAY_US
        for one, count in zip(*np.unique(day, return_counts=True), strict=True):
            if len(self.days) < _MOST_DAYS or int(one) in self.days:
                self.days[int(one)] += int(count)
        is_sale = (line["kind"] == SALE) & (line["quantity"] > 0)
        sku, day = line["sku"][is_sale].astype(np.int64), day[is_sale]
        if len(sku) == 0:
            return
        if int(sku.max()) >= len(self._skus):
            longer = np.zeros(max(2 * len(self._skus), int(sku.max()) + 1), SKU)
            longer[: len(self._skus)] = self._skus
            self._skus = longer
        rows = self._skus
        fresh = np.unique(sku)
        fresh = fresh[rows["lines"][fresh] == 0]
        np.add.at(rows["lines"], sku, 1)
        # Batches are in event-time order, so a SKU's days never fall.
        pairs = np.unique(np.stack([sku, day], axis=1), axis=0)
        sku, day = pairs[:, 0], pairs[:, 1]
        rows["last"][fresh] = -(2**31)
        rows["first"][fresh] = 2**31 - 1
        is_new = day > rows["last"][sku]
        np.add.at(rows["days"], sku[is_new], 1)
        np.maximum.at(rows["last"], sku, day)
        np.minimum.at(rows["first"], sku, day)

    def _count(self, alert: Alert) -> None:
        day = alert.time_us // DAY_US
        if len(self.alert_days) < _MOST_DAYS or day in self.alert_days:
            self.alert_days[day] += 1
        tally = self.tallies[alert.detector]
        tally.alerts += 1
        tally.rates[_place(alert.rate)] += 1
        tally.worst = max(tally.worst, alert.score)
        tally.stake += alert.stake
        members = self._alerts.setdefault(alert.incident or alert.id, [])
        members.append(alert)
        if len(members) > _MEMBERS:
            members.remove(min(members, key=_badness))

    def _told(self, name: str) -> Incident:
        if name in self._incident:
            return self._incident[name]
        alerts = self._alerts[name]
        worst = max(alerts, key=_badness)
        times = [alert.time_us for alert in alerts]
        return Incident(
            id=name,
            first_us=min(times),
            last_us=max(times),
            alerts=len(alerts),
            stake=worst.stake,
            probability=worst.probability,
            severity=worst.severity,
            score=worst.score,
            text=worst.text,
        )

    def _worst(self, most: int) -> list[str]:
        order = {
            name: (incident.severity, incident.score, name)
            for name in self._alerts
            for incident in (self._told(name),)
        }
        return sorted(order, key=lambda name: order[name], reverse=True)[:most]

    def _forget(self) -> None:
        kept = set(self._worst(_KEPT))
        self._alerts = {name: self._alerts[name] for name in self._alerts if name in kept}
        self._incident = {name: one for name, one in self._incident.items() if name in kept}


def rate_of(place: int) -> float:
    """Return the rate that a place in a tally's `rates` holds alerts up to."""
    return float(10.0 ** (RAREST_LOG + place / RATES_PER_DECADE))


def _place(rate: float) -> int:
    log = math.log10(max(rate, 1e-300))
    # A rate that is an edge belongs below it, whatever the last bit of its logarithm.
    place = math.ceil((log - RAREST_LOG) * RATES_PER_DECADE - 1e-9)
    return min(max(place, 0), RATES - 1)


def _badness(alert: Alert) -> tuple[float, float, str]:
    return alert.severity, alert.score, alert.id
