"""One line whose unit price is wrong: off the prices that its SKU usually sells at."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, outlined
from oddlot.errors import ConfigError
from oddlot.schema import SALE
from oddlot.statistics import prices

_DAY_US = 86_400_000_000
_MOST = 2e7  # a price beyond this counts as this at stake

# Weights of the priors, in lines: weak, so that a shop's own habits soon rule.
_RATE, _RATE_LINES = 0.05, 100.0  # share of lines at a new price
_SKU, _INVOICE = 1.0, 1.0  # new prices that a SKU or an invoice is expected to have
_POINT = 5.0  # spread evenly over the pence of a bin
_RATIO = 20.0  # spread over ratios, falling off as a Cauchy distribution does
_FREE_LINES = 1000.0  # lines with one free among them
_AWAY = 1.0 / (1.0 + np.abs(np.arange(prices.RATIOS) - prices.RATIOS // 2) / 4.0) ** 2
_RATIO_PRIOR = _RATIO * _AWAY / _AWAY.sum()

# How often an error gives no price, or, for each bin, some other within two decades.
_FREE = 0.25
_ANY = 0.15 / (4 * prices.STEPS)
_UNNAMED = 0.3  # errors without a customer, to those with: such prices come from lists
_OTHER_LIST = 0.3  # lines without a customer whose price is by the list of the others

_NEAR = 100  # events before and after a line among which its invoice is looked for
# What a line is: none of ours; at a price known here; at a new one; at one known to the other
# channel only; free; the SKU's first in this channel.
_NOT, _KNOWN, _NEW, _ELSEWHERE, _GIVEN, _FIRST = range(6)


@outlined
def _ratio_part(shop, channel, place):
    """Return what share of a channel's new prices stand in this ratio to the usual one."""
    at = channel * prices.RATIOS + place
    # Neighbouring bins count half: a ratio is known to a bin's width only.
    counted = 0.25 * (shop.ratios[at - 1] + shop.ratios[at + 1]) + 0.5 * shop.ratios[at]
    return (counted + _RATIO_PRIOR[place]) / (shop.news[channel] + _RATIO)


