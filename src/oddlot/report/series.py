"""The lines around an incident, for its chart and its table: read again once it is known."""

from __future__ import annotations

import math
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from oddlot.decode.intern import SkuTable
from oddlot.engine.event_time import Released
from oddlot.report.collect import DAY_US, Story
from oddlot.schema import ADJUSTMENT, KINDS, RETURN, SALE, Alert, Lines
from oddlot.streams.chunks import Chunk

BEFORE, AFTER = 120, 30  # days around the first alert that a chart shows
_FEWEST = 28  # days of a chart, so that a bar stays a bar
SLOT_US = 1_800_000_000  # half an hour: a slot of the whole shop's chart
SLOTS_BEFORE, SLOTS_AFTER = 96, 48  # two days and one
WHOLE_SHOP = "*"
_LINES_BEFORE, _LINES_AT, _LINES_AFTER = 6, 12, 4
BASKETS = ("duplicate_invoice",)  # detectors whose alerts are about one invoice's lines
_LINES_THEN = 1_200  # lines of the minute of an earlier invoice: up to 1,114 share one
_SKUS = 2  # charts of one incident
MOST_KEPT = 1 << 30  # bytes of standard input that are kept for the second reading
_BLOCK = 1 << 20

# What is kept of one SKU and day; low and high are of single sales, 0 and NaN where none was.
DAY = np.dtype(
    [
        ("lines", "<i8"),
        ("sold", "<i8"),
        ("returned", "<i8"),
        ("adjusted", "<i8"),
        ("low", "<i8"),
        ("high", "<i8"),
        ("price_low", "<f8"),
        ("price_high", "<f8"),
    ]
)


class Row(NamedTuple):
    """One order line as a table shows it."""

    time_us: int
    invoice: str
    sku: str
    description: str
    quantity: int
    price: float
    kind: str
    source: str
    position: int
    number: int


class Track:
    """One SKU around the time of an alert, or the whole shop, or one invoice.

    Attributes:
        sku: its code; "*" is the whole shop.
        is_basket: whether the alert is about an invoice; then only its lines are kept, and
            the same ones of the earlier invoice.
        time_us: of the alert.
        first: the first day, days since 1970.
        days: shape (days,), dtype DAY.
        slots: shape (SLOTS_BEFORE + SLOTS_AFTER,), lines by half hour; of the whole shop only.
    """

    def __init__(self, alert: Alert, opened: int, closed: int) -> None:
        """Start with no lines; the shop's own first and last day bound what is looked at."""
        self.sku = alert.sku
        self.is_basket = alert.detector in BASKETS
        self.time_us = time_us = alert.time_us
        day = time_us // DAY_US
        last = max(day, min(day + AFTER, closed))
        self.first = min(max(day - BEFORE, opened), last - _FEWEST + 1)
        self.days = np.zeros(last - self.first + 1, DAY)
        self.days["price_low"] = self.days["price_high"] = math.nan
        self.slots = np.zeros(SLOTS_BEFORE + SLOTS_AFTER, np.int64)
        self.first_slot = time_us // SLOT_US - SLOTS_BEFORE
        self._invoice = alert.invoice
        # An invoice that was booked before: so many minutes, says the evidence.
        self._then_us = time_us - round(alert.evidence.get("minutes", 0) * 60_000_000)
        self._then: list[Row] = []
        self._before: deque[Row] = deque(maxlen=_LINES_BEFORE)
        self._at: list[Row] = []
        self._after: list[Row] = []

    def rows(self) -> list[Row]:
        """Return the single lines around the time, in event-time order."""
        if self.is_basket:
            same = {(row.sku, row.quantity) for row in self._at}
            then = [row for row in self._then if (row.sku, row.quantity) in same]
            return [*then[:_LINES_AT], *self._at]
        return [*self._before, *self._at, *self._after]

    def take(self, lines: Lines, places: Any, sources: Sequence[str]) -> None:
        """Count lines of this SKU.

        Args:
            lines: a batch.
            places: shape (some,), its lines that are of this SKU, in event-time order.
            sources: names of the sources by number.
        """
        line = lines.line[places]
        if self.is_basket:
            self._keep_invoices(lines, places, sources)
            return
        day = line["time_us"] // DAY_US - self.first
        is_near = (day >= 0) & (day < len(self.days))
        if not is_near.any():
            return
        line, day, places = line[is_near], day[is_near], places[is_near]
        self.count(line, day)
        if self.sku == WHOLE_SHOP:
            slot = line["time_us"] // SLOT_US - self.first_slot
            np.add.at(self.slots, slot[(slot >= 0) & (slot < len(self.slots))], 1)
            return
        at = int(np.searchsorted(line["time_us"], self.time_us, "left"))
        end = int(np.searchsorted(line["time_us"], self.time_us, "right"))
        for i in places[max(0, at - _LINES_BEFORE) : at].tolist():
            self._before.append(_row(lines, i, sources))
        for kept, found, most in (
            (self._at, places[at:end], _LINES_AT),
            (self._after, places[end:], _LINES_AFTER),
        ):
            for i in found[: most - len(kept)].tolist():
                kept.append(_row(lines, i, sources))

    def _keep_invoices(self, lines: Lines, places: Any, sources: Sequence[str]) -> None:
        time_us = lines.line["time_us"][places]
        for i in places[time_us == self.time_us].tolist():
            if len(self._at) < _LINES_AT and lines.read(i, "invoice") == self._invoice:
                self._at.append(_row(lines, i, sources))
        for i in places[time_us == self._then_us][: _LINES_THEN - len(self._then)].tolist():
            row = _row(lines, i, sources)
            if row.invoice != self._invoice:
                self._then.append(row)

    def count(self, line: Any, day: Any) -> None:
        """Count lines by day.

        Args:
            line: shape (lines,), records with kind, quantity and price, in event-time order.
            day: shape (lines,), the place of each one's day in `days`.
        """
        days, quantity, price = self.days, line["quantity"], line["price"]
        is_sale = (line["kind"] == SALE) & (quantity > 0)
        is_first = days["lines"] == 0
        for name, fits in (
            ("sold", is_sale),
            ("returned", line["kind"] == RETURN),
            ("adjusted", line["kind"] == ADJUSTMENT),
        ):
            np.add.at(days[name], day[fits], quantity[fits])
        sold = day[is_sale]
        days["low"][np.unique(sold[is_first[sold]])] = np.iinfo(np.int64).max
        np.add.at(days["lines"], sold, 1)
        np.minimum.at(days["low"], sold, quantity[is_sale])
        np.maximum.at(days["high"], sold, quantity[is_sale])
        is_priced = (price > 0) & (line["kind"] != ADJUSTMENT)
        np.fmin.at(days["price_low"], day[is_priced], price[is_priced])
        np.fmax.at(days["price_high"], day[is_priced], price[is_priced])


