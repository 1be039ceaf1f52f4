"""The rows of every detector, and the log of recent lines and ticks that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from oddlot.decode.scan import hash_bytes, mix
from oddlot.detectors.contract import EVENT, TICK, TICK_US, LineDetector, ShopDetector
from oddlot.engine.compiled import compiled, inlined
from oddlot.engine.event_time import Released

_NEVER = -(2**62)
_LONGEST_US = 14 * 86_400_000_000  # so long after the last line the clock strikes on, no longer
_DAY_US = 86_400_000_000
_HIGH, _HALF = np.uint64(0xFFFFFFFF00000000), np.uint64(32)
_FIRST = np.zeros(1, np.int64)


@inlined
def _count_ticks(last_us, to_us):
    """Return how many ticks there are after the last line up to `to_us`."""
    to_us = min(to_us, last_us + _LONGEST_US)
    return max(0, to_us // TICK_US - last_us // TICK_US)


@compiled
def _count(line, order, last_us, until_us, ticks):
    """Return how many events the lines and the ticks before them are, and until `until_us`."""
    count = len(order)
    if not ticks:
        return count
    for i in range(len(order)):
        time_us = line[order[i]].time_us
        if time_us != last_us:
            if last_us != _NEVER:
                count += _count_ticks(last_us, time_us)
            last_us = time_us
    if last_us != _NEVER and until_us != _NEVER:
        count += _count_ticks(last_us, until_us)
    return count


@inlined
def _strike(event, place, at, start, last_us, to_us):
    """Append the ticks after the last line up to `to_us`; return the new end."""
    for k in range(_count_ticks(last_us, to_us)):
        out = event[at]
        out.time_us = (last_us // TICK_US + 1 + k) * TICK_US
        out.quantity = 0
        out.price = np.nan
        out.invoice = 0
        out.customer = 0
        out.sku = -1
        out.kind = TICK
        place[at - start] = -1
        at += 1
    return at


@inlined
def _key(line, text):
    """Return a hash of what a line says; those of one invoice are neighbours."""
    base = line.text
    invoice = hash_bytes(text, base + np.int64(line.invoice_at), np.int64(line.invoice_size))
    key = hash_bytes(text, base + np.int64(line.sku_at), np.int64(line.sku_size))
    customer = hash_bytes(text, base + np.int64(line.customer_at), np.int64(line.customer_size))
    price = np.int64(line.price * 1e4) if abs(line.price) < 1e12 else 0  # NaN, too
    key = mix(key ^ np.uint64(line.quantity), customer ^ np.uint64(price))
    return (invoice & _HIGH) | (key >> _HALF), invoice, customer


@compiled
def _append(line, text, order, event, start, place, last_us, until_us, ticks):
    """Append lines, and the ticks between them; return the end and the last line's time.

    Where there are ticks, lines of one instant are put in an order of their content, so that
    their order in the file cannot matter.
    """
    at = start
    i = 0
    key = np.zeros((3, 64), np.uint64)  # and the hashes of invoice and customer
    while i < len(order):
        time_us = line[order[i]].time_us
        end = i + 1
        while end < len(order) and line[order[end]].time_us == time_us:
            end += 1
        if ticks and time_us != last_us and last_us != _NEVER:
            at = _strike(event, place, at, start, last_us, time_us)
        last_us = time_us
        if ticks:
            if end - i > key.shape[1]:
                key = np.zeros((3, 2 * (end - i)), np.uint64)
            for k in range(i, end):
                key[0, k - i], key[1, k - i], key[2, k - i] = _key(line[order[k]], text)
            ranks = np.argsort(key[0, : end - i]) if end - i > 1 else _FIRST
        for k in range(i, end):
            which = i + ranks[k - i] if ticks else k
            row = line[order[which]]
            out = event[at]
            out.time_us = row.time_us
            out.quantity = row.quantity
            out.price = row.price
            if ticks:
                out.invoice, out.customer = key[1, which - i], key[2, which - i]
            out.sku = row.sku
            out.kind = row.kind
            place[at - start] = which
            at += 1
        i = end
    if ticks and last_us != _NEVER and until_us != _NEVER:
        at = _strike(event, place, at, start, last_us, until_us)
    return at, last_us


class Scored(NamedTuple):
    """What every detector says of one batch.

    Attributes:
        found: for each detector its findings; a rule's are one for each line, shape (released,);
            a test's are as many as it made, their `event` an index into `event`.
        event: shape (events,), dtype EVENT, the lines and ticks of the batch.
        place: shape (events,), which released line an event is; -1 for a tick.
    """

    found: list[Any]
    event: Any
    place: Any


class Scoring:
    """Scores released lines by every detector.

    One log of recent events in event-time order serves all windows: each rule has a head in
    it, and what all heads have passed is forgotten. Between the lines the clock strikes, where
    a detector listens.
    """

    def __init__(self, detectors: Sequence[LineDetector | ShopDetector]) -> None:
        """Start with rows of zeros."""
        self.detectors = tuple(detectors)
        self._event = np.zeros(1 << 12, EVENT)
        self._last = 0
        self._rows = [np.zeros(1 << 12, detector.row) for detector in self.detectors]
        self._shops = [_shop(detector) for detector in self.detectors]
        self._heads = [0] * len(self.detectors)
        self._room: dict[int, Any] = {}
        self._has_ticks = any(not detector.is_rule for detector in self.detectors)
        self._time_us = _NEVER  # of the last line

    @property
    def newest_us(self) -> int:
        """Event time of the newest line that was scored; far below 1970 before the first."""
        return self._time_us

    def score(
        self,
        released: Released,
        skus: int,
        until_us: int | None = None,
        codes: Mapping[str, Any] | None = None,
    ) -> Scored:
        """Score lines, and learn them.

        Args:
            released: whole instants, in event-time order.
            skus: how many SKUs are known.
            until_us: up to when the clock strikes after the last line, if it does.
            codes: what SkuTable.save gives, for detectors that read codes; without it they are
                silent.

        Returns:
            What was found.
        """
        if not self._has_ticks and len(released.order) == 0:
            return Scored(
                [np.zeros(0, detector.found) for detector in self.detectors],
                self._event[:0],
                np.zeros(0, np.int64),
            )
        until_us = _NEVER if until_us is None else until_us
        line, order = released.lines.line, released.order
        count = _size(line, order, self._time_us, until_us, self._has_ticks)
        self._make_room(count, skus)
        place = np.empty(count, np.int64)
        first = self._last
        self._last, self._time_us = _log(
            line, released.lines.text, order, self._event, first, place,
            self._time_us, until_us, self._has_ticks,
        )  # fmt: skip
        results = []
        for i, detector in enumerate(self.detectors):
            if isinstance(detector, ShopDetector):
                results.append(self._test(i, detector, first, codes))
                continue
            found = np.empty(count, detector.found)
            self._heads[i] = detector.score(
                self._rows[i], self._event, self._heads[i], first, self._last, found
            )
            if self._has_ticks:
                is_line = place >= 0
                by_line = np.empty(len(order), detector.found)
                by_line[place[is_line]] = found[is_line]
                found = by_line
            results.append(found)
        return Scored(results, self._event[first : self._last], place)

    def _test(
        self, i: int, detector: ShopDetector, first: int, codes: Mapping[str, Any] | None
    ) -> Any:
        self._heads[i] = self._last
        room = self._room.get(i)
        if room is None:
            room = np.zeros(1 << 8, detector.found)
        spelt: tuple[Any, ...] = ()
        if codes is not None and detector.reads_codes:
            spelt = codes["names"], codes["offset"]
        room, count = detector.score(
            self._rows[i], self._shops[i], self._event, first, self._last, room, *spelt
        )
        self._room[i] = room
        found = room[:count].copy()
        found["event"] -= first
        return found

    def _make_room(self, count: int, skus: int) -> None:
        for i, rows in enumerate(self._rows):
            if skus > len(rows):
                more = np.zeros(max(2 * len(rows), skus), rows.dtype)
                more[: len(rows)] = rows
                self._rows[i] = more
        if self._last + count > len(self._event):
            start = min(self._heads, default=self._last)
            kept = self._last - start
            room = len(self._event)
            while room < 2 * (kept + count):
                room *= 2
            event = np.zeros(room, EVENT) if room > len(self._event) else self._event
            event[:kept] = self._event[start : self._last].copy()
            self._event, self._last = event, kept
            self._heads = [head - start for head in self._heads]

    def save(self, skus: int) -> dict[str, Any]:
        """Return what a checkpoint needs, by detector type."""
        start = min(self._heads, default=self._last)
        saved = {
            "event": self._event[start : self._last],
            "clock": np.array([self._time_us]),
        }
        for i, detector in enumerate(self.detectors):
            name = type_of(detector)
            saved[f"rows.{name}"] = self._rows[i][: min(skus, len(self._rows[i]))]
            saved[f"shop.{name}"] = self._shops[i]
            saved[f"head.{name}"] = np.array([self._heads[i] - start])
        return saved

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `save` gave; a detector that is new starts with nothing."""
        event = saved["event"]
        self._event = np.zeros(max(1 << 12, 2 * len(event)), EVENT)
        self._event[: len(event)] = event
        self._last = len(event)
        (self._time_us,) = saved["clock"].tolist()
        for i, detector in enumerate(self.detectors):
            name = type_of(detector)
            self._heads[i] = len(event)
            if all(
                f"{part}.{name}" in saved and saved[f"{part}.{name}"].dtype == kind
                for part, kind in (("rows", detector.row), ("shop", self._shops[i].dtype))
            ):
                rows = saved[f"rows.{name}"]
                self._rows[i] = np.zeros(max(1 << 12, 2 * len(rows)), detector.row)
                self._rows[i][: len(rows)] = rows
                self._shops[i] = saved[f"shop.{name}"].copy()
                self._heads[i] = int(saved[f"head.{name}"][0])


# Kernels have no types of their own; their callers have.
_size: Any = _count
_log: Any = _append
_NOTHING = np.dtype([("nothing", "u1")])


def _shop(detector: LineDetector | ShopDetector) -> Any:
    return np.zeros(1, detector.shop if isinstance(detector, ShopDetector) else _NOTHING)


def end_of_day(time_us: int) -> int:
    """Return the midnight after a time."""
    return (time_us // _DAY_US + 1) * _DAY_US


def type_of(detector: LineDetector | ShopDetector) -> str:
    """Return a detector's type: the name of its file."""
    return type(detector).__module__.rpartition(".")[2]