@compiled
def _scan(rows, shop, event, first, last, fade, found):
    """Judge each instant in three steps: what its lines are, their chances, then learn them."""
    count = 0
    state = np.zeros(last - first, np.uint8)
    every = shop[0]
    i = first
    while i < last:
        time_us = event[i].time_us
        tests = every.tests
        j = i
        lines, odd = 0, 0
        while j < last and event[j].time_us == time_us:
            one = _NOT
            price = event[j].price
            if event[j].kind == SALE and event[j].quantity > 0 and price == price:
                channel = 1 if event[j].customer == 0 else 0
                row = rows[event[j].sku]
                lines += 1
                if price <= 0.0:
                    # Without a customer this is a stock correction.
                    if channel == 0:
                        one = _GIVEN
                elif row.lines[channel] == 0:
                    one = _FIRST
                else:
                    pence = prices.pence_of(price)
                    one = _NEW
                    for a in range(prices.PRICES):
                        if row.pence[a] == pence:
                            if row.weight[channel * prices.PRICES + a] >= prices.FORGOTTEN:
                                one = _KNOWN
                            elif row.weight[(1 - channel) * prices.PRICES + a] >= prices.FORGOTTEN:
                                one = _ELSEWHERE
                            break
                if one != _NOT and one != _FIRST:
                    every.tests += 1.0
                if one == _NEW or one == _GIVEN:
                    odd += 1
            state[j - first] = one
            j += 1
        if lines > 0 and time_us // _DAY_US != every.day:
            every.day = time_us // _DAY_US
            every.free *= fade
            for c in range(prices.CHANNELS):
                every.lines[c] *= fade
                every.news[c] *= fade
            for b in range(prices.CHANNELS * prices.POINTS):
                every.points[b] *= fade
            for b in range(prices.CHANNELS * prices.BINS):
                every.bins[b] *= fade
            for b in range(prices.CHANNELS * prices.RATIOS):
                every.ratios[b] *= fade
        for k in range(i, j):
            if odd == 0:
                break
            one = state[k - first]
            if one != _NEW and one != _GIVEN:
                continue
            channel = 1 if event[k].customer == 0 else 0
            row = rows[event[k].sku]
            usual = prices.usual_of(row, channel, -1)
            if usual < 0:
                if one == _NEW:
                    continue
                usual = prices.usual_of(row, 1, -1)
            if usual < 0 or row.pence[usual] <= 1:
                continue
            others, off = 0, 0
            if event[k].invoice != 0:
                for n in range(max(i, k - _NEAR), min(j, k + _NEAR + 1)):
                    other = state[n - first]
                    if n != k and other != _NOT and event[n].invoice == event[k].invoice:
                        others += 1
                        if one == _GIVEN:
                            off += 1 if other == _GIVEN else 0
                        else:
                            off += 1 if other == _NEW or other == _ELSEWHERE else 0
            if one == _GIVEN:
                rate = (every.free + 1.0) / (every.lines[0] + _FREE_LINES)
                right = rate * (off + _INVOICE) / (others * rate + _INVOICE)
                wrong = _FREE
            else:
                pence = prices.pence_of(event[k].price)
                lines_seen = every.lines[channel] + _RATE_LINES
                rate = (every.news[channel] + _RATE * _RATE_LINES) / lines_seen
                seen = (1.0 - prices.KEEP ** row.lines[channel]) / (1.0 - prices.KEEP)
                right = rate * (row.news[channel] + _SKU) / (rate * seen + _SKU)
                right = min(0.9, right * (off + _INVOICE) / (rate * others + _INVOICE))
                part = _ratio_part(every, channel, prices.place_of(pence, row.pence[usual]))
                if channel == 1:
                    named = prices.usual_of(row, 0, -1)
                    if named >= 0:
                        there = _ratio_part(every, 1, prices.place_of(pence, row.pence[named]))
                        part = (1.0 - _OTHER_LIST) * part + _OTHER_LIST * there
                b = int(prices.STEPS * math.log10(pence))
                alike = (
                    every.points[channel * prices.POINTS + prices.point_of(pence)]
                    + _POINT / prices.WIDTHS[b]
                )
                right *= part * alike / (every.bins[channel * prices.BINS + b] + _POINT)
                wrong = _ANY / prices.WIDTHS[b] + prices.slip_of(row, channel, pence)
                if channel == 1:
                    wrong *= _UNNAMED
            chance = right / wrong
            if chance <= NOTED:
                if count == len(found):
                    found = more_room(found)
                out = found[count]
                count += 1
                out.event = k
                out.tests = tests
                out.chance = max(chance, 1e-300)
                out.sku = event[k].sku
                out.usual = row.pence[usual] / 100.0
                out.seen = row.lines[0] + row.lines[1]
                price = max(-_MOST, min(_MOST, event[k].price))
                out.stake = abs(price - out.usual) * event[k].quantity
        for k in range(i, j):
            one = state[k - first]
            if one == _NOT:
                continue
            channel = 1 if event[k].customer == 0 else 0
            every.lines[channel] += 1.0
            if one == _GIVEN:
                every.free += 1.0
                continue
            row = rows[event[k].sku]
            pence = prices.pence_of(event[k].price)
            at = prices.remember(row, channel, pence)
            if one == _NEW:
                row.news[channel] += np.float32(1.0)
                every.news[channel] += 1.0
                every.points[channel * prices.POINTS + prices.point_of(pence)] += np.float32(1.0)
                b = int(prices.STEPS * math.log10(pence))
                every.bins[channel * prices.BINS + b] += np.float32(1.0)
                usual = prices.usual_of(row, channel, at)
                if usual >= 0:
                    place = prices.place_of(pence, row.pence[usual])
                    every.ratios[channel * prices.RATIOS + place] += np.float32(1.0)
        i = j
    return found, count