class Series:
    """The tracks of all incidents; takes the lines as they are released a second time."""

    def __init__(self, stories: Sequence[Story], opened: int, closed: int) -> None:
        """Say which SKUs are wanted, and around what times.

        Args:
            stories: the incidents.
            opened, closed: the first and last day with a line, days since 1970.
        """
        self._tracks: dict[str, list[Track]] = {}  # by incident
        self._by_sku: dict[str, list[Track]] = {}
        self._numbers: dict[int, str] = {}
        self._known = 0
        for story in stories:
            skus: dict[str, Track] = {}
            for alert in story.alerts:
                if alert.sku not in skus and len(skus) < _SKUS:
                    track = Track(alert, opened, closed)
                    skus[alert.sku] = track
                    self._by_sku.setdefault(alert.sku, []).append(track)
            self._tracks[story.incident.id] = list(skus.values())

    def of(self, story: Story) -> list[Track]:
        """Return the tracks of one incident: one for each of its SKUs, at most two."""
        return self._tracks[story.incident.id]

    def take(self, released: Released, skus: SkuTable, sources: Sequence[str]) -> None:
        """Count the lines of a batch."""
        for number in range(self._known, skus.count):
            if (code := skus.code(number)) in self._by_sku:
                self._numbers[number] = code
        self._known = skus.count
        order = released.order
        if len(order) == 0:
            return
        sku = released.lines.line["sku"][order]
        for track in self._by_sku.get(WHOLE_SHOP, ()):
            track.take(released.lines, order, sources)
        if not self._numbers:
            return
        wanted = np.fromiter(self._numbers, np.int64, len(self._numbers))
        is_wanted = np.isin(sku, wanted)
        order, sku = order[is_wanted], sku[is_wanted]
        for number in np.unique(sku).tolist():
            for track in self._by_sku[self._numbers[number]]:
                track.take(released.lines, order[sku == number], sources)


class Kept:
    """The chunks of what can be read only once, kept in a file without a name.

    Attributes:
        is_whole: whether all of it was kept: there is a limit of one gigabyte.
    """

    def __init__(self) -> None:
        """Keep nothing yet; the file goes when this is closed."""
        self.is_whole = True
        self._most = MOST_KEPT
        self._size = 0
        self._path = ""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`

    def keep(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield chunks as they come, and keep their bytes."""
        for chunk in chunks:
            self._path = chunk.partition
            self._size += len(chunk.data)
            self.is_whole = self.is_whole and self._size <= self._most
            if self.is_whole:
                try:
                    self._file.write(chunk.data)
                except OSError:  # the page does without: a full disk is no reason to stop
                    self.is_whole = False
            yield chunk

    def again(self) -> Iterator[Chunk]:
        """Yield what was kept."""
        self._file.seek(0)
        position = 0
        while data := self._file.read(_BLOCK):
            yield Chunk(self._path, position, data)
            position += len(data)
        yield Chunk(self._path, position, b"", end=True)

    def close(self) -> None:
        """Let it go."""
        self._file.close()


def _row(lines: Lines, i: int, sources: Sequence[str]) -> Row:
    line = lines.line[i]
    return Row(
        int(line["time_us"]),
        lines.read(i, "invoice"),
        lines.read(i, "sku"),
        lines.read(i, "description"),
        int(line["quantity"]),
        float(line["price"]),
        KINDS[int(line["kind"])],
        sources[int(line["source"])],
        int(line["position"]),
        int(line["number"]),
    )
