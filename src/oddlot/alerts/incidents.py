"""Alerts with one cause become one incident."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from oddlot.detectors.contract import TICK
from oddlot.schema import RETURN, SALE, Alert, Incident

_DAY_US = 86_400_000_000
_OPEN_US = 3 * _DAY_US  # an alert this long after the last one has a cause of its own
_WATCH_US = 7 * _DAY_US  # for so long a return undoes a line
_AGAIN_US = 3_600_000_000  # for so long the same line once more is a doubled one
_HOUR_US = 3_600_000_000
_SHOCK = 20  # so many incidents of one detector within an hour have a cause in common
_MOST_MOVES = 500  # SKUs that sold too much or too little that are remembered
_MOST = 10_000  # incidents that are open at a time; the oldest close first


class _Watch(msgspec.Struct):
    """A line that raised an alert: what comes after may undo or repeat it."""

    incident: str
    sku: int
    quantity: int
    kind: int
    customer: int
    time_us: int
    at: int = -1  # its event in the batch that is being taken


class _Move(msgspec.Struct):
    """A SKU that sells more or fewer lines than it should, as an alert said."""

    incident: str
    sku: str
    lines: float  # negative when they are missing
    time_us: int


class Incidents:
    """Groups alerts by their cause, in event time.

    An alert joins the incident of its SKU or of its invoice whose last alert is at most three
    days old; otherwise it opens one, which has the alert's id. A line that raised an alert is
    watched for a week: a return of as many units to the same customer reverses it, and the same
    line again within an hour is a doubled one. When a detector has opened twenty incidents within
    an hour, what it finds next becomes one more: the shock that they share. A SKU that sells too
    much while another, one keystroke away, sells too little by about as much is of its incident:
    a wrong code.
    """

    def __init__(self) -> None:
        """Start with none open."""
        self._open: dict[str, Incident] = {}
        self._by_key: dict[str, str] = {}  # a SKU or an invoice, to the newest incident of it
        self._watched: dict[int, list[_Watch]] = {}
        self._moves: list[_Move] = []
        self._opened: dict[str, list[int]] = {}  # by detector, the last times it opened one
        self._day = 0  # when it was last looked for what is old

    def take(
        self, made: Sequence[tuple[Alert, int]], event: Any
    ) -> tuple[list[Alert], list[Incident]]:
        """Give each alert its incident.

        Args:
            made: alerts in order of time, each with the index of its event.
            event: shape (events,), dtype EVENT, the batch that they come from.

        Returns:
            The alerts with their incidents; the incidents that are new or have changed.
        """
        changed: dict[str, Incident] = {}
        alerts = []
        for alert, at in made:
            incident = self._find(alert)
            alerts.append(msgspec.structs.replace(alert, incident=incident.id))
            self._add(incident, alert)
            changed[incident.id] = incident
            line = event[at]
            if int(line["kind"]) != TICK and int(line["sku"]) >= 0:
                watch = _Watch(
                    incident=incident.id,
                    sku=int(line["sku"]),
                    quantity=int(line["quantity"]),
                    kind=int(line["kind"]),
                    customer=int(line["customer"]),
                    time_us=alert.time_us,
                    at=at,
                )
                self._watched.setdefault(watch.sku, []).append(watch)
        if self._watched:
            self._look(event, changed)
        told = [_copy(incident) for incident in changed.values()]
        if len(event) and int(event["time_us"][-1]) // _DAY_US != self._day:
            self._day = int(event["time_us"][-1]) // _DAY_US
            self._close(int(event["time_us"][-1]))
        return alerts, told

    def _find(self, alert: Alert) -> Incident:
        for key in _keys(alert):
            incident = self._open.get(self._by_key.get(key, ""))
            if incident is not None and alert.time_us - incident.last_us <= _OPEN_US:
                return incident
        pair = self._find_pair(alert)
        if pair is not None:
            return pair
        shock = f"shock {alert.detector}"
        opened = self._opened.setdefault(alert.detector, [])
        if len(opened) == _SHOCK and alert.time_us - opened[0] <= _HOUR_US:
            incident = self._open.get(self._by_key.get(shock, ""))
            if incident is not None and alert.time_us - incident.last_us <= _HOUR_US:
                return incident
        opened.append(alert.time_us)
        del opened[:-_SHOCK]
        if len(self._open) >= _MOST:
            self._close(alert.time_us)
            if len(self._open) >= _MOST:
                self._drop([min((one.last_us, name) for name, one in self._open.items())[1]])
        incident = Incident(id=alert.id, first_us=alert.time_us, last_us=alert.time_us)
        self._open[incident.id] = incident
        self._by_key[shock] = incident.id
        return incident

    def _find_pair(self, alert: Alert) -> Incident | None:
        """Find the incident of a SKU that moved the other way by as much under a like code."""
        lines = _lines_moved(alert)
        for move in reversed(self._moves if lines else []):
            incident = self._open.get(move.incident)
            if (
                incident is not None
                and alert.time_us - move.time_us <= _OPEN_US
                and 0.5 <= -move.lines / lines <= 2.0
                and _is_slip(move.sku, alert.sku)
            ):
                incident.pair = alert.sku
                return incident
        return None

    def _add(self, incident: Incident, alert: Alert) -> None:
        lines = _lines_moved(alert)
        if lines:
            self._moves.append(_Move(incident.id, alert.sku, lines, alert.time_us))
            del self._moves[:-_MOST_MOVES]
        for key in _keys(alert):
            self._by_key[key] = incident.id
        incident.last_us = alert.time_us
        incident.alerts += 1
        if alert.sku not in incident.skus:
            incident.skus.append(alert.sku)
        if alert.detector not in incident.detectors:
            incident.detectors.append(alert.detector)
        if alert.severity > incident.severity or incident.alerts == 1:
            incident.stake, incident.probability = alert.stake, alert.probability
            incident.severity, incident.text = alert.severity, alert.text
        if alert.score > incident.score or incident.alerts == 1:
            incident.score = alert.score

    def _look(self, event: Any, changed: dict[str, Incident]) -> None:
        """Look among a batch's lines for those that undo or repeat a watched one."""
        watched = np.fromiter(self._watched, np.int64, len(self._watched))
        for at in np.flatnonzero(np.isin(event["sku"], watched)).tolist():
            line = event[at]
            time_us, quantity, kind = (int(line[name]) for name in ("time_us", "quantity", "kind"))
            for watch in self._watched[int(line["sku"])]:
                incident = self._open.get(watch.incident)
                if incident is None or time_us < watch.time_us:
                    continue
                is_reversal = (
                    {watch.kind, kind} == {SALE, RETURN}
                    and quantity == -watch.quantity
                    and int(line["customer"]) == watch.customer
                    and time_us - watch.time_us <= _WATCH_US
                )
                if is_reversal and incident.reversed_us is None:
                    incident.reversed_us = time_us
                    incident.reversed_after_us = time_us - watch.time_us
                    changed[incident.id] = incident
                    break
                if (
                    at != watch.at
                    and (kind, quantity) == (watch.kind, watch.quantity)
                    and time_us - watch.time_us <= _AGAIN_US
                ):
                    incident.doubled += 1
                    changed[incident.id] = incident
                    break
        for watches in self._watched.values():
            for watch in watches:
                watch.at = -1

    def _close(self, now_us: int) -> None:
        """Forget what nothing can join any more."""
        latest = max(_OPEN_US, _WATCH_US)
        self._drop([name for name, one in self._open.items() if now_us - one.last_us > latest])

    def _drop(self, names: list[str]) -> None:
        if not names:
            return
        for name in names:
            del self._open[name]
        self._by_key = {key: name for key, name in self._by_key.items() if name in self._open}
        watched = {
            sku: [watch for watch in watches if watch.incident in self._open]
            for sku, watches in self._watched.items()
        }
        self._watched = {sku: watches for sku, watches in watched.items() if watches}

    def save(self) -> dict[str, Any]:
        """Return what a checkpoint needs, JSON-able."""
        return {
            "open": [msgspec.to_builtins(one) for one in self._open.values()],
            "keys": self._by_key,
            "opened": self._opened,
            "moves": [msgspec.to_builtins(move) for move in self._moves],
            "watched": [
                msgspec.to_builtins(watch) for all_of in self._watched.values() for watch in all_of
            ],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `save` gave."""
        self._open = {one["id"]: msgspec.convert(one, Incident) for one in saved["open"]}
        self._by_key = dict(saved["keys"])
        self._opened = {name: list(times) for name, times in saved["opened"].items()}
        self._moves = [msgspec.convert(move, _Move) for move in saved["moves"]]
        self._watched = {}
        for one in saved["watched"]:
            watch = msgspec.convert(one, _Watch)
            self._watched.setdefault(watch.sku, []).append(watch)


def _copy(incident: Incident) -> Incident:
    skus, detectors = list(incident.skus), list(incident.detectors)
    return msgspec.structs.replace(incident, skus=skus, detectors=detectors)


def _keys(alert: Alert) -> list[str]:
    """Return what alerts of one cause share: the SKU first, or else the invoice."""
    keys = [] if alert.sku == "*" else [f"sku {alert.sku}"]
    return [*keys, f"invoice {alert.invoice}"] if alert.invoice else keys or ["the whole shop"]


def _lines_moved(alert: Alert) -> float:
    """Return how many lines too many a SKU sold, or too few, by the alert's evidence; else 0."""
    evidence = alert.evidence
    if "due" in evidence:
        return -max(0.0, evidence["due"] - evidence.get("lines", 0.0))
    if "orders" in evidence and "usual" in evidence:
        return max(0.0, evidence["orders"] - evidence["usual"])
    return 0.0


def _is_slip(one: str, other: str) -> bool:
    """Tell whether one keystroke makes one code of the other: changed, swapped, missed."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    if len(one) != len(other):
        short, long = sorted((one, other), key=len)
        return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
    places = [i for i, (left, right) in enumerate(zip(one, other, strict=True)) if left != right]
    if len(places) == 1:
        return True
    first, last = places[0], places[-1]
    swapped = one[first] == other[last] and one[last] == other[first]
    return len(places) == 2 and last == first + 1 and swapped
