"""What `orders` and `order_learning` compute, in plain Python: for the definitions of detectors."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oddlot.schema import SALE
from oddlot.statistics import odds as past
from oddlot.statistics import orders

if TYPE_CHECKING:
    from oddlot.detectors.contract import Event

Counts = defaultdict[object, float]


def _counts() -> Counts:
    return defaultdict(float)


def _between(value: float, least: int, most: int) -> int:
    return min(max(math.floor(value), least), most)


def _whole(value: float) -> int:
    """Return a value as a whole number of 2^-32."""
    return int(value * orders.FIXED)


def _clipped(residual: float) -> float:
    return min(max(residual, -orders.CLIP), orders.CLIP)


@dataclass
class Sku:
    """What is remembered of one SKU."""

    day: int = 0
    seen: float = 0.0
    logs: int = 0
    sizes: Counts = field(default_factory=_counts)
    waiting: list[tuple[int, int]] = field(default_factory=list)  # half-octave and log
    price_logs: list[int] = field(default_factory=lambda: [0, 0])
    priced: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def learn_waiting(self) -> None:
        """Learn the lines that waited."""
        for place, log in self.waiting:
            self.sizes[place] += 1.0
            self.seen += 1.0
            self.logs += log
        self.waiting.clear()


@dataclass
class Line:
    """What is known of one line before it is judged; its classes are keys of the tables."""

    event: Event
    sku: Sku
    log: float
    usual_log: float
    channel: int
    band: int
    price: int
    mean: tuple[int, int] = (0, 0)
    top: int = 0
    odds: float = math.nan

    @property
    def residual(self) -> float:
        """How far the line is above its SKU's usual size, on a log scale."""
        return self.log - self.usual_log