class PriceError(ShopDetector, frozen=True):
    """One line whose unit price is wrong.

    Keeps the prices that each SKU has sold at, with a customer and without, and how new prices
    come about in the whole shop: how often, at which ratios to the usual price, at which price
    points. A price never seen on its SKU is weighed: how likely is it as a new price, and how
    likely as an error (a slip of the decimal point, the price of a pack, none at all)? The
    chance is the first over the second. Not for a price that is wrong on every line: the
    second time it is known. It learns nothing of costs.

    Source:
        Vovk and Wang (2021), E-values: calibration, combination and applications, Annals of
        Statistics 49(3), section 2 (the inverse of a likelihood ratio bounds the chance).
    """

    memory: Annotated[
        Duration,
        Meta(description="Half-life of the shop's habits, in days of trade; at least 1d."),
    ] = "40d"

    row: ClassVar[np.dtype[Any]] = np.dtype(prices.VOCABULARY, align=True)
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("day", "<i8"),
            ("free", "<f8"),
            ("lines", "<f8", (prices.CHANNELS,)),
            ("news", "<f8", (prices.CHANNELS,)),
            ("points", "<f4", (prices.CHANNELS * prices.POINTS,)),
            ("bins", "<f4", (prices.CHANNELS * prices.BINS,)),
            ("ratios", "<f4", (prices.CHANNELS * prices.RATIOS,)),
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [*FOUND, ("usual", "<f8"), ("seen", "<f8"), ("stake", "<f8")], align=True
    )
    finds: ClassVar[str] = "price_error"
    weight: ClassVar[float] = 5.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "{sku}: {quantity:n} units at {price:p} each on one line at {clock}; it usually sells"
            " at {usual:p} ({seen:line|lines} so far)."
            " Something this odd turns up {often}.{stake}"
        ),
        "es": (
            "{sku}: {quantity:n} unidades a {price:p} cada una en una línea a las {clock};"
            " suele venderse a {usual:p} ({seen:línea|líneas} hasta ahora)."
            " Algo así de raro aparece {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) < _DAY_US:
            raise ConfigError(f"memory must be at least 1d; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Test each price against what its SKU sold at before; see `ShopDetector.score`."""
        fade = 0.5 ** (_DAY_US / parse_duration(self.memory))
        found, count = _scan(rows, shop, event, first, last, fade, found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Test each price in plain Python; see `ShopDetector.define`."""
        habits = _Habits(0.5 ** (_DAY_US / parse_duration(self.memory)))
        result: list[dict[str, float]] = []
        for time_us in sorted({one.time_us for one in events}):
            # A line is told apart by its customer, and looked at only if it is a sale.
            lines = {
                number: one
                for number, one in enumerate(events)
                if one.time_us == time_us
                and one.kind == SALE
                and one.quantity > 0
                and not math.isnan(one.price)
            }
            if not lines:
                continue
            states = {number: habits.state(one) for number, one in lines.items()}
            tests = habits.tests
            habits.tests += sum(state not in (_NOT, _FIRST) for state in states.values())
            habits.begin(time_us // _DAY_US)
            for number, one in lines.items():
                kin = [
                    states[other]
                    for other in range(number - _NEAR, number + _NEAR + 1)
                    if other != number
                    and states.get(other, _NOT) != _NOT
                    and one.invoice != 0
                    and lines[other].invoice == one.invoice
                ]
                chance, usual = habits.judge(one, states[number], kin)
                if chance <= NOTED:
                    sku = habits.skus[one.sku]
                    result.append(
                        {
                            "event": number,
                            "tests": tests,
                            "chance": chance,
                            "sku": one.sku,
                            "usual": usual / 100,
                            "seen": sum(sku.lines),
                            "stake": abs(max(min(one.price, _MOST), -_MOST) - usual / 100)
                            * one.quantity,
                        }
                    )
            for number, one in lines.items():
                habits.learn(one, states[number])
        return result


class _Habits:
    """What `define` knows of a shop: how new prices come about, by channel."""

    def __init__(self, fade: float) -> None:
        self.fade, self.day, self.tests, self.free = fade, 0, 0, 0.0
        self.skus: dict[int, prices.Vocabulary] = defaultdict(prices.Vocabulary)
        self.lines = [0.0, 0.0]
        self.news = [0.0, 0.0]
        self.points: dict[tuple[int, int], float] = defaultdict(float)
        self.bins: dict[tuple[int, int], float] = defaultdict(float)
        self.ratios: dict[tuple[int, int], float] = defaultdict(float)

    def begin(self, day: int) -> None:
        if day == self.day:
            return
        self.day = day
        self.free *= self.fade
        self.lines = [count * self.fade for count in self.lines]
        self.news = [count * self.fade for count in self.news]
        for table in (self.points, self.bins, self.ratios):
            for key in table:
                table[key] *= self.fade

    def state(self, one: Event) -> int:
        channel = int(one.customer == 0)
        sku = self.skus[one.sku]
        if one.price <= 0:
            return _NOT if channel == 1 else _GIVEN
        if sku.lines[channel] == 0:
            return _FIRST
        pence = prices.define_pence(one.price)
        if pence in sku.known(channel):
            return _KNOWN
        return _ELSEWHERE if pence in sku.known(1 - channel) else _NEW

    def share(self, channel: int, pence: int, usual: int) -> float:
        place = prices.define_place(pence, usual)
        counts = [self.ratios[channel, place + step] for step in (-1, 0, 1)]
        counted = 0.25 * counts[0] + 0.5 * counts[1] + 0.25 * counts[2]
        return float((counted + _RATIO_PRIOR[place]) / (self.news[channel] + _RATIO))

    def judge(self, one: Event, state: int, kin: list[int]) -> tuple[float, int]:
        channel = int(one.customer == 0)
        sku = self.skus[one.sku]
        usual = sku.usual(channel)
        if state == _GIVEN:
            usual = usual or sku.usual(1)
        if state not in (_NEW, _GIVEN) or usual <= 1:
            return 1.0, usual
        if state == _GIVEN:
            rate = (self.free + 1) / (self.lines[0] + _FREE_LINES)
            off = kin.count(_GIVEN)
            return rate * (off + _INVOICE) / (len(kin) * rate + _INVOICE) / _FREE, usual
        pence = prices.define_pence(one.price)
        rate = (self.news[channel] + _RATE * _RATE_LINES) / (self.lines[channel] + _RATE_LINES)
        recent = sum(prices.KEEP**age for age in range(sku.lines[channel]))
        right = rate * (sku.news[channel] + _SKU) / (rate * recent + _SKU)
        off = kin.count(_NEW) + kin.count(_ELSEWHERE)
        right = min(0.9, right * (off + _INVOICE) / (rate * len(kin) + _INVOICE))
        part = self.share(channel, pence, usual)
        if channel == 1 and sku.usual(0):
            there = self.share(1, pence, sku.usual(0))
            part = (1 - _OTHER_LIST) * part + _OTHER_LIST * there
        place = int(prices.STEPS * math.log10(pence))
        alike = self.points[channel, prices.define_point(pence)] + _POINT / prices.WIDTHS[place]
        right *= part * alike / (self.bins[channel, place] + _POINT)
        wrong = _ANY / prices.WIDTHS[place] + sku.slip(channel, pence)
        return float(max(right / (wrong * (_UNNAMED if channel else 1)), 1e-300)), usual

    def learn(self, one: Event, state: int) -> None:
        if state == _NOT:
            return
        channel = int(one.customer == 0)
        self.lines[channel] += 1
        if state == _GIVEN:
            self.free += 1
            return
        pence = prices.define_pence(one.price)
        sku = self.skus[one.sku]
        sku.remember(channel, pence, state == _NEW)
        if state == _NEW:
            self.news[channel] += 1
            self.points[channel, prices.define_point(pence)] += 1
            self.bins[channel, int(prices.STEPS * math.log10(pence))] += 1
            usual = sku.usual(channel, without=pence)
            if usual:
                self.ratios[channel, prices.define_place(pence, usual)] += 1