class PlainOrders:
    """All that is remembered of a shop's orders; feed it instants in order.

    Args:
        half_life_us: of what is remembered.
    """

    def __init__(self, half_life_us: int) -> None:
        self.fading = orders.fading_by_day(half_life_us)
        self.day = 0
        self.lines = 0.0
        self.weighed = 0.0
        self.skus: dict[int, Sku] = defaultdict(Sku)
        self.table: dict[str, Counts] = defaultdict(_counts)
        self.odds: Counts = defaultdict(float)
        self.band_logs: dict[int, int] = defaultdict(int)
        self.customers: dict[int, list[float]] = {}  # sum, lines, time of the newest
        self.invoices: dict[int, list[float]] = {}  # sum, lines, two largest residuals

    def instants(self, events: Sequence[Event]) -> Iterator[dict[int, Line]]:
        """Yield the demand lines of each instant by their number, and learn them afterwards."""
        by_time: dict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(events):
            if one.kind == SALE and one.quantity > 0 and 0.0 < one.price < math.inf:
                by_time[one.time_us].append(number)
        for _, numbers in sorted(by_time.items()):
            lines = self._open({number: events[number] for number in numbers})
            yield lines
            self._learn(list(lines.values()))

    def _fade(self, day: int) -> None:
        fade = self.fading[min(max(day - self.day, 0), len(self.fading) - 1)]
        if self.lines > 0.0:
            self.lines *= fade
            self.weighed *= fade
            for table in self.table.values():
                for key in table:
                    table[key] *= fade
            for place in self.odds:
                self.odds[place] *= fade
            for band in self.band_logs:
                self.band_logs[band] = int(self.band_logs[band] * fade)
        self.day = day

    def _new_day(self, sku: Sku, day: int) -> None:
        fade = self.fading[min(max(day - sku.day, 0), len(self.fading) - 1)]
        sku.learn_waiting()
        sku.seen *= fade
        sku.logs = int(sku.logs * fade)
        for place in sku.sizes:
            sku.sizes[place] *= fade
        sku.day = day
        for channel in range(2):
            if sku.priced[channel] > orders.PRICE_MEMORY:
                part = orders.PRICE_MEMORY / sku.priced[channel]
                sku.price_logs[channel] = int(sku.price_logs[channel] * part)
                sku.priced[channel] = orders.PRICE_MEMORY

    def _open(self, events: dict[int, Event]) -> dict[int, Line]:
        lines = {}
        for number, one in events.items():
            day = one.time_us // orders.DAY_US
            if day != self.day or self.lines == 0.0:
                self._fade(day)
            sku = self.skus[one.sku]
            if sku.day != day:
                self._new_day(sku, day)
            price_log = math.log(one.price)
            band = _between(price_log / math.log(2.0) + 5, 0, orders.BANDS - 1)
            borrowed = self.band_logs[band] / orders.FIXED + orders.BAND_LOG * orders.BAND
            borrowed /= self.table["band"][band] + orders.BAND
            usual_log = sku.logs / orders.FIXED + orders.BORROWED * borrowed
            usual_log /= sku.seen + orders.BORROWED
            channel = 0 if one.customer else 1
            price = 0
            if sku.priced[channel]:
                usual = sku.price_logs[channel] / orders.PRICED / sku.priced[channel]
                discount = usual - price_log
                price = _between((discount + 0.375) / 0.15 + 1, 1, orders.PRICES - 1)
            log = math.log(one.quantity)
            line = lines[number] = Line(one, sku, log, usual_log, channel, band, price)
            if one.invoice:
                invoice = self.invoices.setdefault(one.invoice, [0, 0.0, -math.inf, -math.inf])
                invoice[0] += _whole(_clipped(line.residual))
                invoice[1] += 1.0
                invoice[2:] = sorted([*invoice[2:], line.residual])[:0:-1]
        for line in lines.values():
            self._place_order(line)
        return lines

    def _place_order(self, line: Line) -> None:
        """Find what an order's other lines and its customer's past say of a line."""
        total, others, top = 0.0, 0.0, 0.0
        if line.event.invoice:
            whole, count, first, second = self.invoices[line.event.invoice]
            total = (whole - _whole(_clipped(line.residual))) / orders.FIXED
            others = count - 1.0
            top = second if line.residual >= first else first
        usual, count = 0.0, 0.0
        if line.event.customer in self.customers:
            whole, count, _ = self.customers[line.event.customer]
            usual = whole / orders.FIXED / (count + orders.CUSTOMER)
        mean = (orders.STANDING * usual + total) / (orders.STANDING + others)
        known = 0 if others < 2.0 and count < 3.0 else 1 + line.channel
        line.mean = (
            _between((mean + 1.65) / 0.3, 0, orders.MEANS - 1),
            known + (3 if others else 0),
        )
        line.top = _between((top + 0.375) / 0.75 + 1, 1, orders.TOPS - 1) if others else 0

    def _share(self, line: Line, place: int, log: float) -> float:
        known = 0 if line.sku.seen < 1.5 else (1 if line.sku.seen < 8.0 else 2)
        middle = log if place == orders.BINS - 1 else orders.MIDDLE[place]
        where = _between(
            (middle - line.usual_log) / orders.STEP + 0.5 + 20, 0, orders.RESIDUALS - 1
        )
        count = self.table["residual"][known, where] + orders.PRIOR[where]
        share: float = count / (self.table["known"][known] + orders.DEPTH)
        return share

    def density(self, line: Line, quantity: int) -> float:
        """Return how likely a quantity is on a line; see `orders.density`."""
        place = orders.half_octave(quantity)
        log = math.log(quantity)
        size = line.sku.sizes[place] + orders.DEPTH * self._share(line, place, log)
        size /= line.sku.seen + orders.DEPTH
        side = (line.channel, quantity >= 64)
        kind = orders.divisor_class(quantity)
        width = quantity * orders.OPEN_LOG if place == orders.BINS - 1 else orders.WIDTH[place]
        even = self.table["round"][side, kind] / orders.SHARE[kind] + orders.DEPTH
        even /= (self.table["rounded"][side] + orders.DEPTH) * width
        count = self.table["number"][line.channel, quantity] if quantity < orders.NUMBERS else 0.0
        number = count + orders.NUMBER * even
        number /= self.table["numbered"][line.channel, place] + orders.NUMBER
        result: float = size * number * self.ratios(line, log - line.usual_log)
        return result

    def ratios(self, line: Line, residual: float) -> float:
        """Return how much likelier a residual is in this order; see `orders.ratios`."""
        shape = _between((residual + 1.75) / 0.5, 0, orders.SHAPES - 1)
        result = 1.0
        for name in ("mean", "top", "price"):
            key = getattr(line, name)
            if name == "top" and key == 0:
                continue
            each = (self.table[name][key] + 0.1) / (self.lines + 1.0)
            both = self.table[name + "_shape"][shape, key] + orders.RATIO * each
            result *= both / ((self.table["shape"][shape] + orders.RATIO) * each)
        return result

    def share_above(self, line: Line, quantity: int) -> float:
        """Return what part of a SKU's lines are at least half so large; see `orders`."""
        least = int(orders.half_octave(max(1, quantity // 2)))
        above = 0.0
        for place, count in line.sku.sizes.items():
            above += count if isinstance(place, int) and place >= least else 0.0
        above += orders.DEPTH * min(1.0, (2.0 / math.exp(line.residual)) ** orders.TAIL)
        return float(above / (line.sku.seen + orders.DEPTH))

    def quantile(self, line: Line, part: float, side: int) -> float:
        """Return an edge of a SKU's usual sizes; see `orders.quantile`."""
        mass = {
            place: line.sku.sizes[place]
            + orders.DEPTH * self._share(line, place, orders.MIDDLE[place])
            for place in range(orders.BINS)
            if place != 1
        }
        below = 0.0
        for place, one in mass.items():
            below += one
            if below >= part * sum(mass.values()):
                return float(orders.LEAST[place + side] - side)
        return float(orders.LEAST[orders.BINS])

    def learned_tail(self, lines: float, odds: float) -> float:
        """Return how often odds are at least so high; see `odds.learned_tail`."""
        counts = [self.odds[place] for place in range(past.ODDS)]
        beyond, excess, edge = 0.0, 0.0, int(past.ODDS)
        while edge > 1 and beyond < past.ODDS_TAIL:
            edge -= 1
            excess += beyond + 0.5 * counts[edge]
            beyond += counts[edge]
        at = (odds - past.FIRST_ODDS) / past.ODDS_WIDTH
        if at > edge:
            slope = (excess + 5.0 / (past.ODDS_WIDTH * math.log(10.0))) / (beyond + 5.0)
            counted = beyond * math.exp((edge - at) / slope)
        else:
            place = max(0, int(at))
            part = max(0.0, at) - place
            counted = sum(counts[place + 1 :])
            counted += counts[place] * (1.0 - part)
        bound = past.ODDS_PRIOR * 10.0 ** -max(odds, 0.0)
        return float(max(1e-300, min(1.0, (counted + bound) / (lines + past.ODDS_PRIOR))))

    def _learn(self, lines: list[Line]) -> None:
        for line in lines:
            quantity = line.event.quantity
            place = orders.half_octave(quantity)
            shape = _between((line.residual + 1.75) / 0.5, 0, orders.SHAPES - 1)
            known = 0 if line.sku.seen < 1.5 else (1 if line.sku.seen < 8.0 else 2)
            middle = line.log if place == orders.BINS - 1 else orders.MIDDLE[place]
            where = (middle - line.usual_log) / orders.STEP + 0.5 + 20
            side = (line.channel, quantity >= 64)
            self.lines += 1.0
            for name, key in (
                ("band", line.band),
                ("known", known),
                ("residual", (known, _between(where, 0, orders.RESIDUALS - 1))),
                ("rounded", side),
                ("round", (side, orders.divisor_class(quantity))),
                ("number", (line.channel, quantity)),
                ("numbered", (line.channel, place)),
                ("shape", shape),
                ("mean", line.mean),
                ("mean_shape", (shape, line.mean)),
                ("top", line.top),
                ("top_shape", (shape, line.top)),
                ("price", line.price),
                ("price_shape", (shape, line.price)),
            ):
                if name in ("known", "residual") and line.odds > orders.DOUBTED:
                    continue
                self.table[name][key] += 1.0
            self.band_logs[line.band] += _whole(line.log)
            if not math.isnan(line.odds):
                place = _between((line.odds - past.FIRST_ODDS) / past.ODDS_WIDTH, 0, past.ODDS - 1)
                self.odds[place] += 1.0
                self.weighed += 1.0
        for line in lines:
            self._learn_of_sku(line)

    def _learn_of_sku(self, line: Line) -> None:
        sku, one = line.sku, line.event
        if len(sku.waiting) == orders.WAITS:
            sku.learn_waiting()
        log = _whole(line.usual_log + _clipped(line.residual))
        sku.waiting.append((orders.half_octave(one.quantity), log))
        if line.residual < 1.0 or line.price == 0:
            sku.price_logs[line.channel] += int(math.log(one.price) * orders.PRICED)
            sku.priced[line.channel] += 1.0
        if one.customer:
            customer = self.customers.setdefault(one.customer, [0, 0.0, one.time_us - 1])
            if customer[2] != one.time_us:
                customer[2] = one.time_us
                if customer[1] > orders.MEMORY:
                    customer[0] //= 2
                    customer[1] *= 0.5
            customer[0] += _whole(_clipped(line.residual))
            customer[1] += 1.0
